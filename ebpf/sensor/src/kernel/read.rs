//! Probe reads.

use aya_ebpf::helpers::{bpf_probe_read_kernel, bpf_probe_read_user};

/// A value at a kernel address; zeros where nothing can be read.
#[inline(always)]
pub fn at<T: Copy + Default>(address: u64) -> T {
    // SAFETY: the helper checks the address and never faults; T is plain data.
    unsafe { bpf_probe_read_kernel(address as *const T) }.unwrap_or_default()
}

/// A value at an address of the calling program; zeros where nothing can be read.
#[inline(always)]
pub fn user<T: Copy + Default>(address: u64) -> T {
    // SAFETY: the helper checks the address and never faults; T is plain data.
    unsafe { bpf_probe_read_user(address as *const T) }.unwrap_or_default()
}
