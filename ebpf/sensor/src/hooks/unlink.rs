//! `unlink`: a name was removed: unlink, unlinkat, rmdir, mq_unlink.
//!
//! From `sys_exit`. What lost its name was noted with its name when its change time was set, before the
//! dentry went; a name behind a symbolic link or rewritten by another thread does not deceive it.
//!
//! What it misses: a file system that touches only the directory: then the last component is the argument's.
//! Of a file with more than five names in memory the last component is the argument's too.

use graven_abi::event::outcome;
use graven_abi::event::unlink::Unlink;
use graven_abi::filter::class;
use graven_abi::header::kind;
use graven_abi::limits::TOUCHED;
use graven_abi::syscalls::op::what::REMOVE_DIRECTORY;

use super::sys_exit::{Evidence, look_at_roots, use_up};
use crate::emit::{emit, ring_of};
use crate::kernel::dentry::Dentry;
use crate::kernel::inode::is_directory;
use crate::kernel::read::copy;
use crate::kernel::scratch::{Scratch, owner};
use crate::kernel::slot::{HAS_OTHERS, Slot, now};
use crate::place::{self, is_touched};

/// AT_REMOVEDIR.
const AT_REMOVEDIR: u64 = 0x200;

/// The call has ended; the thread's slot holds `count` entries.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn unlinked(count: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner::SYS_EXIT) else { return 0 };
    match Evidence::of(scratch, count) {
        Evidence::None => {
            let sure = place::unproven(scratch);
            named_by_caller(scratch, 0, class::KEEP, sure);
        }
        Evidence::Ignored => {}
        Evidence::Slot(slot) => {
            record(scratch, slot);
            use_up(scratch, slot);
        }
    }
    0
}

/// The inode of the kind that the call removes, whose directory was touched too.
#[inline(always)]
fn record(scratch: &mut Scratch, slot: &mut Slot) {
    let class = slot.strictest();
    let directory = removes_directory(scratch);
    look_at_roots(scratch, slot, directory);
    let victim = find_victim(directory.into());
    if victim >= TOUCHED as u32 {
        let directory = place::touched_directory(owner::SYS_EXIT);
        named_by_caller(scratch, directory, class, outcome::SUCCESS);
        place::explain(owner::SYS_EXIT, Dentry(directory).inode(), 0);
        return;
    }
    place::describe_noted(scratch.owner(), victim);
    finish(scratch, class, outcome::SUCCESS);
    let entry = slot.entry(victim);
    let (inode, directory) = (entry.inode, entry.parent_inode);
    place::explain(owner::SYS_EXIT, inode, directory);
}

/// The number of the thread's entry that lost its name; TOUCHED = none. A global function, see
/// `kernel::dentry`.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_victim(directory: u32) -> u32 {
    let nobody = TOUCHED as u32;
    let Some(scratch) = Scratch::of(owner::SYS_EXIT) else { return nobody };
    let Some(slot) = scratch.slot() else { return nobody };
    let mut victim = nobody;
    for index in 0..TOUCHED as u32 {
        if index >= slot.count {
            break;
        }
        let entry = slot.entry(index);
        let is_kind = u32::from(is_directory(entry.facts.mode)) == directory;
        // Not of a layer of an overlay that is watched.
        let fits = entry.described != 0 && is_kind && !slot.is_layers(entry);
        // Of several names it is the one that is not there any more.
        if entry.described == HAS_OTHERS {
            entry.look_again(scratch);
            if entry.now != now::GONE {
                continue;
            }
        }
        if fits && is_touched(owner::SYS_EXIT, entry.parent_inode) != 0 {
            victim = index;
        }
    }
    victim
}

#[inline(always)]
fn removes_directory(scratch: &Scratch) -> bool {
    let shape = scratch.shape();
    shape.what == REMOVE_DIRECTORY || scratch.argument(shape.value) & AT_REMOVEDIR != 0
}

/// `touched`: the dentry of the directory that was touched; 0 = none.
#[inline(always)]
fn named_by_caller(scratch: &mut Scratch, touched: u64, class: u32, sure: u32) {
    place::describe_first(scratch, touched);
    finish(scratch, class, sure);
}

#[inline(always)]
fn finish(scratch: &mut Scratch, class: u32, sure: u32) {
    let (_, event) = scratch.record::<Unlink>();
    copy(&mut event.file, scratch.facts());
    event.outcome = sure;
    event.padding = 0;
    emit::<Unlink>(scratch, kind::UNLINK, ring_of(class));
}
