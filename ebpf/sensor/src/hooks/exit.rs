//! `exit`: the last thread of a process ended.
//!
//! From `sched_process_exit`, which fires for every thread. What the thread had noted and no `sys_exit` used
//! up (a core dump runs after the call that led to it) becomes a `modify` here.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use graven_abi::counter;
use graven_abi::event::exit::Exit;
use graven_abi::filter::class;
use graven_abi::header::{kind, ring};
use graven_abi::limits::TOUCHED;

use super::modify;
use crate::emit::emit;
use crate::kernel::maps;
use crate::kernel::scratch::{Scratch, owner};
use crate::kernel::slot::{Slot, UNDECIDED};
use crate::kernel::task;

/// trace_sched_process_exit(task, …)
#[btf_tracepoint(function = "sched_process_exit")]
pub fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    let current = ctx.arg::<*const u8>(0) as u64;
    let Some(scratch) = Scratch::begin_outside(owner::EXIT) else { return 0 };
    if let Some(slot) = scratch.find_slot() {
        left_over(scratch, slot);
        scratch.free_slot();
    }
    if !task::group_dead(current) {
        return 0;
    }
    // The watches that keep marked inodes in memory end with the agent: what is mutable is not known for certain from here on.
    if maps::is_watch(task::process(current)) {
        maps::distrust_until_marked();
    }
    scratch.restart();
    let (_, event) = scratch.record::<Exit>();
    event.status = task::exit_status(current);
    event.padding = 0;
    emit::<Exit>(scratch, kind::EXIT, ring::LIFE);
    0
}

#[inline(always)]
fn left_over(scratch: &mut Scratch, slot: &mut Slot) {
    if slot.moving != 0 {
        maps::moved();
    }
    // That is left of a function whose end was skipped: what it names may be gone for long.
    if slot.alone != 0 {
        maps::count(counter::STATE_FULL);
        return;
    }
    for index in 0..TOUCHED as u32 {
        if index >= slot.count {
            break;
        }
        let entry = slot.entry(index);
        if entry.class == UNDECIDED {
            // Nobody looks where it lies any more.
            entry.class = class::KEEP;
        }
        if entry.class != class::MUTABLE {
            modify::record_noted(scratch.owner(), index);
        }
    }
}
