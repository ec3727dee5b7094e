//! A process entered the kernel in a way that is not decoded. No tail.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The fixed part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Uncovered {
    /// One of `entry`.
    pub entry: u32,
    /// Zero.
    pub padding: u32,
}

const _: () = assert!(size_of::<Uncovered>() == 8);

/// Numbers in [`Uncovered::entry`].
pub mod entry {
    /// The 32-bit system-call entry.
    pub const COMPAT: u32 = 1;
    /// An x32 call.
    pub const X32: u32 = 2;
    /// io_uring.
    pub const IO_URING: u32 = 3;
}
