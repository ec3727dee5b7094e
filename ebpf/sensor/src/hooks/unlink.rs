//! `unlink`: a name was removed: unlink, unlinkat, rmdir.
//!
//! From `sys_exit`. What lost its name was noted with its name when its change time was set, before the
//! dentry went; a name behind a symbolic link or rewritten by another thread does not deceive it.
//!
//! What it misses: a file system that touches only the directory: then the last component is the argument's.
//! Of a file with several hard links in memory the name may be that of another link of the same inode.

use graven_abi::event::outcome;
use graven_abi::event::unlink::Unlink;
use graven_abi::filter::class;
use graven_abi::header::kind;
use graven_abi::limits::TOUCHED;
use graven_abi::path::Path;
use graven_abi::syscalls::op;

use super::sys_exit::{Call, Evidence, the_rest};
use crate::emit::{emit, ring_of};
use crate::kernel::dentry::Dentry;
use crate::kernel::inode::is_directory;
use crate::kernel::read::copy;
use crate::kernel::scratch::{Scratch, owner};
use crate::kernel::slot::Slot;
use crate::place::{self, Argument, is_touched};

/// AT_REMOVEDIR.
const AT_REMOVEDIR: u64 = 0x200;

/// The call has ended well; the thread's slot holds `count` entries.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn unlinked(count: u32) -> u32 {
    let Some(scratch) = Scratch::begin(owner::SYS_EXIT) else { return 0 };
    match Evidence::of(count) {
        Evidence::None => reported(scratch, &Call::current()),
        Evidence::Ignored => {}
        Evidence::Slot(slot) => {
            record(scratch, &Call::current(), slot);
            the_rest();
        }
    }
    0
}

/// The inode of the kind that the call removes, whose directory was touched too.
#[inline(always)]
fn record(scratch: &mut Scratch, call: &Call, slot: &mut Slot) {
    let class = place::class_of(slot);
    let victim = find_victim(removes_directory(call).into());
    if victim >= TOUCHED as u32 {
        let directory = Dentry(place::touched_directory(slot)).inode();
        named_by_caller(scratch, call, Some(slot), class, outcome::SUCCESS);
        place::explain(directory);
        return;
    }
    let entry = slot.entry(victim);
    let path = place::noted(scratch, entry);
    let (_, event) = scratch.record::<Unlink>();
    copy(&mut event.file, &entry.facts);
    event.file.path = path;
    event.file.base = Path::default();
    let (inode, directory) = (entry.inode, entry.parent_inode);
    finish(scratch, call, class, outcome::SUCCESS);
    place::explain(inode);
    place::explain(directory);
}

/// The number of the thread's entry that lost its name; TOUCHED = none. A global function, see
/// `kernel::dentry`.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_victim(directory: u32) -> u32 {
    let Some(slot) = Slot::current() else { return TOUCHED as u32 };
    let mut victim = TOUCHED as u32;
    for index in 0..TOUCHED as u32 {
        if index >= slot.count {
            break;
        }
        let entry = slot.entry(index);
        let fits = entry.described != 0 && u32::from(is_directory(entry.facts.mode)) == directory;
        if fits && is_touched(entry.parent_inode) != 0 {
            victim = index;
        }
    }
    victim
}

#[inline(always)]
fn removes_directory(call: &Call) -> bool {
    match call.operation {
        op::RMDIR => true,
        op::UNLINKAT => call.regs.third() & AT_REMOVEDIR != 0,
        _ => false,
    }
}

/// Nothing but the call's result says that it happened.
#[inline(always)]
fn reported(scratch: &mut Scratch, call: &Call) {
    named_by_caller(scratch, call, None, class::KEEP, outcome::REPORTED);
}

#[inline(always)]
fn named_by_caller(scratch: &mut Scratch, call: &Call, slot: Option<&mut Slot>, class: u32, sure: u32) {
    let argument = match call.operation {
        op::UNLINKAT => Argument::at(call.regs.first(), call.regs.second()),
        _ => Argument::at_cwd(call.regs.first()),
    };
    let (path, base) = place::argument(scratch, call.task, argument, slot);
    let (_, event) = scratch.record::<Unlink>();
    event.file = Default::default();
    event.file.path = path;
    event.file.base = base;
    finish(scratch, call, class, sure);
}

#[inline(always)]
fn finish(scratch: &mut Scratch, call: &Call, class: u32, sure: u32) {
    let (_, event) = scratch.record::<Unlink>();
    event.outcome = sure;
    event.padding = 0;
    emit::<Unlink>(scratch, kind::UNLINK, ring_of(class), call.task);
}
