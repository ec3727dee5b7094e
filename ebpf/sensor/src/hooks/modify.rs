//! `modify`: an inode changed outside the operations with a kind of their own.
//!
//! Called from `ctime` or `vfs` (see there for the tracepoints and the functions) in the thread that changes the inode, so it names the
//! writer even when the descriptor was inherited or passed; and from `sys_exit` for changes that a call made
//! although it failed. One record per program run and inode in a second; the others are counted as folded. What writes
//! by a descriptor and sets no time is told by its call.
//!
//! What it misses: where no time is set, a write by another way than a call on a descriptor that is the same at its end.

use graven_abi::event::modify::Modify;
use graven_abi::event::outcome;
use graven_abi::filter::class;
use graven_abi::header::{ExecKey, kind};
use graven_abi::syscalls::op::{self, SHAPES};
use graven_abi::syscalls::{entry, ioctl};
use graven_abi::{counter, limits};

use crate::emit::{emit, ring_of};
use crate::filter::classify;
use crate::kernel::clock::now;
use crate::kernel::file::{FMODE_WRITE, File, Opened};
use crate::kernel::inode::{Inode, is_block_device, is_device, is_regular};
use crate::kernel::maps::{self, ModifyKey, Wrote, modified};
use crate::kernel::offset::{WITNESSED, load};
#[cfg(not(feature = "counted"))]
use crate::kernel::opened;
use crate::kernel::read::{clear, copy};
use crate::kernel::regs::Regs;
use crate::kernel::scratch::{Scratch, owner};
use crate::kernel::task::{self, Current};
use crate::place;

/// Which argument is the descriptor that is written to.
const TO_WRITE: u8 = SHAPES[op::WRITE as usize].dirfd;
const TO_COPY: u8 = SHAPES[op::COPY as usize].dirfd;

/// An inode as it is now, by the name of a dentry. `command`: of an ioctl, else 0. A global function, see
/// `kernel::dentry`.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn record(owner: u32, inode: u64, alias: u64, class: u32, command: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner) else { return 0 };
    let said = owner == owner::SYS_EXIT || owner == owner::IO_URING;
    // Of an ioctl the first to tell is enough; a request may fail yet.
    let only_said = said && (command == 0 || owner == owner::IO_URING);
    let by = if only_said { modified::SAID } else { modified::PROVEN };
    let key = ModifyKey { who: who(), inode: Inode(inode).key(), command, by };
    if maps::was_modified(&key, class) {
        maps::count(counter::FOLDED);
        return 0;
    }
    place::describe(owner, inode, alias);
    // At the end of a call, or before a request is tried, nothing but that says so.
    let sure = if said { outcome::REPORTED } else { outcome::SUCCESS };
    if finish(scratch, class, command, sure) {
        maps::set_modified(&key, class);
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
    // Before 6.13 it was noted before it was done, and what takes it back when it fails may have been skipped.
    let sure = if scratch.failed() && load(&WITNESSED) == 0 { outcome::REPORTED } else { outcome::SUCCESS };
    finish(scratch, entry.class, 0, sure);
    0
}

/// The same, at once: no call that ends tells of it. By the name that it had, if it may have lost that; one record in a
/// second, as of [`record`].
#[cfg(not(feature = "counted"))]
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn record_alone(owner: u32, index: u32, command: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner) else { return 0 };
    let Some(slot) = scratch.slot() else { return 0 };
    let entry = slot.entry(index);
    let class = entry.class;
    let key = scratch.modified();
    key.who = who();
    key.inode.pointer = entry.inode_number();
    key.inode.inode = entry.facts.inode;
    key.inode.generation = entry.facts.generation;
    key.inode.padding = 0;
    key.command = command;
    key.by = modified::PROVEN;
    if maps::was_modified(key, class) {
        maps::count(counter::FOLDED);
        return 0;
    }
    scratch.restart();
    if entry.described != 0 {
        place::describe_noted(owner, index);
    } else {
        place::describe(owner, entry.inode_number(), entry.dentry);
    }
    if finish(scratch, class, command, outcome::SUCCESS) {
        maps::set_modified(key, class);
    }
    0
}

#[inline(always)]
fn finish(scratch: &mut Scratch, class: u32, command: u32, outcome: u32) -> bool {
    let (_, event) = scratch.record::<Modify>();
    copy(&mut event.file, scratch.facts());
    event.command = command;
    event.outcome = outcome;
    emit::<Modify>(scratch, kind::MODIFY, ring_of(class))
}

/// What a tracepoint has told of the current thread's call, into the scratch, which begins after this.
#[inline(always)]
pub fn take_told() {
    if let Some(scratch) = Scratch::of(owner::SYS_EXIT)
        && has_witness()
        && !maps::take_wrote(Current::get().thread(), &mut scratch.wrote)
    {
        scratch.wrote.thread = 0;
    }
}

