//! What a call changes, noted in its thread's slot until `sys_exit` makes a record of it: the names that may be gone by
//! then, and that a directory may be moving.

use graven_abi::filter::class;
use graven_abi::limits::{OTHER_NAMES, TOUCHED};
use graven_abi::syscalls::op;

use super::locate::{Changing, Place, UNKNOWN};
use crate::kernel::dentry::Dentry;
use crate::kernel::inode::{self, Inode, is_directory, older_alias};
use crate::kernel::maps;
use crate::kernel::offset::offset;
use crate::kernel::read::{clear, copy};
use crate::kernel::scratch::Scratch;
use crate::kernel::slot::{HAS_OTHERS, Slot, Touched};

/// Notes the inode in the thread's slot, where it is not yet; false when there is no room.
#[inline(always)]
pub fn note(
    scratch: &mut Scratch,
    slot: &mut Slot,
    changing: &Changing,
    place: &Place,
    operation: u8,
) -> bool {
    let Changing { typed, inode, own, directory, .. } = *changing;
    if slot.count >= TOUCHED as u32 {
        return false;
    }
    let entry = slot.entry(slot.count);
    let renames = matches!(operation, op::RENAME..=op::RENAMEAT2);
    // A rename has two places: the mutable one is named too, if the other is kept.
    let described = place.class != class::MUTABLE || renames;
    // Only of what may lose its name it is asked how it was called: unlink takes none from a directory.
    let named = described
        && matches!(operation, op::UNLINK..=op::RENAMEAT2)
        && !(operation == op::UNLINK && directory);
    fill(scratch, entry, inode, place, named);
    entry.class = place.class;
    entry.marked = (own != UNKNOWN).into();
    entry.root = scratch.as_number(typed.follow(offset!(inode_sb)).load(offset!(super_root)));
    if described {
        inode::describe(typed, &mut entry.facts);
    } else {
        entry.facts.mode = typed.load::<u16>(offset!(inode_mode)).into();
    }
    slot.count += 1;
    slot.roots += entry.marked;
    slot.files += u32::from(!directory && place.alias != 0);
    if place.class != class::MUTABLE {
        slot.kept += 1;
        if place.class == class::PROTECT || slot.protected == 0 {
            slot.root = entry.root;
        }
        slot.protected += u32::from(place.class == class::PROTECT);
    }
    if directory && matches!(operation, op::RMDIR..=op::RENAMEAT2) {
        announce(slot, renames);
    }
    true
}

/// A file with several names loses one, or has one moved: which it is shows only at `sys_exit`, so the newest entry's
/// other names are noted too. A global function, see `kernel::dentry`.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn note_others(owner: u32, inode: u64) -> u32 {
    let Some(scratch) = Scratch::of(owner) else { return 0 };
    let Some(slot) = scratch.slot() else { return 0 };
    let first = slot.count.wrapping_sub(1);
    if slot.entry(first).described == 0 {
        return 0;
    }
    let mut alias = Inode(inode).first_alias();
    // One of them is the entry's own.
    for _ in 0..=OTHER_NAMES {
        if alias == 0 || slot.count >= TOUCHED as u32 {
            break;
        }
        let noted = slot.entry(first);
        // One that is gone already, but open, is not the one that goes now.
        if alias != noted.dentry && !Dentry(alias).unhashed() {
            noted.described = HAS_OTHERS;
            let entry = slot.entry(slot.count);
            fill(scratch, entry, Inode(inode), &Place { class: noted.class, alias, within: 0 }, true);
            entry.described = HAS_OTHERS;
            entry.class = noted.class;
            entry.marked = noted.marked;
            entry.root = noted.root;
            copy(&mut entry.facts, &noted.facts);
            slot.count += 1;
            slot.kept += u32::from(noted.class != class::MUTABLE);
        }
        alias = older_alias(alias);
    }
    0
}

/// Where it lies now, because that may be gone at `sys_exit`.
#[inline(always)]
fn fill(scratch: &mut Scratch, entry: &mut Touched, inode: Inode, place: &Place, named: bool) {
    entry.inode = inode.0;
    entry.dentry = place.alias;
    entry.within = place.within;
    clear(&mut entry.parent);
    clear(&mut entry.parent_inode);
    clear(&mut entry.described);
    if place.alias != 0 && named {
        let head = scratch.block(place.alias);
        let parent: u64 = head.field(offset!(dentry_parent));
        entry.parent = parent;
        entry.name_hash = head.field(offset!(dentry_name) + offset!(qstr_hash_len));
        entry.describe_name(head);
        // Of a file with one name it is known already.
        let known = place.within != 0 && place.within != inode.0;
        entry.parent_inode = if known { place.within } else { Dentry(parent).inode() };
    }
}

/// A policy root may lose its name in this call, or a directory moves. From here to `sys_exit`, which knows, no verdict is
/// believed.
#[inline(always)]
pub fn may_go(slot: &mut Slot) {
    if slot.moving == 0 {
        slot.moving = 1;
        maps::moving();
    }
}

/// A directory and its parent both change in one call: in a rename the directory is moving, and the trees below it change
/// their ancestors; else it goes, which matters of a policy root.
#[inline(always)]
fn announce(slot: &mut Slot, renames: bool) {
    if slot.moving != 0 {
        return;
    }
    let newest = slot.count.wrapping_sub(1);
    let newest_one = slot.entry(newest);
    for index in 0..TOUCHED as u32 {
        if index >= newest {
            break;
        }
        let other = slot.entry(index);
        let child = if other.inode == newest_one.parent_inode {
            &*newest_one
        } else if other.parent_inode == newest_one.inode && is_directory(other.facts.mode) {
            &*other
        } else {
            continue;
        };
        if renames || child.is_root() {
            may_go(slot);
            return;
        }
    }
}
