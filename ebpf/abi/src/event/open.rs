//! A file was opened for writing, truncated by the open, or made by it. Tail: the path.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::path::Inode;
/// The fixed part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Open {
    /// The opened file.
    pub file: Inode,
    /// One of `outcome`.
    pub outcome: u32,
    /// `f_mode`.
    pub mode: u32,
    /// `f_flags`.
    pub flags: u32,
    /// 1 = the call truncated the inode.
    pub truncated: u32,
    /// `i_rdev`: which device, if it is one.
    pub device: u32,
    /// Zero.
    pub padding: u32,
}

const _: () = assert!(size_of::<Open>() == 88);
