//! What found no room in a ring: a row for each program run, directory and kind in about a second, so that the
//! log knows who changed what where even when it lost the records themselves.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::header::{ExecKey, Task};
use crate::limits::OVERFLOW_NAME;

/// Bits of time (ns) that a row's second leaves out: 1.07 s.
pub const SECOND: u32 = 30;

/// Whose row it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Key {
    /// Who.
    pub who: ExecKey,
    /// `i_ino` of the directory; 0 = none.
    pub directory: u64,
    /// Its `s_dev`.
    pub device: u32,
    /// `Header::kind`.
    pub kind: u16,
    /// `Header::ring`.
    pub ring: u16,
    /// CLOCK_BOOTTIME >> [`SECOND`]: a row of an earlier second is complete and can be taken out.
    pub second: u64,
}

/// How much.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Row {
    /// Records.
    pub count: u64,
    /// CLOCK_BOOTTIME of the first, ns.
    pub first: u64,
    /// Of the last.
    pub last: u64,
    /// Who, in full.
    pub task: Task,
    /// Bytes of `name`.
    pub length: u32,
    /// The name is cut.
    pub cut: u32,
    /// The directory's components, leaf first, each ended by NUL.
    pub name: [u8; OVERFLOW_NAME],
}

const _: () = assert!(size_of::<Key>() == 40);
const _: () = assert!(size_of::<Row>() == 24 + 120 + 8 + OVERFLOW_NAME);
