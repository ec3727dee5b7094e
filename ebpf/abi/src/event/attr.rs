//! Mode, owner, times, flags or an extended attribute was set. Tail: the path, the attribute's name.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::path::Inode;
/// The fixed part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Attr {
    /// The inode, after the change.
    pub file: Inode,
    /// One of `outcome`.
    pub outcome: u32,
    /// One of `what`: MODE, OWNER, …
    pub what: u32,
    /// What chmod was asked for.
    pub mode: u32,
    /// What chown was asked for; `u32::MAX` = leave.
    pub uid: u32,
    /// What chown was asked for; `u32::MAX` = leave.
    pub gid: u32,
    /// The inode flags that were asked for.
    pub flags: u32,
    /// Bytes of the attribute's name in the tail, its NUL included.
    pub name: u32,
    /// Zero.
    pub padding: u32,
}

const _: () = assert!(size_of::<Attr>() == 96);
