//! `sys_exit`: the end of every system call, the only program on the way of calls that change nothing.
//!
//! The registers still hold the arguments, and the result is known. There is none on `sys_enter`: it alone
//! would cost more than all the rest. Exists since 2.6; a raw tracepoint program since 4.17, with a BTF
//! context since 5.5.
//!
//! What it misses: calls through the 32-bit entry and x32 (one `uncovered` record a process), and io_uring.
//! What those change is still a `modify` record, by `ctime`.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use graven_abi::counter;
use graven_abi::event::uncovered::entry;
use graven_abi::limits::TOUCHED;
use graven_abi::filter::class;
use graven_abi::syscalls::{TABLE, TABLE_LEN, op};

use super::{attr, create, modify, open, rename, uncovered, unlink};
use crate::kernel::maps;
use crate::kernel::regs::{Regs, X32_BIT, result};
use crate::kernel::scratch::{Scratch, owner};
use crate::kernel::slot::Slot;
use crate::kernel::task::Current;

static OPERATIONS: [u8; TABLE_LEN] = TABLE;

/// The operation of a native call number.
#[inline(always)]
pub fn operation(number: i64) -> u8 {
    if !(0..TABLE_LEN as i64).contains(&number) {
        return op::NONE;
    }
    OPERATIONS[number as usize & (TABLE_LEN - 1)]
}

/// One finished call of a thread.
#[derive(Clone, Copy)]
pub struct Call {
    pub operation: u8,
    pub number: i32,
    pub result: i64,
    pub regs: Regs,
    pub task: u64,
}

/// trace_sys_exit(regs, ret)
#[btf_tracepoint(function = "sys_exit")]
pub fn sys_exit(ctx: BtfTracePointContext) -> i32 {
    let current = Current::get();
    if current.compat() {
        return uncovered::record(owner::SYS_EXIT, current.address(), entry::COMPAT);
    }
    let regs = Regs::of_exit(&ctx);
    let number = regs.number();
    let operation = operation(number);
    if operation == op::NONE {
        if number > 0 && number & X32_BIT != 0 && result(&ctx) >= 0 {
            return uncovered::record(owner::SYS_EXIT, current.address(), entry::X32);
        }
        return 0;
    }
    let call =
        Call { operation, number: number as i32, result: result(&ctx), regs, task: current.address() };
    finished(&call);
    0
}

#[inline(always)]
fn finished(call: &Call) {
    if call.result >= 0 && open::reads_only(call) {
        return;
    }
    let slot = Slot::current();
    let Some(scratch) = Scratch::begin(owner::SYS_EXIT) else { return };
    match slot {
        Some(slot) => {
            if slot.moving != 0 {
                slot.moving = 0;
                maps::moved();
            }
            changed(scratch, call, slot);
            slot.clear();
        }
        None if call.result >= 0 => unconfirmed(scratch, call),
        None => {}
    }
}

/// The call changed something that was seen.
#[inline(always)]
fn changed(scratch: &mut Scratch, call: &Call, slot: &mut Slot) {
    if call.result < 0 {
        return unexplained(scratch, call, slot);
    }
    if slot.count == 0 {
        return unconfirmed(scratch, call);
    }
    if is_open(call.operation) {
        return open::record(scratch, call, Some(slot));
    }
    if slot.kept == 0 {
        maps::count(counter::IGNORED);
        return;
    }
    match call.operation {
        op::MKDIR | op::MKDIRAT => create::record(scratch, call, slot),
        op::UNLINK | op::RMDIR | op::UNLINKAT => unlink::record(scratch, call, slot),
        op::RENAME | op::RENAMEAT | op::RENAMEAT2 => rename::record(scratch, call, slot),
        _ => attr::record(scratch, call, slot),
    }
}

#[inline(always)]
fn is_open(operation: u8) -> bool {
    matches!(operation, op::OPEN | op::OPENAT | op::OPENAT2 | op::CREAT | op::OPEN_BY_HANDLE)
}

/// The call says that it succeeded, and no inode was seen to change: a file system without these
/// tracepoints, a seccomp filter that answers in the kernel's place, or an open of an existing file.
#[inline(always)]
fn unconfirmed(scratch: &mut Scratch, call: &Call) {
    match call.operation {
        op::MKDIR | op::MKDIRAT => create::reported(scratch, call),
        op::UNLINK | op::RMDIR | op::UNLINKAT => unlink::reported(scratch, call),
        op::RENAME | op::RENAMEAT | op::RENAMEAT2 => rename::reported(scratch, call),
        op::CHMOD | op::FCHMOD | op::FCHMODAT | op::CHOWN | op::FCHOWN | op::FCHOWNAT => {
            attr::reported(scratch, call)
        }
        _ => open::record(scratch, call, None),
    }
}

/// The call failed, but inodes changed on the way.
#[inline(always)]
fn unexplained(scratch: &mut Scratch, call: &Call, slot: &mut Slot) {
    if slot.kept == 0 {
        return;
    }
    for index in 0..TOUCHED as u32 {
        if index >= slot.count {
            break;
        }
        let entry = slot.entry(index);
        if entry.class != class::MUTABLE {
            scratch.restart();
            modify::record_noted(scratch, call.task, entry, call.number);
        }
    }
}
