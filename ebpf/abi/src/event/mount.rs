//! A mount was made, moved, changed or taken away; swap or accounting was switched. Tail: the target's path, the
//! source, the file system's type.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::path::Inode;
/// The fixed part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Mount {
    /// Where, as the caller named it.
    pub target: Inode,
    /// `flags` of mount(2), umount2(2), move_mount(2).
    pub flags: u64,
    /// One of `outcome`.
    pub outcome: u32,
    /// One of `what`: MOUNT, UNMOUNT, …
    pub what: u32,
    /// `ns.inum` of the caller's mount namespace; 0 = not known.
    pub namespace: u32,
    /// Bytes of the source in the tail, its NUL included.
    pub source: u16,
    /// Bytes of the type in the tail, its NUL included.
    pub filesystem: u16,
}

const _: () = assert!(size_of::<Mount>() == 88);
