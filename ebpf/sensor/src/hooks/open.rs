//! `open`: a file was opened for writing, truncated by the open, or made by it.
//!
//! From `sys_exit` of open, openat, openat2, creat and open_by_handle_at. The name is the opened file
//! object's own (`files.fdt.fd[n].f_path`), never the argument: symbolic links, `..`, `/proc/self/fd` and
//! hard links resolve to what was really opened. FMODE_CREATED says that the open made it.
//!
//! What it misses: a descriptor that another thread replaced between the call and this point (then the
//! outcome is `reported`), descriptors that come without an open (passed, stolen): their writes are `modify`.

use graven_abi::event::open::Open;
use graven_abi::event::outcome;
use graven_abi::filter::class;
use graven_abi::header::kind;
use graven_abi::path::{Path, flag};
use graven_abi::{counter, syscalls::op};

use super::create;
use super::sys_exit::{Call, the_rest};
use crate::emit::{emit, ring_of};
use crate::filter::classify;
use crate::kernel::dentry::{Dentry, append_path};
use crate::kernel::file::{FMODE_CREATED, FMODE_WRITE, File};
use crate::kernel::inode::Inode;
use crate::kernel::maps;
use crate::kernel::regs::Regs;
use crate::kernel::scratch::{Scratch, owner};
use crate::kernel::slot::Slot;
use crate::place::{self, is_touched};

const O_ACCMODE: u64 = 3;
const O_CREAT: u64 = 0o100;
const O_TRUNC: u64 = 0o1000;
/// What creat(2) is short for.
const CREAT: u64 = O_CREAT | O_TRUNC | 1;
/// openat2: the flags are in the caller's memory, where they may change: ask the file object alone.
const UNKNOWN: u64 = u64::MAX;

/// The flags in the caller's registers.
#[inline(always)]
fn flags(operation: u8, regs: Regs) -> u64 {
    match operation {
        op::OPEN => regs.second(),
        op::OPENAT | op::OPEN_BY_HANDLE => regs.third(),
        op::CREAT => CREAT,
        _ => UNKNOWN,
    }
}

/// An open that can change nothing: decided on a register, before anything is read.
#[inline(always)]
pub fn reads_only(operation: u8, regs: Regs) -> bool {
    let opens = matches!(operation, op::OPEN | op::OPENAT | op::OPEN_BY_HANDLE);
    opens && flags(operation, regs) & (O_ACCMODE | O_CREAT | O_TRUNC) == 0
}

/// The call has ended well; the thread's slot holds `count` entries.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn opened(count: u32) -> u32 {
    let slot = if count == 0 { None } else { Slot::current() };
    let Some(scratch) = Scratch::begin(owner::SYS_EXIT) else { return 0 };
    match slot {
        Some(slot) => {
            record(scratch, &Call::current(), Some(slot));
            the_rest();
        }
        None => record(scratch, &Call::current(), None),
    }
    0
}

/// Can this open change an inode before it returns? Only by making a file or cutting it off.
#[inline(always)]
pub fn may_change(operation: u8, regs: Regs) -> bool {
    flags(operation, regs) & (O_CREAT | O_TRUNC) != 0
}

/// The descriptor's file, if it was opened to change something. Another thread may have put something else
/// behind the descriptor, or nothing: then what the call made is a `create`, and what else it changed is left
/// for `the_rest`.
#[inline(always)]
fn record(scratch: &mut Scratch, call: &Call, slot: Option<&mut Slot>) {
    let file = File::of_descriptor(call.task, call.result as u64);
    let Some(slot) = slot else {
        if let Some(file) = file {
            existing(scratch, call, file, false);
        }
        return;
    };
    let inode = file.map_or(0, File::inode);
    if inode == 0 || is_touched(inode) == 0 {
        if slot.kept != 0 {
            create::record(scratch, call, slot);
            scratch.restart();
        }
        if let Some(file) = file {
            existing(scratch, call, file, false);
        }
        return;
    }
    if let Some(file) = file {
        existing(scratch, call, file, true);
        place::explain(inode);
        if file.mode() & FMODE_CREATED != 0 {
            place::explain(Dentry(file.dentry()).parent().inode());
        }
    }
}

/// A file object that is there.
#[inline(always)]
fn existing(scratch: &mut Scratch, call: &Call, file: File, touched: bool) {
    let mode = file.mode();
    let inode = Inode(file.inode());
    if mode & (FMODE_WRITE | FMODE_CREATED) == 0 && !touched || !inode.in_tree() {
        return;
    }
    let (class, _) = classify(scratch, inode, Dentry(file.dentry()));
    if class == class::MUTABLE {
        maps::count(counter::IGNORED);
        return;
    }
    let truncated = touched && mode & FMODE_CREATED == 0 && flags(call.operation, call.regs) & O_TRUNC != 0;
    write(scratch, call, file, class, truncated);
}

#[inline(always)]
fn write(scratch: &mut Scratch, call: &Call, file: File, class: u32, truncated: bool) {
    let inode = Inode(file.inode());
    let dentry = Dentry(file.dentry());
    let mut path = Path { mount: file.mount_id(), flags: flag::FILE | flag::MOUNT, ..Path::default() };
    if dentry.unhashed() {
        path.flags |= flag::UNHASHED;
    }
    scratch.begin_path();
    append_path(scratch, dentry, &mut path);
    let (_, event) = scratch.record::<Open>();
    inode.describe(&mut event.file);
    event.file.path = path;
    event.file.base = Path::default();
    event.mode = file.mode();
    event.flags = file.flags();
    event.truncated = truncated.into();
    event.outcome = if agrees(call, file) { outcome::SUCCESS } else { outcome::REPORTED };
    emit::<Open>(scratch, kind::OPEN, ring_of(class), call.task);
}

/// Is the file object one that this call would have made?
#[inline(always)]
fn agrees(call: &Call, file: File) -> bool {
    let asked = flags(call.operation, call.regs);
    asked == UNKNOWN || asked & O_ACCMODE == u64::from(file.flags()) & O_ACCMODE
}
