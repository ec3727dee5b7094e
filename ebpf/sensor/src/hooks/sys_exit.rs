//! `sys_exit`: the end of every system call, the only program on the way of calls that change nothing.
//!
//! The registers still hold the arguments, and the result is known. There is none on `sys_enter`: it alone
//! would cost more than all the rest. Exists since 2.6; a raw tracepoint program since 4.17, with a BTF
//! context since 5.5. From 7.0 on the kernel skips such a program when it is entered again on a CPU after a
//! preemption, but not one on the classic tracepoint (`trace_call_bpf` runs with preemption off): there the
//! agent attaches [`sys_exit_classic`].
//!
//! Every way in is decoded, each by its own table: the 64-bit entry, the 32-bit one, x32. A successful call that
//! no table knows is an `uncovered` record; what it changes is a `modify`, by `ctime` or `vfs`.

use aya_ebpf::macros::btf_tracepoint;
#[cfg(not(feature = "counted"))]
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
#[cfg(not(feature = "counted"))]
use aya_ebpf::programs::TracePointContext;
use graven_abi::counter;
use graven_abi::filter::class;
use graven_abi::limits::TOUCHED;
use graven_abi::syscalls::op::{self, deed};
use graven_abi::syscalls::{NEWEST, X32_FIRST as FIRST, entry, ioctl};

#[cfg(not(feature = "counted"))]
use super::vfs;
use super::{
    attr, bpf, create, mmap, modify, module, mount, open, rename, tamper, truncate, uncovered, unlink,
};
use crate::kernel::maps;
use crate::kernel::offset::{TABLES, operation};
#[cfg(not(feature = "counted"))]
use crate::kernel::offset::{WITNESSED, load};
use crate::kernel::regs::{Regs, X32_BIT};
use crate::kernel::scratch::{Scratch, owner};
use crate::kernel::slot::{Slot, now};
use crate::kernel::task::{self, Current};

/// Where x32's own block of calls begins.
const X32_FIRST: i64 = FIRST as i64;
/// AT_FDCWD.
const AT_FDCWD: i32 = -100;
/// EPERM, EACCES, ETXTBSY, EROFS: the kernel forbade it.
const REFUSALS: [i64; 4] = [-1, -13, -26, -30];

/// trace_sys_exit(regs, ret)
#[btf_tracepoint(function = "sys_exit")]
pub fn sys_exit(ctx: BtfTracePointContext) -> i32 {
    ended(Regs::of_exit(&ctx))
}

/// raw_syscalls:sys_exit, for kernels from 7.0 on.
#[cfg(not(feature = "counted"))]
#[tracepoint]
pub fn sys_exit_classic(_ctx: TracePointContext) -> u32 {
    ended(Regs::of_current(Current::get())) as u32
}

/// A way into the kernel and what a number means there.
#[inline(always)]
pub fn look_up(compat: bool, number: i64) -> (u8, u8) {
    if compat {
        return (entry::COMPAT, operation(&TABLES.compat, number));
    }
    if number > 0 && number & X32_BIT != 0 {
        let own = number & !X32_BIT;
        let found = match own >= X32_FIRST {
            true => operation(&TABLES.x32, own - X32_FIRST),
            false => operation(&TABLES.native, own),
        };
        return (entry::X32, found);
    }
    (entry::NATIVE, operation(&TABLES.native, number))
}

