//! Probe reads.

use aya_ebpf::helpers::{bpf_probe_read_kernel, bpf_probe_read_user};
use graven_abi::offsets::ABSENT;

/// A value at a kernel address; zeros where nothing can be read.
#[inline(always)]
pub fn at<T: Copy + Default>(address: u64) -> T {
    // SAFETY: the helper checks the address and never faults; T is plain data.
    unsafe { bpf_probe_read_kernel(address as *const T) }.unwrap_or_default()
}

/// A field of a struct at a kernel address; none where this kernel does not have the field.
#[inline(always)]
pub fn field<T: Copy + Default>(base: u64, offset: u64) -> Option<T> {
    if base == 0 || offset == ABSENT as u64 { None } else { Some(at(base + offset)) }
}

/// A value at an address of the calling program; zeros where nothing can be read.
#[inline(always)]
pub fn user<T: Copy + Default>(address: u64) -> T {
    // SAFETY: the helper checks the address and never faults; T is plain data.
    unsafe { bpf_probe_read_user(address as *const T) }.unwrap_or_default()
}
