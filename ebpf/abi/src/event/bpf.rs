//! A BPF program was loaded or attached. No tail.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The fixed part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Bpf {
    /// `enum bpf_cmd`
    pub command: u32,
    /// `enum bpf_prog_type`, of BPF_PROG_LOAD
    pub program_type: u32,
    /// One of `outcome`.
    pub outcome: u32,
    /// Zero.
    pub padding: u32,
    /// `prog_name` of BPF_PROG_LOAD, NUL-padded, as the caller passed it.
    pub name: [u8; 16],
}

const _: () = assert!(size_of::<Bpf>() == 32);
