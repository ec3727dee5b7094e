//! What a program start is about beside the file that runs: the script, or the program given to the dynamic loader.
//!
//! Both are names only, resolved by their text against the current directory: in this mode the kernel no longer has
//! the script's file when it tells of the start.

use super::place::lexical;

/// Options of ld.so(8) that take a word of their own.
const WITH_WORD: [&[u8]; 7] = [
    b"--library-path",
    b"--preload",
    b"--argv0",
    b"--audit",
    b"--inhibit-rpath",
    b"--glibc-hwcaps-prepend",
    b"--glibc-hwcaps-mask",
];

/// The names that a start came with.
pub(super) struct Names<'a> {
    /// Host path of the current directory.
    pub(super) cwd: Vec<u8>,
    /// `bprm.filename`
    pub(super) called_as: &'a [u8],
    /// `bprm.interp`
    pub(super) interpreter: &'a [u8],
    /// NUL-joined argv.
    pub(super) arguments: &'a [u8],
}

impl Names<'_> {
    /// What runs a script, as the script names it; empty for a program.
    pub(super) fn interpreter(&self) -> Vec<u8> {
        if self.is_script() { self.interpreter.to_vec() } else { Vec::new() }
    }

    /// The script's path; empty for a program.
    pub(super) fn script(&self) -> Vec<u8> {
        if self.is_script() { lexical(Some(&self.cwd), self.called_as) } else { Vec::new() }
    }

    /// The program that the dynamic loader `exe` was given to run; empty when that is not what runs.
    pub(super) fn loaded(&self, exe: &[u8]) -> Vec<u8> {
        if !is_loader(exe) {
            return Vec::new();
        }
        let mut words = self.arguments.split(|byte| *byte == 0).skip(1);
        while let Some(word) = words.next() {
            if WITH_WORD.contains(&word) {
                words.next();
            } else if !word.starts_with(b"--") {
                return if word.is_empty() { Vec::new() } else { lexical(Some(&self.cwd), word) };
            }
        }
        Vec::new()
    }

    fn is_script(&self) -> bool {
        !self.interpreter.is_empty() && self.interpreter != self.called_as
    }
}

/// `ld-linux-x86-64.so.2`, `ld-musl-x86_64.so.1`, `ld-2.31.so`, …
fn is_loader(exe: &[u8]) -> bool {
    let name = exe.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    name.starts_with(b"ld-") && name.windows(3).any(|part| part == b".so")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names<'a>(called_as: &'a str, interpreter: &'a str, arguments: &'a str) -> Names<'a> {
        Names {
            cwd: b"/home/eve".to_vec(),
            called_as: called_as.as_bytes(),
            interpreter: interpreter.as_bytes(),
            arguments: arguments.as_bytes(),
        }
    }

    #[test]
    fn a_script_is_named_with_what_runs_it_and_a_program_is_none() {
        let script = names("./x.sh", "/bin/sh", "/bin/sh\0./x.sh");
        assert_eq!(
            (script.script(), script.interpreter()),
            (b"/home/eve/x.sh".to_vec(), b"/bin/sh".to_vec())
        );
        let program = names("/bin/ls", "/bin/ls", "ls");
        assert!(program.script().is_empty() && program.interpreter().is_empty());
    }

    #[test]
    fn the_loaders_own_options_are_passed_over() {
        let loader = b"/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2";
        let loaded = |arguments| names("x", "x", arguments).loaded(loader);
        assert_eq!(loaded("ld\0./tool\0-x"), b"/home/eve/tool");
        assert_eq!(loaded("ld\0--glibc-hwcaps-mask\0x\0/tmp/evil"), b"/tmp/evil");
        assert_eq!(loaded("ld\0--library-path\0/tmp\0--inhibit-cache\0/tmp/evil"), b"/tmp/evil");
        assert!(loaded("ld\0--help").is_empty());
        assert!(names("x", "x", "ls\0/tmp").loaded(b"/bin/ls").is_empty());
    }
}
