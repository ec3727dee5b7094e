//! `rename`: a name was moved: rename, renameat, renameat2.
//!
//! From `sys_exit`. The moved inode was noted with its old name; its dentry now has the new one. What stood
//! at the new name was noted too. A mark that covers either place keeps the record.
//!
//! What it misses: a file system that touches only the directories: then both names are the arguments'.

use graven_abi::event::outcome;
use graven_abi::event::rename::{EXCHANGE, Rename};
use graven_abi::filter::class;
use graven_abi::header::kind;
use graven_abi::limits::TOUCHED;

use super::sys_exit::{Evidence, look_at_roots, use_up};
use crate::emit::{emit, ring_of};
use crate::kernel::dentry::Dentry;
use crate::kernel::inode::is_directory;
use crate::kernel::offset::{WITNESSED, load};
use crate::kernel::read::{clear, copy};
use crate::kernel::scratch::{Scratch, owner};
use crate::kernel::slot::{Slot, now};
use crate::place;

/// The call has ended; the thread's slot holds `count` entries. 1 = a directory may have moved.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn renamed(count: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner::SYS_EXIT) else { return 0 };
    let mut count = count;
    if let Some(slot) = scratch.slot() {
        // A mutable directory too may have roots below it.
        look_at_roots(scratch, slot, load(&WITNESSED) == 0);
        // Directories alone, and none that moves: what moved was not seen, so nothing says that its place is mutable.
        if slot.kept == 0 && slot.files == 0 && scratch.call().announced == 0 {
            scratch.free_slot();
            count = 0;
        }
    }
    match Evidence::of(scratch, count) {
        Evidence::Ignored => 0,
        Evidence::None => {
            let sure = place::unproven(scratch);
            named_by_caller(scratch, class::KEEP, sure);
            1
        }
        Evidence::Slot(slot) => {
            let moved = record(scratch, slot);
            use_up(scratch, slot);
            moved.into()
        }
    }
}

/// The inode whose dentry has another name or parent than when it was noted. May a directory have moved?
#[inline(always)]
fn record(scratch: &mut Scratch, slot: &mut Slot) -> bool {
    let class = slot.strictest();
    let found = look_again();
    let (moved, replaced) = (found & 0xff, found >> 8);
    if moved >= TOUCHED as u32 {
        named_by_caller(scratch, class, outcome::SUCCESS);
        return true;
    }
    write(scratch, slot, moved, replaced);
    finish(scratch, class, outcome::SUCCESS);
    explain(slot, moved);
    if replaced < TOUCHED as u32 {
        explain(slot, replaced);
    }
    let exchange = scratch.argument(scratch.shape().value) as u32 & EXCHANGE != 0;
    exchange || is_directory(slot.entry(moved).facts.mode)
}

/// What has become of the names that the thread's entries had: which of them has moved, and which, of another inode,
/// stood at its new name: the number of the one, and of the other << 8; TOUCHED = none. A global function, see
/// `kernel::dentry`.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn look_again() -> u32 {
    let nobody = TOUCHED as u32 | (TOUCHED as u32) << 8;
    let Some(scratch) = Scratch::of(owner::SYS_EXIT) else { return nobody };
    let Some(slot) = scratch.slot() else { return nobody };
    slot.moved = TOUCHED as u32;
    slot.replaced = TOUCHED as u32;
    for index in 0..TOUCHED as u32 {
        if index >= slot.count {
            break;
        }
        let entry = slot.entry(index);
        entry.look_again(scratch);
        if entry.now == now::STAYS {
            continue;
        }
        // A layer of an overlay that is watched.
        if slot.is_layers(entry) {
            continue;
        }
        if entry.now == now::MOVED && slot.moved >= TOUCHED as u32 {
            slot.moved = index;
        } else if slot.moved >= TOUCHED as u32 || slot.entry(slot.moved).inode != entry.inode {
            slot.replaced = index;
        }
    }
    // Another name of what has moved has gone at the same time.
    if slot.entry(slot.replaced).inode == slot.entry(slot.moved).inode {
        slot.replaced = TOUCHED as u32;
    }
    slot.moved | slot.replaced << 8
}

/// The inode, the directory it was in and the one it is in.
#[inline(always)]
fn explain(slot: &mut Slot, index: u32) {
    let entry = slot.entry(index);
    let (inode, before) = (entry.inode, entry.parent_inode);
    let elsewhere = if entry.parent_now == entry.parent { 0 } else { entry.parent_now };
    place::explain(owner::SYS_EXIT, inode, before);
    if elsewhere != 0 {
        place::explain(owner::SYS_EXIT, Dentry(elsewhere).inode(), 0);
    }
}

#[inline(always)]
fn write(scratch: &mut Scratch, slot: &mut Slot, moved: u32, replaced: u32) {
    let owner = scratch.owner();
    place::describe_noted(owner, moved);
    let (_, event) = scratch.record::<Rename>();
    copy(&mut event.from, scratch.facts());
    place::describe_moved(owner, moved);
    event.to = scratch.name();
    clear(&mut event.replaced);
    if replaced < TOUCHED as u32 && slot.entry(replaced).described != 0 {
        place::describe_noted(owner, replaced);
        copy(&mut event.replaced, scratch.facts());
    }
}

#[inline(always)]
fn named_by_caller(scratch: &mut Scratch, class: u32, sure: u32) {
    place::describe_first(scratch, 0);
    let (_, event) = scratch.record::<Rename>();
    copy(&mut event.from, scratch.facts());
    place::describe_second(scratch);
    event.to = scratch.name();
    clear(&mut event.replaced);
    finish(scratch, class, sure);
}

#[inline(always)]
fn finish(scratch: &mut Scratch, class: u32, sure: u32) {
    let flags = scratch.argument(scratch.shape().value);
    let (_, event) = scratch.record::<Rename>();
    event.outcome = sure;
    event.flags = flags as u32;
    emit::<Rename>(scratch, kind::RENAME, ring_of(class));
}
