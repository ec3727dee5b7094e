//! A file's size was set. Tail: the path.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::path::Inode;
/// The fixed part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Truncate {
    /// The inode, after the change.
    pub file: Inode,
    /// One of `outcome`.
    pub outcome: u32,
    /// Zero.
    pub padding: u32,
}

const _: () = assert!(size_of::<Truncate>() == 72);
