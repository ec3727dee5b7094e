//! The sensor in `syscall` mode: which inodes changed (the inode-time tracepoints), who changed them and by
//! which call (`sys_exit`), and the life of processes.
//!
//! In: tracepoints. Out: records of `graven_abi` in three rings. Always: the filter decides on inodes and
//! never on a string a program passed; what is kept is stored or counted as lost. Never: a write to the
//! kernel, a block, a delay. It fails by counting.
//!
//! The log (`aya-log`) is for the programs that run on request; on the way of system calls there are counters.
//!
//! Order of work: decide first, walk a path only for what is kept.
#![no_std]
#![no_main]
// The target has no AtomicU64::fetch_add; a counter that loads, adds and stores loses counts when a program
// is preempted.
#![feature(core_intrinsics)]
#![cfg_attr(
    feature = "counted",
    expect(dead_code, reason = "what the inode-time tracepoints need, which came later than these kernels")
)]
#![expect(internal_features, reason = "the one way to an XADD")]

mod kernel;
mod emit;
mod filter;
mod place;
mod hooks;

/// The kernel wants to know that a program may use its GPL-only helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "a symbol's name and section are part of the object's format")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
