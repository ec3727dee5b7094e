//! `bpf`: a BPF program was loaded, attached, detached or replaced.
//!
//! From `sys_exit` of bpf(2), for the commands that put programs into the kernel or take them off. What they
//! are called is what the caller's memory holds at the end of the call. A pinned object is a `create`.
//!
//! What it misses: commands on maps; programs attached by other means (perf's ioctl, SO_ATTACH_BPF).

use graven_abi::event::bpf::Bpf;
use graven_abi::header::{kind, ring};
use graven_abi::syscalls::op;

use crate::emit::emit;
use crate::kernel::read::user;
use crate::kernel::scratch::{Scratch, owner};
use crate::place;

/// `enum bpf_cmd`
const PROG_LOAD: u64 = 5;
const OBJ_PIN: u64 = 6;
const PROG_ATTACH: u64 = 8;
const PROG_DETACH: u64 = 9;
const RAW_TRACEPOINT_OPEN: u64 = 17;
const LINK_CREATE: u64 = 28;
const LINK_UPDATE: u64 = 29;
const LINK_DETACH: u64 = 34;
/// `prog_name` in `union bpf_attr` of BPF_PROG_LOAD.
const PROG_NAME: u64 = 48;

/// What a command amounts to.
#[inline(always)]
pub fn settle(command: u64) -> u8 {
    match command {
        OBJ_PIN => op::PIN,
        PROG_LOAD | PROG_ATTACH | PROG_DETACH | RAW_TRACEPOINT_OPEN | LINK_CREATE | LINK_UPDATE
        | LINK_DETACH => op::BPF,
        _ => op::NOTHING,
    }
}

/// The call has ended.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn called(_count: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner::SYS_EXIT) else { return 0 };
    let shape = scratch.shape();
    let (command, attributes) = (scratch.argument(shape.value), scratch.argument(shape.value2));
    let loads = command == PROG_LOAD;
    let sure = place::unproven(scratch);
    let (_, event) = scratch.record::<Bpf>();
    event.command = command as u32;
    event.program_type = if loads { user(attributes) } else { 0 };
    event.outcome = sure;
    event.padding = 0;
    event.name = if loads { user(attributes + PROG_NAME) } else { [0; 16] };
    emit::<Bpf>(scratch, kind::BPF, ring::PROTECTED);
    0
}
