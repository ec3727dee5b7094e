//! `fork`: a process was made (a thread is not one).
//!
//! From `sched_process_fork`, in the parent, before the child runs. io_uring's workers do not pass here.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use graven_abi::event::fork::Fork;
use graven_abi::header::{kind, ring};

use crate::emit::emit;
use crate::kernel::read::Typed;
use crate::kernel::scratch::{Scratch, owner};
use crate::kernel::task;

/// trace_sched_process_fork(parent, child)
#[btf_tracepoint(function = "sched_process_fork")]
pub fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
    let child = Typed(ctx.arg::<*const u8>(1));
    if !task::is_process(child) {
        return 0;
    }
    let Some(scratch) = Scratch::begin_outside(owner::FORK) else { return 0 };
    let (_, event) = scratch.record::<Fork>();
    event.child = task::exec_key(child);
    emit::<Fork>(scratch, kind::FORK, ring::LIFE);
    0
}
