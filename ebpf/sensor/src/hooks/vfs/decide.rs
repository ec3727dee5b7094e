//! What of the noted is kept, when the call ends, or, outside calls, the function.

use graven_abi::counter;
use graven_abi::filter::class;
use graven_abi::limits::TOUCHED;
use graven_abi::syscalls::op;

use super::note::close;
use crate::filter::{classify, of_content, of_mark};
use crate::hooks::calling::{Calling, calling};
use crate::hooks::modify;
use crate::hooks::sys_exit::the_rest;
use crate::kernel::inode::{Inode, is_directory};
use crate::kernel::maps;
use crate::kernel::scratch::{Scratch, owner};
use crate::kernel::slot::{Slot, Touched, UNDECIDED};
use crate::kernel::task::Current;
use crate::place::slot_of;

/// What of the thread's entries is kept: the call has ended. Their number; 0 = they say nothing of it: they are of layers
/// alone, or mutable though the call failed or had no room for all. A global function, see `kernel::dentry`.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn decide(count: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner::SYS_EXIT) else { return 0 };
    let Some(slot) = scratch.slot() else { return 0 };
    // Of overlay and its layers, see above.
    let outer_last = !matches!(scratch.operation(), op::UNLINK..=op::RENAMEAT2);
    for index in 0..TOUCHED as u32 {
        if index >= slot.count {
            break;
        }
        let entry = slot.entry(index);
        if entry.class != UNDECIDED {
            continue;
        }
        entry.class = class_of(owner::SYS_EXIT, entry);
        slot.roots += entry.marked;
        slot.files += u32::from(!is_directory(entry.facts.mode) && entry.dentry != 0);
        if entry.class != class::MUTABLE {
            let protects = entry.class == class::PROTECT;
            let is_first = if protects { slot.protected == 0 } else { slot.kept == 0 };
            if is_first || (outer_last && (protects || slot.protected == 0)) {
                slot.root = entry.root;
            }
            slot.kept += 1;
            slot.protected += u32::from(protects);
        }
    }
    let is_known = slot.outer != 0 && (slot.full == 0 || slot.kept != 0);
    if is_known && !(scratch.failed() && slot.kept == 0) {
        return count;
    }
    if slot.roots != 0 && !scratch.failed() {
        maps::distrust_until_marked();
    }
    // What of a layer is kept is told beside what the caller says of the call.
    the_rest(owner::SYS_EXIT);
    scratch.restart();
    0
}

/// By its own mark, else by where it lay when it was noted.
#[inline(always)]
fn class_of(owner: u32, entry: &mut Touched) -> u32 {
    let inode = entry.inode;
    if let Some(mark) = maps::mark(inode) {
        entry.marked = 1;
        return of_mark(mark, entry.facts.inode, entry.facts.generation);
    }
    if entry.dentry == 0 {
        // It was made: its directory decides.
        return class::MUTABLE;
    }
    if is_directory(entry.facts.mode) && entry.parent == 0 {
        return of_content(owner, entry.dentry, inode, entry.facts.inode, entry.facts.generation);
    }
    let parent = Inode(entry.parent_inode);
    let class = match entry.parent {
        0 => class::KEEP,
        _ => of_content(owner, entry.parent, parent.0, parent.number(), parent.generation()),
    };
    if class == class::PROTECT
        || (entry.parent != 0 && entry.facts.links <= 1)
        || is_directory(entry.facts.mode)
    {
        return class;
    }
    match classify(owner, inode, entry.dentry) {
        // The name that it lost is not among its names any more.
        class::MUTABLE if entry.facts.links > 1 => class::KEEP,
        class => class,
    }
}

/// What a function has changed outside the calls that have a kind of their own. A global function, see `kernel::dentry`.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn tell() -> u32 {
    let number = Slot::find();
    let Some(slot) = Slot::of(number) else { return 0 };
    let mut scratch = Scratch::take();
    if let Some(scratch) = &mut scratch {
        let Calling { entry, number, .. } = calling(Current::get());
        scratch.caused_by(entry, number);
        scratch.find_slot();
    }
    for _ in 0..TOUCHED {
        let Some(last) = slot.take_ended() else { break };
        match &scratch {
            Some(scratch) => tell_one(scratch.owner(), last),
            None => {
                let entry = slot.entry(last);
                if entry.parent != 0 && maps::mark(entry.inode_number()).is_some() {
                    maps::distrust_until_marked();
                }
                maps::count(counter::STATE_FULL);
                0
            }
        };
    }
    close(slot, number);
    if let Some(scratch) = scratch {
        scratch.give_back();
    }
    0
}

/// One entry of the thread's slot, by number. A global function likewise.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tell_one(owner: u32, index: u32) -> u32 {
    let Some(slot) = slot_of(owner) else { return 0 };
    let entry = slot.entry(index);
    entry.class = class_of(owner, entry);
    // It has no mark any more at its new place, or at none.
    if entry.marked != 0 && entry.parent != 0 {
        maps::distrust_until_marked();
    }
    if entry.class == class::MUTABLE {
        // Of what was made its directory tells.
        if entry.dentry != 0 {
            maps::count(counter::IGNORED);
        }
        return 0;
    }
    modify::record_alone(owner, index, calling(Current::get()).command)
}
