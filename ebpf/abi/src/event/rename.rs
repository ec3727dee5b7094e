//! A name was moved. Tail: the paths of `from`, `to`, `replaced`, in that order.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::path::{Inode, Name};
/// RENAME_EXCHANGE of [`Rename::flags`] (renameat2(2)).
pub const EXCHANGE: u32 = 2;

/// The fixed part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Rename {
    /// Before.
    pub from: Inode,
    /// What stood there; not `PRESENT` if nothing did.
    pub replaced: Inode,
    /// After.
    pub to: Name,
    /// One of `outcome`.
    pub outcome: u32,
    /// The call's flags (RENAME_EXCHANGE = 2).
    pub flags: u32,
}

const _: () = assert!(size_of::<Rename>() == 160);
