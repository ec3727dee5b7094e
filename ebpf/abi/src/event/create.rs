//! A name was made: mkdir, mknod, symlink, link, a bound socket, a pinned object. Tail: the path, of a hard link
//! the name before, of a symbolic link its text.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::path::Inode;
/// The fixed part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Create {
    /// The new inode, or the old one under its new name.
    pub file: Inode,
    /// Hard link: under the name it had; not `PRESENT` otherwise.
    pub from: Inode,
    /// One of `outcome`.
    pub outcome: u32,
    /// One of `what`: DIRECTORY, NODE, …
    pub what: u32,
    /// Bytes of a symbolic link's text in the tail, its NUL included.
    pub target: u32,
    /// Zero.
    pub padding: u32,
}

const _: () = assert!(size_of::<Create>() == 144);