/// Is a call that writes worth a look, by what it returned and its descriptor? It is the most frequent of all. Where
/// inode-time tracepoints tell of writes they leave one out: a write within the same tick of the clock as another's change
/// of that file, for which the kernel sets no time anew (`inode_needs_update_time`).
#[inline(always)]
pub fn may_write(operation: u8, regs: Regs, compat: bool) -> bool {
    let result = regs.result();
    let done = if operation == op::ALLOCATE { result == 0 } else { result > 0 };
    if !done {
        return false;
    }
    // Room on a block device is taken away without a write.
    if !has_witness() || operation == op::ALLOCATE {
        return true;
    }
    let descriptor = if operation == op::COPY { TO_COPY } else { TO_WRITE };
    match File::of_descriptor(regs.argument(compat, descriptor as usize)) {
        Some(file) => is_regular(Inode(file.inode()).mode()),
        None => false,
    }
}

#[inline(always)]
fn has_witness() -> bool {
    cfg!(not(feature = "counted")) && maps::has_witness()
}

/// An open has made the file or cut it off, and is recorded: that its process then writes needs no other's word.
#[inline(always)]
#[cfg_attr(feature = "counted", expect(unused_variables, reason = "there every write is told by its call"))]
pub fn opened(inode: u64, class: u32) {
    #[cfg(not(feature = "counted"))]
    if has_witness() {
        opened::set(&who(), &Inode(inode).key(), class);
    }
}

/// Has an open of this program run made it or cut it off within the last second, and told so?
#[cfg(not(feature = "counted"))]
#[inline(always)]
pub fn was_opened(inode: u64, class: u32) -> bool {
    opened::was(&who(), &Inode(inode).key(), class)
}

/// An inode-time tracepoint, or a function, tells of what the current call changes. A global function, see `kernel::dentry`.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn witnessed(owner: u32, inode: u64, class: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner) else { return 0 };
    let (from, number) = (scratch.call().entry, scratch.call().number);
    if from != entry::NONE.into() && from != entry::IO_URING.into() {
        let thread = Current::get().thread();
        maps::set_wrote(&Wrote { thread, class, inode, entry: from, number, time: now() });
    }
    0
}

/// Is what the call that ends has written told: by a tracepoint, as what it is; by an earlier record of a write of this
/// program run within the second; or by its open, that made the file or cut it off? A global function likewise: the keys
/// of the maps need room on the stack.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn is_told(inode: u64, class: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner::SYS_EXIT) else { return 0 };
    let inode = Inode(inode);
    let mut key = ModifyKey { who: who(), inode: inode.key(), command: 0, by: modified::SAID };
    let (from, number) = (scratch.call().entry, scratch.call().number);
    let wrote = &scratch.wrote;
    let of_call = wrote.entry == from
        && wrote.number == number
        && now().wrapping_sub(wrote.time) < limits::LONGEST_WRITE;
    let as_it_is = wrote.class == class::PROTECT || class != class::PROTECT;
    // A write through an overlay changes its layer's inode.
    let layered = wrote.inode != inode.0;
    if wrote.thread != 0 && of_call && as_it_is && (!layered || inode.is_layered()) {
        if layered && !maps::was_modified(&key, class) {
            maps::set_modified(&key, class);
        }
        return 1;
    }
    #[cfg(not(feature = "counted"))]
    if opened::was(&key.who, &key.inode, class) {
        return 1;
    }
    key.by = modified::PROVEN;
    if maps::was_modified(&key, class) {
        maps::count(counter::FOLDED);
        return 1;
    }
    0
}

/// A call that writes by a descriptor has ended, or an ioctl that changes something: what no inode-time tracepoint has
/// told of already is what the call says.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn written(_count: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner::SYS_EXIT) else { return 0 };
    let shape = scratch.shape();
    let command = scratch.argument(shape.value) as u32;
    let Some(file) = File::of_descriptor(scratch.argument(shape.dirfd)) else { return 0 };
    // A refused write has left the file as it was; the open was the attempt.
    if scratch.failed() {
        return 0;
    }
    if command != 0 {
        commanded(scratch, file, command);
        return 0;
    }
    let Opened { mode, inode, dentry, .. } = file.read(scratch);
    let inode = Inode(inode);
    // By a descriptor for reading nobody writes: it was exchanged, or a filter has answered.
    if !inode.in_tree() || mode & FMODE_WRITE == 0 {
        return 0;
    }
    let class = classify(owner::SYS_EXIT, inode.0, dentry);
    if class == class::MUTABLE && !is_block_device(inode.mode()) {
        if !has_witness() {
            maps::count(counter::IGNORED);
        }
        return 0;
    }
    if has_witness() && is_told(inode.0, class) != 0 {
        return 0;
    }
    record(owner::SYS_EXIT, inode.0, dentry, class, 0)
}

/// A command that changes something, of a file or a device. False: of one that needs no record.
#[inline(always)]
pub fn commanded(scratch: &mut Scratch, file: File, command: u32) -> bool {
    let Opened { inode, dentry, .. } = file.read(scratch);
    let inode = Inode(inode);
    if !inode.in_tree() {
        return false;
    }
    let class = classify(scratch.owner(), inode.0, dentry);
    if class == class::MUTABLE && !is_device(inode.mode()) && !ioctl::is_whole(command) {
        maps::count(counter::IGNORED);
        return false;
    }
    record(scratch.owner(), inode.0, dentry, class, command);
    true
}

#[inline(always)]
fn who() -> ExecKey {
    task::exec_key(Current::get().typed())
}
