//! What a function is about, noted in the thread's slot: inodes, and the names that may be gone when it ends.

use graven_abi::counter;
use graven_abi::limits::{LONGEST_FUNCTION, TOUCHED};
use graven_abi::syscalls::op;

use crate::hooks::calling::calling;
use crate::hooks::note::may_go;
use crate::kernel::clock::now;
use crate::kernel::inode::{self, is_in_tree};
use crate::kernel::maps;
use crate::kernel::offset::offset;
use crate::kernel::read::{Typed, clear};
use crate::kernel::slot::{self, Slot, Touched, UNDECIDED};
use crate::kernel::task::Current;

/// Entries that are left for an overlay's own function by those of its layers: a rename has so many.
const OUTER: usize = 4;

/// Entries of functions outside a call that are in each other, of an overlay over an overlay: more are left of such whose end
/// was skipped.
const ALONE: u32 = 2 * OUTER as u32;

/// The current thread's slot.
#[inline(always)]
pub fn begin() -> Option<&'static mut Slot> {
    let alone = u64::from(calling(Current::get()).operation == op::NOTHING);
    let mut number = Slot::find();
    if let Some(slot) = Slot::of(number) {
        let stale = slot.count > ALONE || now().wrapping_sub(slot.since) > LONGEST_FUNCTION;
        if slot.alone == alone && (alone == 0 || !stale) {
            return Some(slot);
        }
        // What is in it is left of a function whose end was skipped, or takes longer than any.
        if slot.count != 0 {
            maps::count(counter::STATE_FULL);
        }
        over(slot);
    } else {
        number = Slot::open();
    }
    if number == slot::NONE {
        maps::count(counter::STATE_FULL);
    }
    let slot = Slot::of(number)?;
    slot.begin();
    slot.alone = alone;
    if alone != 0 {
        slot.since = now();
    }
    Some(slot)
}

/// Functions outside a call have ended: what moved has moved.
#[inline(always)]
fn over(slot: &mut Slot) {
    if slot.moving != 0 {
        slot.moving = 0;
        maps::moved();
    }
}

/// A function outside a call has ended: with the last one the slot of this number is free again.
#[inline(always)]
pub fn close(slot: &mut Slot, number: u32) {
    if slot.count == 0 {
        over(slot);
        Slot::free(number);
    }
}

/// Does the thread do it with its own rights, and not an overlay in its layers?
#[inline(always)]
pub fn is_outer() -> bool {
    let task = Current::get().typed();
    task.follow(offset!(task_cred)).address() == task.follow(offset!(task_real_cred)).address()
}

/// The directory that a dentry lies in.
#[inline(always)]
pub fn note_directory(slot: &mut Slot, dentry: Typed, by: Typed) {
    let directory = dentry.follow(offset!(dentry_parent));
    note(slot, directory.follow(offset!(dentry_inode)), directory, by, false);
}

/// A name that was made for a new inode, and the directory it lies in.
#[inline(always)]
pub fn note_made(slot: &mut Slot, dentry: Typed) {
    note_directory(slot, dentry, dentry);
    note(slot, dentry.follow(offset!(dentry_inode)), Typed(core::ptr::null()), dentry, false);
}

/// Notes an inode with the dentry that names it, unless it is there already. `by`: the dentry that the function is about.
/// `named`: it loses that name.
#[inline(always)]
pub fn note(slot: &mut Slot, inode: Typed, dentry: Typed, by: Typed, named: bool) {
    if inode.is_null() {
        return;
    }
    let sb = inode.follow(offset!(inode_sb));
    // Of a memfd, a pipe or a socket there is nothing to say.
    if !is_in_tree(sb.load(offset!(super_flags))) {
        return;
    }
    let outer = is_outer();
    let room = if outer { TOUCHED } else { TOUCHED - OUTER };
    if slot.count >= room as u32 {
        maps::count(counter::STATE_FULL);
        slot.full = 1;
        slot.refused = inode.address();
        if named && maps::mark(slot.refused()).is_some() {
            maps::distrust_until_marked();
        }
        return;
    }
    slot.outer |= u32::from(outer);
    let new = slot.entry(slot.count);
    new.inode = inode.address();
    new.dentry = dentry.address();
    new.by = by.address();
    let index = noted(slot);
    let entry = slot.entry(index);
    if index == slot.count {
        entry.class = UNDECIDED;
        clear(&mut entry.within);
        clear(&mut entry.parent);
        clear(&mut entry.parent_inode);
        clear(&mut entry.described);
        clear(&mut entry.marked);
        entry.root = sb.follow(offset!(super_root)).address();
        inode::describe(inode, &mut entry.facts);
        slot.count += 1;
    }
    if named && entry.parent == 0 {
        name(entry, dentry);
        if maps::mark(entry.inode_number()).is_some() {
            may_go(slot);
        }
    }
}

/// The number of the entry that is of the same inode and name as the one behind the last, or of that one. Outside a call
/// each function has its own.
#[inline(always)]
fn noted(slot: &mut Slot) -> u32 {
    let new = slot.entry(slot.count);
    for index in 0..TOUCHED as u32 {
        if index >= slot.count {
            break;
        }
        let entry = slot.entry(index);
        let is_its = slot.alone == 0 || entry.by == new.by;
        if entry.inode == new.inode && entry.dentry == new.dentry && is_its {
            return index;
        }
    }
    slot.count
}

/// What it is called, and where.
#[inline(always)]
fn name(entry: &mut Touched, dentry: Typed) {
    let parent = dentry.follow(offset!(dentry_parent));
    entry.parent = parent.address();
    entry.parent_inode = parent.follow(offset!(dentry_inode)).address();
    // In two halves: 6.1 lets no field be loaded together with the next.
    let hash_len = offset!(dentry_name) + offset!(qstr_hash_len);
    let (hash, length): (u32, u32) = (dentry.load(hash_len), dentry.load(hash_len + 4));
    entry.name_hash = u64::from(hash) | u64::from(length) << 32;
    entry.read_name(dentry.load(offset!(dentry_name) + offset!(qstr_name)));
}