/// What a call does, once its arguments are looked at: decided on registers, before anything is read.
#[inline(always)]
pub fn settle(operation: u8, regs: Regs, compat: bool) -> u8 {
    let argument = |number| regs.argument(compat, number);
    match operation {
        op::OPEN if open::reads_only(argument(1)) => op::NOTHING,
        op::OPENAT | op::OPEN_BY_HANDLE if open::reads_only(argument(2)) => op::NOTHING,
        op::IOCTL => match argument(1) as u32 {
            command if ioctl::sets_flags(command) => op::SETFLAGS,
            command if ioctl::changes(command) => op::CHANGE,
            _ => op::NOTHING,
        },
        op::MMAP if !mmap::is_shared_writable(argument(2), argument(3)) => op::NOTHING,
        // SYS_BIND
        op::SOCKETCALL => {
            if argument(0) == 2 {
                op::BIND
            } else {
                op::NOTHING
            }
        }
        op::BPF => bpf::settle(argument(0)),
        op::PTRACE if !tamper::changes(argument(0)) => op::NOTHING,
        op::FSCONFIG if !mount::reconfigures(argument(1)) => op::NOTHING,
        _ => operation,
    }
}

/// Does it return a descriptor?
#[inline(always)]
pub fn is_open(operation: u8) -> bool {
    matches!(operation, op::OPEN..=op::OPEN_BY_HANDLE)
}

#[inline(always)]
fn ended(regs: Regs) -> i32 {
    let number = regs.number();
    // Most calls change nothing, whichever way they came by: then nobody is asked for it.
    if number <= NEWEST
        && operation(&TABLES.native, number) | operation(&TABLES.compat, number) == op::NOTHING
    {
        return 0;
    }
    let compat = Current::get().compat();
    let (entry, operation) = look_up(compat, number);
    if operation == op::NOTHING {
        if number > NEWEST && regs.result() >= 0 {
            unknown(entry, number);
        }
        return 0;
    }
    let operation = settle(operation, regs, compat);
    if operation == op::NOTHING {
        return 0;
    }
    if matches!(operation, op::WRITE | op::COPY | op::ALLOCATE) {
        // Whatever came of it: another call must not find it.
        modify::take_told();
        if !modify::may_write(operation, regs, compat) {
            return 0;
        }
    }
    let Some(scratch) = Scratch::begin(owner::SYS_EXIT) else { return 0 };
    scratch.caused_by(entry, number as i32 & !(X32_BIT as i32));
    let call = scratch.call();
    call.operation = operation.into();
    call.result = regs.result();
    for index in 0..6 {
        call.arguments[index] = regs.argument(compat, index);
    }
    call.arguments[op::CWD as usize] = AT_FDCWD as u32 as u64;
    call.arguments[op::NONE as usize] = 0;
    finished(scratch, operation);
    0
}

#[inline(always)]
fn unknown(entry: u8, number: i64) {
    let own = number & !X32_BIT;
    // x32's own block lies beyond the newest number and is known.
    let x32 = entry == entry::X32 && (own <= NEWEST || (X32_FIRST..X32_FIRST + 36).contains(&own));
    if !x32 {
        uncovered::record(owner::SYS_EXIT, Current::get(), entry, own);
    }
}

#[inline(always)]
fn finished(scratch: &mut Scratch, operation: u8) {
    let (count, moving) = if operation <= op::LAST_NOTED { noted(scratch) } else { (0, 0) };
    let mut shaken = 0;
    if !scratch.failed() {
        shaken = act(scratch, count);
    } else if count != 0 {
        the_rest(scratch.owner());
    } else if REFUSALS.contains(&scratch.result()) {
        if maps::may_be_refused(&task::exec_key(Current::get().typed())) {
            act(scratch, 0);
        } else {
            maps::count(counter::REFUSED);
        }
    }
    // Behind what finds out whether a policy root has gone.
    if moving != 0 {
        maps::moved();
    } else if shaken != 0 {
        maps::shake();
    }
}

/// Entries in the thread's slot, and whether the generation is odd because of it.
#[inline(always)]
fn noted(scratch: &mut Scratch) -> (u32, u32) {
    match scratch.find_slot() {
        Some(slot) => {
            let moving = slot.moving;
            slot.moving = 0;
            scratch.call().announced = moving;
            let count = slot.count;
            #[cfg(not(feature = "counted"))]
            let count = match count {
                _ if load(&WITNESSED) != 0 => count,
                // What was noted was taken back, or is of an earlier function whose end was skipped.
                _ if count == 0 || slot.alone != 0 => {
                    scratch.free_slot();
                    0
                }
                _ => vfs::decide(count),
            };
            (count, moving)
        }
        None => (0, 0),
    }
}

