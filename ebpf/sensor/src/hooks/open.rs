//! `open`: a file was opened for writing, truncated by the open, or made by it.
//!
//! From `sys_exit` of open, openat, openat2, creat, open_by_handle_at and mq_open. The name is the opened file
//! object's own (`files.fdt.fd[n].f_path`), never the argument: symbolic links, `..`, `/proc/self/fd` and
//! hard links resolve to what was really opened. FMODE_CREATED says that the open made it. A block device is
//! kept wherever its node lies.
//!
//! What it misses: a descriptor that another thread replaced between the call and this point (then the
//! outcome is `reported`), descriptors that come without an open (passed, stolen): their writes are `modify`.

use graven_abi::event::open::Open;
use graven_abi::event::outcome;
use graven_abi::filter::class;
use graven_abi::header::kind;
use graven_abi::syscalls::op;

use super::sys_exit::use_up;
use super::{create, modify};
use crate::emit::{emit, ring_of};
use crate::kernel::dentry::Dentry;
use crate::kernel::file::{FMODE_CREATED, FMODE_WRITE, File, Opened};
use crate::kernel::inode::{Inode, is_block_device, is_device, is_regular};
use crate::kernel::read::{copy, user};
use crate::kernel::scratch::{Scratch, owner};
use crate::kernel::slot::Slot;
use crate::place::{self, is_touched};

pub const O_ACCMODE: u64 = 3;
pub const O_CREAT: u64 = 0o100;
pub const O_EXCL: u64 = 0o200;
const O_TRUNC: u64 = 0o1000;
/// What creat(2) is short for.
const CREAT: u64 = O_CREAT | O_TRUNC | 1;
/// openat2: the flags are in the caller's memory, where they may change: ask the file object alone.
const UNKNOWN: u64 = u64::MAX;

/// An open with these flags can change nothing: decided on a register, before anything is read.
#[inline(always)]
pub fn reads_only(flags: u64) -> bool {
    flags & (O_ACCMODE | O_CREAT | O_TRUNC) == 0
}

/// The flags that the call was given.
#[inline(always)]
fn flags(scratch: &Scratch) -> u64 {
    match scratch.operation() {
        op::OPENAT2 => UNKNOWN,
        op::CREAT => CREAT,
        _ => scratch.argument(scratch.shape().value),
    }
}

/// Can this open change an inode before it returns? Only by making a file or cutting it off.
#[inline(always)]
pub fn may_change(operation: u8, flags: u64) -> bool {
    match operation {
        op::OPENAT2 | op::CREAT => true,
        _ => flags & (O_CREAT | O_TRUNC) != 0,
    }
}

/// The call has ended; the thread's slot holds `count` entries.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn opened(count: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner::SYS_EXIT) else { return 0 };
    let slot = if count == 0 { None } else { scratch.slot() };
    if scratch.result() < 0 {
        return claimed(scratch, outcome::REFUSED);
    }
    match slot {
        Some(slot) => {
            record(scratch, Some(&mut *slot));
            use_up(scratch, slot);
        }
        None => record(scratch, None),
    }
    0
}

/// The descriptor's file, if it was opened to change something. Another thread may have put something else
/// behind the descriptor, or nothing: then what the call made is a `create`, and what else it changed is left
/// for `the_rest`.
#[inline(always)]
fn record(scratch: &mut Scratch, slot: Option<&mut Slot>) {
    // 0 = none, and all of it reads as zeros.
    let file = File::of_descriptor(scratch.result() as u64).unwrap_or(File(0));
    let Opened { mode, flags, inode, dentry, .. } = file.read(scratch);
    let Some(slot) = slot else {
        if file.0 != 0 && agrees(scratch, flags, mode) {
            write(scratch.owner(), file.0, EXISTED);
        } else {
            // Nothing, or a file that this call would not have opened: what was opened is known by its name only.
            claimed(scratch, outcome::REPORTED);
        }
        return;
    };
    if inode == 0 || is_touched(owner::SYS_EXIT, inode) == 0 {
        if slot.kept != 0 {
            create::record(scratch, slot);
            scratch.restart();
        }
        if file.0 != 0 {
            write(scratch.owner(), file.0, EXCHANGED);
        }
        return;
    }
    write(scratch.owner(), file.0, TOUCHED);
    let made = mode & FMODE_CREATED != 0;
    place::explain(owner::SYS_EXIT, inode, if made { Dentry(dentry).parent().inode() } else { 0 });
}

