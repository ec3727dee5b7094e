//! `rename`: a name was moved: rename, renameat, renameat2.
//!
//! From `sys_exit`. The moved inode was noted with its old name; its dentry now has the new one. What stood
//! at the new name was noted too. A mark that covers either place keeps the record.
//!
//! What it misses: a file system that touches only the directories: then both names are the arguments'.

use graven_abi::event::outcome;
use graven_abi::event::rename::Rename;
use graven_abi::filter::class;
use graven_abi::header::kind;
use graven_abi::limits::TOUCHED;
use graven_abi::path::Inode as Facts;

use super::sys_exit::{Evidence, lost_name, the_rest};
use crate::emit::{emit, ring_of};
use crate::kernel::dentry::Dentry;
use crate::kernel::read::copy;
use crate::kernel::scratch::{Scratch, owner};
use crate::kernel::slot::{Slot, Touched};
use crate::place;

/// The call has ended; the thread's slot holds `count` entries.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn renamed(count: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner::SYS_EXIT) else { return 0 };
    match Evidence::of(count) {
        Evidence::None => {
            let sure = place::unproven(scratch);
            named_by_caller(scratch, class::KEEP, sure);
        }
        Evidence::Ignored => {}
        Evidence::Slot(slot) => {
            record(scratch, slot);
            the_rest();
        }
    }
    0
}

/// The inode whose dentry has another name or parent than when it was noted.
#[inline(always)]
fn record(scratch: &mut Scratch, slot: &mut Slot) {
    let class = place::strictest_touched();
    let moved = find_moved();
    let replaced = find_replaced(moved);
    if moved >= TOUCHED as u32 {
        return named_by_caller(scratch, class, outcome::SUCCESS);
    }
    write(scratch, slot, moved, replaced);
    finish(scratch, class, outcome::SUCCESS);
    explain(slot, moved);
    if replaced < TOUCHED as u32 {
        explain(slot, replaced);
    }
}

/// The number of the thread's entry that has moved; TOUCHED = none. A global function, see `kernel::dentry`.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_moved() -> u32 {
    let Some(slot) = Slot::current() else { return TOUCHED as u32 };
    for index in 0..TOUCHED as u32 {
        if index >= slot.count {
            break;
        }
        let entry = slot.entry(index);
        if entry.dentry != 0 && has_moved(entry) {
            return index;
        }
    }
    TOUCHED as u32
}

/// The number of the entry that stood at the new name; TOUCHED = none. A global function likewise.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_replaced(moved: u32) -> u32 {
    let Some(slot) = Slot::current() else { return TOUCHED as u32 };
    let mut replaced = TOUCHED as u32;
    for index in 0..TOUCHED as u32 {
        if index >= slot.count {
            break;
        }
        let entry = slot.entry(index);
        let other = moved >= TOUCHED as u32 || entry.inode != slot_inode(moved);
        if other && index != moved && entry.dentry != 0 && (has_moved(entry) || entry.is_gone()) {
            replaced = index;
        }
    }
    replaced
}

/// The inode of one of the thread's entries.
#[inline(always)]
fn slot_inode(index: u32) -> u64 {
    match Slot::current() {
        Some(slot) => slot.entry(index).inode,
        None => 0,
    }
}

/// The inode, the directory it was in and the one it is in.
#[inline(always)]
fn explain(slot: &mut Slot, index: u32) {
    let entry = slot.entry(index);
    lost_name(entry);
    let (inode, before, dentry) = (entry.inode, entry.parent_inode, entry.dentry);
    place::explain(inode);
    place::explain(before);
    place::explain(Dentry(dentry).parent().inode());
}

#[inline(always)]
fn has_moved(entry: &Touched) -> bool {
    let dentry = Dentry(entry.dentry);
    dentry.inode() == entry.inode
        && (dentry.parent().0 != entry.parent || dentry.name_hash() != entry.name_hash)
}

#[inline(always)]
fn write(scratch: &mut Scratch, slot: &mut Slot, moved: u32, replaced: u32) {
    let owner = scratch.owner();
    place::describe_noted(owner, moved);
    let (_, event) = scratch.record::<Rename>();
    copy(&mut event.from, scratch.facts());
    let entry = slot.entry(moved);
    place::describe(owner, entry.inode, entry.dentry);
    copy(&mut event.to, scratch.facts());
    event.replaced = Facts::default();
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
    copy(&mut event.to, scratch.facts());
    event.replaced = Facts::default();
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
