//! A process used the kernel in a way that is not decoded. No tail.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The fixed part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Uncovered {
    /// One of `entry`.
    pub entry: u32,
    /// Zero.
    pub padding: u32,
    /// The call's number, or the request's (IORING_OP_).
    pub number: i64,
}

const _: () = assert!(size_of::<Uncovered>() == 16);

/// Numbers in [`Uncovered::entry`].
pub mod entry {
    /// A request of io_uring, of which this kernel tells no more than its number.
    pub const IO_URING: u32 = 3;
    /// A successful call that no table of this release knows.
    pub const UNKNOWN_CALL: u32 = 5;
}
