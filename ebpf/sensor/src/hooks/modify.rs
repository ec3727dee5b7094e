//! `modify`: an inode changed outside the operations with a kind of their own.
//!
//! Called from `ctime` (see there for the tracepoints) in the thread that changes the inode, so it names the
//! writer even when the descriptor was inherited or passed; and from `sys_exit` for changes that a call made
//! although it failed. One record per program run and inode in a second; the others are counted as folded.

use graven_abi::event::modify::Modify;
use graven_abi::filter::class;
use graven_abi::header::kind;
use graven_abi::{counter, limits};

use crate::emit::{emit, ring_of};
use crate::filter::classify;
use crate::kernel::clock::now;
use crate::kernel::file::{File, Opened};
use crate::kernel::inode::{Inode, is_block_device, is_device};
use crate::kernel::maps::{self, ModifyKey};
use crate::kernel::read::{clear, copy};
use crate::kernel::scratch::{Scratch, owner};
use crate::kernel::task::{self, Current};
use crate::place;

/// An inode as it is now, by the name of a dentry. `command`: of an ioctl, else 0. A global function, see
/// `kernel::dentry`.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn record(owner: u32, inode: u64, alias: u64, class: u32, command: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner) else { return 0 };
    let who = task::exec_key(Current::get().typed());
    let key = ModifyKey { who, inode: Inode(inode).key(), command: command.into() };
    if !due(&key) {
        maps::count(counter::FOLDED);
        return 0;
    }
    place::describe(owner, inode, alias);
    if finish(scratch, class, command) {
        maps::set_modified(&key, now());
    }
    0
}

/// An inode as it was noted by the current thread: the number of the entry. A global function likewise.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn record_noted(owner: u32, index: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner) else { return 0 };
    let Some(slot) = scratch.slot() else { return 0 };
    let entry = slot.entry(index);
    scratch.restart();
    place::describe(owner, entry.inode, entry.dentry);
    let path = scratch.facts().path;
    // What it was like then: it may be another inode by now.
    copy(scratch.facts(), &entry.facts);
    scratch.facts().path = path;
    clear(&mut scratch.facts().base);
    finish(scratch, entry.class, 0);
    0
}

#[inline(always)]
fn finish(scratch: &mut Scratch, class: u32, command: u32) -> bool {
    let (_, event) = scratch.record::<Modify>();
    copy(&mut event.file, scratch.facts());
    event.command = command;
    event.padding = 0;
    emit::<Modify>(scratch, kind::MODIFY, ring_of(class))
}

/// A call that writes by a descriptor has ended: an ioctl that changes something, or, where no inode-time
/// tracepoint tells, write and its kin.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn written(_count: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner::SYS_EXIT) else { return 0 };
    let shape = scratch.shape();
    let command = scratch.argument(shape.value) as u32;
    let Some(file) = File::of_descriptor(scratch.argument(shape.dirfd)) else { return 0 };
    let Opened { inode, dentry, .. } = file.read(scratch);
    let inode = Inode(inode);
    // A refused write has left the file as it was; the open was the attempt.
    if scratch.failed() || !inode.in_tree() {
        return 0;
    }
    let class = classify(owner::SYS_EXIT, inode.0, dentry);
    let device = is_block_device(inode.mode()) || (command != 0 && is_device(inode.mode()));
    if class == class::MUTABLE && !device {
        maps::count(counter::IGNORED);
        return 0;
    }
    record(owner::SYS_EXIT, inode.0, dentry, class, command)
}

#[inline(always)]
fn due(key: &ModifyKey) -> bool {
    match maps::last_modified(key) {
        Some(last) => now().wrapping_sub(last) >= limits::MODIFY_INTERVAL,
        None => true,
    }
}
