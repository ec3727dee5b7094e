//! Kernel code was loaded or removed. Tail: the path of the module's file, its name.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::path::Inode;
/// The fixed part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Module {
    /// What it was loaded from; not `PRESENT` where it came from memory.
    pub file: Inode,
    /// One of `outcome`.
    pub outcome: u32,
    /// One of `what`: LOAD, UNLOAD, …
    pub what: u32,
    /// Bytes of the name in the tail, its NUL included.
    pub name: u32,
    /// Zero.
    pub padding: u32,
}

const _: () = assert!(size_of::<Module>() == 80);
