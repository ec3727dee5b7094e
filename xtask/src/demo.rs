//! The folder in which a person changes things to see them reported.

use crate::screen::{Tone, paint};
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Files with their text, made anew at each start.
const FILES: [(&str, &str); 4] = [
    ("motd", "This host does not change.\n"),
    ("app.conf", "port = 8080\n"),
    ("old.conf", "port = 80\n"),
    ("hosts", "127.0.0.1 localhost\n"),
];

/// What the lines below leave, and folders; removed at each start so that the lines work again.
const LEFT: [&str; 2] = ["app.conf.new", "true"];
const LEFT_FOLDER: &str = "made";

/// Between two lines, so that a person can follow.
const PAUSE: Duration = Duration::from_millis(700);

/// The folder and the lines that change it.
pub(crate) struct Demo {
    pub folder: PathBuf,
}

impl Demo {
    /// Makes the folder as the lines expect it. Removes only names it made itself.
    pub(crate) fn make(folder: PathBuf) -> Result<Self> {
        let at = |name: &str| folder.join(name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for name in LEFT {
            let _absent = fs::remove_file(at(name));
        }
        // Not empty if a person put something in: then `mkdir` is the one line that fails, and says so.
        let _absent = fs::remove_dir(at(LEFT_FOLDER));
        for (name, text) in FILES {
            let path = at(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644))
                .with_context(|| format!("cannot set the mode of {}", path.display()))?;
        }
        Ok(Self { folder })
    }

    /// Lines for a shell, each one change.
    pub(crate) fn lines(&self) -> Vec<String> {
        let at = |name: &str| quoted(&self.folder.join(name));
        vec![
            format!("echo x >> {}", at("motd")),
            format!("rm {}", at("old.conf")),
            format!("mv {} {}", at("app.conf"), at(LEFT[0])),
            format!("chmod 600 {}", at("hosts")),
            format!("mkdir {}", at(LEFT_FOLDER)),
            format!("cp /bin/true {} && {}", at(LEFT[1]), at(LEFT[1])),
        ]
    }

    /// Runs the lines in a real shell, one after the other.
    pub(crate) fn play(&self, mut meanwhile: impl FnMut() -> Result<bool>) -> Result<()> {
        for line in self.lines() {
            println!("{} {line}", paint(Tone::Strong, "$"));
            let mut command = Command::new("sh");
            command.args(["-c", &line]).stdin(Stdio::null());
            crate::cargo::clean(&mut command);
            let status = command.status().context("cannot start sh")?;
            anyhow::ensure!(status.success(), "`{line}` {}", crate::stages::how(status));
            let until = std::time::Instant::now() + PAUSE;
            while std::time::Instant::now() < until {
                if !meanwhile()? {
                    return Ok(());
                }
                std::thread::sleep(crate::children::TICK);
            }
        }
        Ok(())
    }
}

/// The path as a shell takes it.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_work_as_printed_and_work_again() -> Result<()> {
        let folder = std::env::temp_dir().join(format!("graven xtask's demo {}", std::process::id()));
        for _round in 0..2 {
            let demo = Demo::make(folder.clone())?;
            for line in demo.lines() {
                let status = Command::new("sh").args(["-c", &line]).status()?;
                assert!(status.success(), "{line}");
            }
        }
        assert_eq!(fs::read_to_string(folder.join("motd"))?, "This host does not change.\nx\n");
        fs::remove_dir_all(&folder)?;
        Ok(())
    }

    #[test]
    fn a_path_is_quoted_only_if_it_has_to_be() {
        assert_eq!(quoted(Path::new("/a/b-c.d_e")), "/a/b-c.d_e");
        assert_eq!(quoted(Path::new("/it's")), "'/it'\\''s'");
    }
}
