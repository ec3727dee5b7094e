//! `tamper`: somebody acts on the agent's own processes: signals, ptrace, writes to their memory.
//!
//! Signals from `signal_generate` (since 2.6), which names the kernel's own target, whatever namespace the
//! sender counts pids in. ptrace and process_vm_writev from `sys_exit`, by the pid that the caller passed.
//!
//! What it misses: ptrace from another pid namespace, and SIGKILL of a process that ends before it has read
//! this record: the next start tells of an end without a stop record.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use graven_abi::event::outcome;
use graven_abi::event::tamper::Tamper;
use graven_abi::header::{kind, ring};
use graven_abi::syscalls::op::what;

use crate::emit::emit;
use crate::kernel::maps;
use crate::kernel::scratch::{Scratch, owner};
use crate::kernel::task::{self, Current};
use crate::place;

/// PTRACE_POKETEXT, POKEDATA, POKEUSR; SETREGS; ATTACH; SEIZE
const POKES: core::ops::RangeInclusive<u64> = 4..=6;
const SETREGS: u64 = 13;
const ATTACH: u64 = 16;
const SEIZE: u64 = 0x4206;

const SIGCHLD: u32 = 17;

/// Does this request of ptrace take hold of a process, or change it?
#[inline(always)]
pub fn changes(request: u64) -> bool {
    POKES.contains(&request) || matches!(request, SETREGS | ATTACH | SEIZE)
}

/// trace_signal_generate(signal, info, task, group, result)
#[btf_tracepoint(function = "signal_generate")]
pub fn signal_generate(ctx: BtfTracePointContext) -> i32 {
    let target = task::process(ctx.arg::<*const u8>(2) as u64);
    if !maps::is_own(target) {
        return 0;
    }
    let (signal, current) = (ctx.arg::<u64>(0) as u32, Current::get());
    // Its own timers are no business of others, nor are its children's ends, which only they can tell it of.
    if task::process(current.address()) == target || (signal == SIGCHLD && current.is_ending()) {
        return 0;
    }
    let Some(scratch) = Scratch::begin_outside(owner::SIGNAL) else { return 0 };
    // Also one that the process ignores was sent, and the kernel says so.
    write(scratch, what::SIGNAL, signal, target, outcome::SUCCESS);
    0
}

/// The call has ended.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn acted(_count: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner::SYS_EXIT) else { return 0 };
    let shape = scratch.shape();
    let (request, target) = (scratch.argument(shape.value) as u32, scratch.argument(shape.value2) as u32);
    if maps::is_own(target) {
        let sure = place::unproven(scratch);
        write(scratch, shape.what, request, target, sure);
    }
    0
}

#[inline(always)]
fn write(scratch: &mut Scratch, what: u8, number: u32, target: u32, sure: u32) {
    let (_, event) = scratch.record::<Tamper>();
    event.what = what.into();
    event.number = number;
    event.target = target;
    event.outcome = sure;
    emit::<Tamper>(scratch, kind::TAMPER, ring::PROTECTED);
}
