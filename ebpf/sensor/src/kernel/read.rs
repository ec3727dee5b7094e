//! Probe reads.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel as bpf_probe_read_kernel_bytes;
use aya_ebpf::helpers::{bpf_probe_read_kernel, bpf_probe_read_user};
use graven_abi::offsets::ABSENT;

/// A value at a kernel address; zeros where nothing can be read.
#[inline(always)]
pub fn at<T: Copy + Default>(address: u64) -> T {
    // SAFETY: the helper checks the address and never faults; T is plain data.
    unsafe { bpf_probe_read_kernel(address as *const T) }.unwrap_or_default()
}

/// The same, straight to where it belongs: what stands on the stack is scarce in a chain of calls.
#[inline(always)]
pub fn into<T: Copy>(to: &mut T, address: u64) {
    // SAFETY: the helper checks the source, never faults, and leaves zeros where there is nothing to read.
    unsafe {
        bpf_probe_read_kernel_bytes(
            core::ptr::from_mut(to).cast(),
            size_of::<T>() as u32,
            address as *const _,
        )
    };
}

/// A field of a struct at a kernel address; none where this kernel does not have the field.
#[inline(always)]
pub fn field<T: Copy + Default>(base: u64, offset: u64) -> Option<T> {
    if base == 0 || offset == ABSENT as u64 { None } else { Some(at(base + offset)) }
}

/// Copies plain data between maps by the helper: the compiler would write a loop over bytes, each step of which
/// the verifier follows.
#[inline(always)]
pub fn copy<T: Copy>(to: &mut T, from: &T) {
    let (to, from) = (core::ptr::from_mut(to).cast(), core::ptr::from_ref(from).cast());
    // SAFETY: both are whole values of T. It cannot fail: the source is a map's value.
    unsafe { bpf_probe_read_kernel_bytes(to, size_of::<T>() as u32, from) };
}

/// A value at an address of the calling program; zeros where nothing can be read.
#[inline(always)]
pub fn user<T: Copy + Default>(address: u64) -> T {
    // SAFETY: the helper checks the address and never faults; T is plain data.
    unsafe { bpf_probe_read_user(address as *const T) }.unwrap_or_default()
}
