//! An inode changed outside the operations that have a kind of their own. Tail: the path.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::path::Inode;
/// The fixed part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Modify {
    /// The inode.
    pub file: Inode,
    /// The command, if it was an ioctl; else 0.
    pub command: u32,
    /// One of `event::outcome`: REPORTED when only a call says so.
    pub outcome: u32,
}

const _: () = assert!(size_of::<Modify>() == 72);
