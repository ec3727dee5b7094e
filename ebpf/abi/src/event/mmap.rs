//! A file was mapped so that stores change it. Tail: the path.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::path::Inode;
/// The fixed part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Mmap {
    /// The file.
    pub file: Inode,
    /// One of `outcome`.
    pub outcome: u32,
    /// `prot`, as in mmap(2).
    pub protection: u32,
}

const _: () = assert!(size_of::<Mmap>() == 72);
