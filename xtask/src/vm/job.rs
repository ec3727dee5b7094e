//! What the guest is to run, as the script that it finds in the kernel's first file system.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A command in a guest.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub command: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// Made if it is not there.
    pub folder: PathBuf,
}

/// Where a guest's programs are, behind our own.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Job {
    /// With our programs in the path, and the kernel's name for tests to tell.
    pub(crate) fn new(command: &[String], programs: &Path, kernel: &str, folder: &Path) -> Self {
        let programs = programs.to_string_lossy().into_owned();
        let environment = [
            ("PATH", format!("{programs}:{PATH}")),
            ("HOME", "/root".to_owned()),
            ("LC_ALL", "C".to_owned()),
            ("TERM", "dumb".to_owned()),
            ("GRAVEN_BIN_DIR", programs),
            ("GRAVEN_VM", kernel.to_owned()),
        ];
        Self {
            command: command.to_vec(),
            environment: environment.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            folder: folder.to_path_buf(),
        }
    }

    /// A shell script that becomes the command.
    pub(crate) fn script(&self) -> String {
        let folder = quoted(&self.folder.to_string_lossy());
        let mut text = format!("mkdir -p {folder} && cd {folder} || exit 127\n");
        for (name, value) in &self.environment {
            // Writing to a string does not fail.
            let _ok = writeln!(text, "export {name}={}", quoted(value));
        }
        let words: Vec<String> = self.command.iter().map(|word| quoted(word)).collect();
        let _ok = writeln!(text, "exec {}", words.join(" "));
        text
    }
}

/// One word for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_word_reaches_the_command_as_it_is() -> std::io::Result<()> {
        let command = ["printf", "%s|", "a b", "it's", "$HOME `x` \\ \"", "", "*"].map(str::to_owned);
        let environment = vec![("V".to_owned(), "1 '2'".to_owned())];
        let job = Job { command: command.to_vec(), environment, folder: std::env::temp_dir() };
        let output = std::process::Command::new("sh").args(["-c", &job.script()]).output()?;
        assert_eq!(String::from_utf8_lossy(&output.stdout), "a b|it's|$HOME `x` \\ \"||*|");
        Ok(())
    }
}
