//! The system calls by which the tests change files, by name: exactly these numbers are made.

use Shape::{At, File, Number, Path};

/// What an argument is, in the order of the call's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A path.
    Path,
    /// A number.
    Number,
    /// The directory's descriptor that the next path is relative to.
    At,
    /// A descriptor of an open file.
    File,
}

/// One call.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    name: &'static str,
    number: usize,
    shape: &'static [Shape],
}

impl Call {
    /// As in the manual.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Of the native table (`asm/unistd_64.h`).
    pub fn number(&self) -> usize {
        self.number
    }

    /// Its arguments.
    pub fn shape(&self) -> &'static [Shape] {
        self.shape
    }

    /// By its name.
    pub fn named(name: &str) -> Option<&'static Self> {
        CALLS.iter().find(|call| call.name == name)
    }
}

const fn call(name: &'static str, number: usize, shape: &'static [Shape]) -> Call {
    Call { name, number, shape }
}

/// Only calls that read paths and numbers, and write no memory of the caller.
static CALLS: [Call; 29] = [
    call("open", 2, &[Path, Number, Number]),
    call("truncate", 76, &[Path, Number]),
    call("ftruncate", 77, &[File, Number]),
    call("rename", 82, &[Path, Path]),
    call("mkdir", 83, &[Path, Number]),
    call("rmdir", 84, &[Path]),
    call("creat", 85, &[Path, Number]),
    call("link", 86, &[Path, Path]),
    call("unlink", 87, &[Path]),
    call("symlink", 88, &[Path, Path]),
    call("chmod", 90, &[Path, Number]),
    call("fchmod", 91, &[File, Number]),
    call("chown", 92, &[Path, Number, Number]),
    call("fchown", 93, &[File, Number, Number]),
    call("lchown", 94, &[Path, Number, Number]),
    call("mknod", 133, &[Path, Number, Number]),
    call("openat", 257, &[At, Path, Number, Number]),
    call("mkdirat", 258, &[At, Path, Number]),
    call("mknodat", 259, &[At, Path, Number, Number]),
    call("fchownat", 260, &[At, Path, Number, Number, Number]),
    call("unlinkat", 263, &[At, Path, Number]),
    call("renameat", 264, &[At, Path, At, Path]),
    call("linkat", 265, &[At, Path, At, Path, Number]),
    call("symlinkat", 266, &[Path, At, Path]),
    call("fchmodat", 268, &[At, Path, Number]),
    call("renameat2", 316, &[At, Path, At, Path, Number]),
    call("fchmodat2", 452, &[At, Path, Number, Number]),
    // With no times (0): now.
    call("utime", 132, &[Path, Number]),
    call("utimensat", 280, &[At, Path, Number, Number]),
];
