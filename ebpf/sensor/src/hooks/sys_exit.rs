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
use graven_abi::filter::class;
use graven_abi::limits::TOUCHED;
use graven_abi::syscalls::{TABLE, TABLE_LEN, op};

use super::{attr, create, modify, open, rename, uncovered, unlink};
use crate::kernel::maps;
use crate::kernel::regs::{Regs, X32_BIT};
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

/// Does it return a descriptor?
#[inline(always)]
pub fn is_open(operation: u8) -> bool {
    matches!(operation, op::OPEN | op::OPENAT | op::OPENAT2 | op::CREAT | op::OPEN_BY_HANDLE)
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

impl Call {
    /// The current thread's, while it is in `sys_exit`: its registers hold arguments and result.
    #[inline(always)]
    pub fn current() -> Self {
        let current = Current::get();
        let regs = Regs::of_current(current);
        let number = regs.number();
        Self {
            operation: operation(number),
            number: number as i32,
            result: regs.result(),
            regs,
            task: current.address(),
        }
    }
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
        if number > 0 && number & X32_BIT != 0 && regs.result() >= 0 {
            return uncovered::record(owner::SYS_EXIT, current.address(), entry::X32);
        }
        return 0;
    }
    let result = regs.result();
    if result >= 0 && open::reads_only(operation, regs) {
        return 0;
    }
    finished(operation, result);
    0
}

/// Each way on is a global function: the verifier checks it once and on its own, or it would explore the
/// product of all of them.
#[inline(always)]
fn finished(operation: u8, result: i64) {
    let count = match Slot::current() {
        Some(slot) => {
            if slot.moving != 0 {
                slot.moving = 0;
                maps::moved();
            }
            slot.count
        }
        None => 0,
    };
    if result < 0 {
        if count != 0 {
            the_rest();
        }
        return;
    }
    match operation {
        _ if is_open(operation) => open::opened(count),
        op::MKDIR | op::MKDIRAT | op::MKNOD | op::MKNODAT | op::LINK | op::LINKAT | op::SYMLINKAT => {
            create::created(count)
        }
        op::UNLINK | op::RMDIR | op::UNLINKAT => unlink::unlinked(count),
        op::RENAME | op::RENAMEAT | op::RENAMEAT2 => rename::renamed(count),
        _ => attr::set(count),
    };
}

/// What a call has changed, for the functions above.
pub enum Evidence {
    /// Nothing that was seen: a file system without these tracepoints, a seccomp filter that answers in the
    /// kernel's place, or an open of an existing file.
    None,
    /// Only mutable places.
    Ignored,
    /// This.
    Slot(&'static mut Slot),
}

impl Evidence {
    /// `count`: entries in the thread's slot.
    #[inline(always)]
    pub fn of(count: u32) -> Self {
        if count == 0 {
            return Self::None;
        }
        match Slot::current() {
            Some(slot) if slot.kept == 0 => {
                Slot::remove();
                maps::count(counter::IGNORED);
                Self::Ignored
            }
            Some(slot) => Self::Slot(slot),
            None => Self::None,
        }
    }
}

/// What the call changed and its record, if it has one, does not name: it failed on the way, or another thread
/// exchanged what it returned. Each such inode is a `modify`; none is dropped. Uses up the slot.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn the_rest() -> u32 {
    let (Some(slot), Some(scratch)) = (Slot::current(), Scratch::begin(owner::SYS_EXIT)) else { return 0 };
    let call = Call::current();
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
    Slot::remove();
    0
}
