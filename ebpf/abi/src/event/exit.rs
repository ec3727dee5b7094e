//! The last thread of a process ended. No tail.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The fixed part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Exit {
    /// wait(2) status.
    pub status: i32,
    /// Zero.
    pub padding: u32,
}

const _: () = assert!(size_of::<Exit>() == 8);