/// The call has changed no inode: the file was there.
const EXISTED: u32 = 0;
/// The call has changed this file's inode.
const TOUCHED: u32 = 1;
/// The call has changed other inodes: somebody has put another file behind the descriptor.
const EXCHANGED: u32 = 2;

/// The record of a file object, unless nothing about it is to be recorded. A global function, see `kernel::dentry`.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn write(owner: u32, file: u64, evidence: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner) else { return 0 };
    let Opened { mode, flags: opened, inode, .. } = File(file).read(scratch);
    // Without inode-time tracepoints nothing tells that an open for reading has cut the file off, but its flags.
    // Devices and pipes have nothing to cut off.
    let cuts = evidence == EXISTED && truncates(scratch) && is_regular(Inode(inode).mode());
    if mode & (FMODE_WRITE | FMODE_CREATED) == 0 && evidence != TOUCHED && !cuts {
        return 0;
    }
    let class = place::describe_file(owner, file);
    if class == place::NOTHING {
        return 0;
    }
    let kind = scratch.facts().mode;
    let class = if is_block_device(kind) { class::PROTECT } else { class };
    let existed = mode & FMODE_CREATED == 0;
    let truncated = existed && (cuts || (evidence == TOUCHED && flags(scratch) & O_TRUNC != 0));
    let agreed = evidence != EXCHANGED && agrees(scratch, opened, mode);
    let (_, event) = scratch.record::<Open>();
    copy(&mut event.file, scratch.facts());
    event.mode = mode;
    event.flags = opened;
    event.truncated = truncated.into();
    event.outcome = if agreed { outcome::SUCCESS } else { outcome::REPORTED };
    event.device = if is_device(kind) { Inode(inode).node_device() } else { 0 };
    event.padding = 0;
    if emit::<Open>(scratch, kind::OPEN, ring_of(class)) && evidence == TOUCHED {
        modify::opened(inode, class);
    }
    0
}

/// Did the caller ask for a file to be cut off? openat2 has its flags in the caller's memory, where they may have
/// changed by now.
#[inline(always)]
fn truncates(scratch: &Scratch) -> bool {
    let asked = flags(scratch);
    let asked = if asked == UNKNOWN { user(scratch.argument(2)) } else { asked };
    asked & O_TRUNC != 0
}

/// Is a file object with these flags and this mode one that this call would have made?
#[inline(always)]
fn agrees(scratch: &Scratch, flags_now: u32, mode: u32) -> bool {
    let asked = flags(scratch);
    if asked == UNKNOWN {
        return true;
    }
    let makes = asked & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL;
    asked & O_ACCMODE == u64::from(flags_now) & O_ACCMODE && (!makes || mode & FMODE_CREATED != 0)
}

/// There is no file object, only what the caller asked for.
#[inline(always)]
fn claimed(scratch: &mut Scratch, sure: u32) -> u32 {
    let asked = flags(scratch);
    // openat2 asks for reading too, and its flags are not to be had for certain.
    let asked = if asked == UNKNOWN { 0 } else { asked };
    place::describe_first(scratch, 0);
    let (_, event) = scratch.record::<Open>();
    copy(&mut event.file, scratch.facts());
    event.mode = if asked & O_ACCMODE != 0 { FMODE_WRITE } else { 0 };
    event.flags = asked as u32;
    event.truncated = 0;
    event.outcome = sure;
    event.device = 0;
    event.padding = 0;
    emit::<Open>(scratch, kind::OPEN, ring_of(class::KEEP));
    0
}
