//! Somebody acts on the agent's own processes. No tail.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The fixed part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Tamper {
    /// One of `what`: SIGNAL, PTRACE, MEMORY
    pub what: u32,
    /// The signal, or the request of ptrace(2).
    pub number: u32,
    /// The process acted on.
    pub target: u32,
    /// One of `outcome`.
    pub outcome: u32,
}

const _: () = assert!(size_of::<Tamper>() == 16);
