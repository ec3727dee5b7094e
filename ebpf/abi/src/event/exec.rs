//! A program was started. Tail: the path of the executable, the current directory, `bprm.filename`, `bprm.interp`,
//! argv joined by NULs.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::header::ExecKey;
use crate::path::{Inode, Path};
/// The fixed part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Exec {
    /// The executable (`mm.exe_file`).
    pub file: Inode,
    /// The program run before.
    pub before: ExecKey,
    /// The current directory.
    pub cwd: Path,
    /// Bytes of argv in the tail.
    pub arguments: u32,
    /// Bytes of `bprm.filename` in the tail, its NUL included.
    pub called_as: u16,
    /// Bytes of `bprm.interp` in the tail, its NUL included; of a script it is what runs it, else as `called_as`.
    pub interpreter: u16,
    /// 1 = argv was longer.
    pub arguments_cut: u16,
    /// Zero.
    pub padding: u16,
}

const _: () = assert!(size_of::<Exec>() == 104);
