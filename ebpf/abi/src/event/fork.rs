//! A process was made; the header names its parent. No tail.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::header::ExecKey;
/// The fixed part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Fork {
    /// The child.
    pub child: ExecKey,
}

const _: () = assert!(size_of::<Fork>() == 16);
