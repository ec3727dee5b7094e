//! `uncovered`: a process entered the kernel in a way that this mode does not decode: the 32-bit entry, x32,
//! io_uring. One record a process and way; what it changes is still a `modify`, with the process's name.
//!
//! io_uring: `io_uring_submit_req` (since 6.3; before, `io_uring_submit_sqe`) fires for each request, also when
//! the kernel's own thread submits it.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use graven_abi::event::uncovered::{Uncovered, entry};
use graven_abi::header::{kind, ring};

use crate::emit::emit;
use crate::kernel::maps::{UncoveredKey, first_uncovered};
use crate::kernel::scratch::{Scratch, owner};
use crate::kernel::task::{self, Current};

/// trace_io_uring_submit_req(req)
#[btf_tracepoint(function = "io_uring_submit_req")]
pub fn io_uring_submit_req(_ctx: BtfTracePointContext) -> i32 {
    record(owner::IO_URING, Current::get().address(), entry::IO_URING)
}

/// Writes the record unless this process has one. It goes to the `protected` ring: it says that the log is
/// less than it looks.
#[inline(always)]
pub fn record(owner: u32, current: u64, entry: u32) -> i32 {
    let who = task::exec_key(current);
    if !first_uncovered(&UncoveredKey { start: who.start, pid: who.pid, entry }) {
        return 0;
    }
    let Some(scratch) = Scratch::begin(owner) else { return 0 };
    let (_, event) = scratch.record::<Uncovered>();
    event.entry = entry;
    event.padding = 0;
    emit::<Uncovered>(scratch, kind::UNCOVERED, ring::PROTECTED, current);
    0
}