/// A policy root that has lost its name: what stands at its place from here on has no mark. Whether the call names it or
/// not: a layer of an overlay may have roots of its own. Each that may go was announced (`note`), if its directory was
/// touched and found room; `may_go`: it may without that (vfat keeps no times of its own root).
#[inline(always)]
pub fn look_at_roots(scratch: &mut Scratch, slot: &Slot, may_go: bool) {
    let may_go = may_go || scratch.call().announced != 0 || slot.count >= TOUCHED as u32;
    if slot.roots != 0 && may_go && has_lost_root(scratch.owner()) != 0 {
        maps::distrust_until_marked();
    }
}

/// 1 = a policy root that the call touched is not called any more as it was. A global function, see `kernel::dentry`.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn has_lost_root(owner: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner) else { return 0 };
    let Some(slot) = scratch.slot() else { return 0 };
    for index in 0..TOUCHED as u32 {
        if index >= slot.count {
            break;
        }
        let entry = slot.entry(index);
        if entry.is_root() && entry.described != 0 {
            entry.look_again(scratch);
            if entry.now != now::STAYS {
                return 1;
            }
        }
    }
    0
}

/// Each way on is a global function: the verifier checks it once and on its own, or it would explore the
/// product of all of them. 1 = a directory has moved, or may have, that no inode-time tracepoint announced.
#[inline(always)]
fn act(scratch: &Scratch, count: u32) -> u32 {
    match scratch.shape().deed {
        deed::OPEN => open::opened(count),
        deed::CREATE => create::created(count),
        deed::UNLINK => unlink::unlinked(count),
        deed::RENAME => rename::renamed(count),
        deed::ATTR => attr::set(count),
        deed::TRUNCATE => truncate::truncated(count),
        deed::MMAP => mmap::mapped(count),
        deed::MOUNT => mount::mounted(count),
        deed::MODULE => module::changed(count),
        deed::BPF => bpf::called(count),
        deed::TAMPER => tamper::acted(count),
        _ => modify::written(count),
    }
}

/// What a call has changed, for the functions above.
pub enum Evidence {
    /// Nothing that was seen: a file system without these tracepoints, a seccomp filter that answers in the
    /// kernel's place, an open of an existing file, or a refusal.
    None,
    /// Only mutable places.
    Ignored,
    /// This.
    Slot(&'static mut Slot),
}

impl Evidence {
    /// `count`: entries in the thread's slot.
    #[inline(always)]
    pub fn of(scratch: &mut Scratch, count: u32) -> Self {
        if count == 0 {
            return Self::None;
        }
        match scratch.slot() {
            Some(slot) if slot.kept == 0 => {
                scratch.free_slot();
                maps::count(counter::IGNORED);
                Self::Ignored
            }
            Some(slot) => Self::Slot(slot),
            None => Self::None,
        }
    }
}

/// A record was made of the call: the slot is free again, behind what the record does not name.
#[inline(always)]
pub fn use_up(scratch: &mut Scratch, slot: &mut Slot) {
    if slot.kept == 0 {
        scratch.free_slot();
    } else {
        the_rest(scratch.owner());
    }
}

/// What the call changed and its record, if it has one, does not name: it failed on the way, or another thread
/// exchanged what it returned. Each such inode is a `modify`; none is dropped. Uses up the slot.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn the_rest(owner: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner) else { return 0 };
    let Some(slot) = scratch.slot() else { return 0 };
    for index in 0..TOUCHED as u32 {
        if index >= slot.count {
            break;
        }
        if slot.entry(index).class != class::MUTABLE {
            modify::record_noted(owner, index);
        }
    }
    scratch.free_slot();
    0
}
