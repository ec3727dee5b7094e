//! A program was started. Tail: the path of the executable, `bprm.filename`, argv joined by NULs.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::header::ExecKey;
use crate::path::Inode;
/// The fixed part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Exec {
    /// The executable (`mm.exe_file`).
    pub file: Inode,
    /// The program run before.
    pub before: ExecKey,
    /// Bytes of `bprm.filename` in the tail, its NUL included.
    pub called_as: u16,
    /// 1 = argv was longer.
    pub arguments_cut: u16,
    /// Bytes of argv in the tail.
    pub arguments: u32,
}

const _: () = assert!(size_of::<Exec>() == 88);
