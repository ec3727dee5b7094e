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
use graven_abi::path::{Inode as Facts, Path};
use graven_abi::syscalls::op;

use super::sys_exit::{Call, Evidence, the_rest};
use crate::emit::{emit, ring_of};
use crate::kernel::dentry::{Dentry, append_path};
use crate::kernel::inode::Inode;
use crate::kernel::read::copy;
use crate::kernel::scratch::{Scratch, owner};
use crate::kernel::slot::{Slot, Touched};
use crate::place::{self, Argument};

/// The call has ended well; the thread's slot holds `count` entries.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn renamed(count: u32) -> u32 {
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

/// The inode whose dentry has another name or parent than when it was noted.
#[inline(always)]
fn record(scratch: &mut Scratch, call: &Call, slot: &mut Slot) {
    let class = place::class_of(slot);
    let mut moved = TOUCHED as u32;
    let mut replaced = TOUCHED as u32;
    for index in 0..TOUCHED as u32 {
        if index >= slot.count {
            break;
        }
        let entry = slot.entry(index);
        if entry.dentry == 0 {
            continue;
        }
        if has_moved(entry) && moved >= TOUCHED as u32 {
            moved = index;
        } else if has_moved(entry)
            || Inode(entry.inode).alias() != entry.dentry
            || Inode(entry.inode).links() == 0
        {
            replaced = index;
        }
    }
    if moved >= TOUCHED as u32 {
        return named_by_caller(scratch, call, class, outcome::SUCCESS);
    }
    write(scratch, slot, moved, replaced);
    finish(scratch, call, class, outcome::SUCCESS);
    explain(slot, moved);
    if replaced < TOUCHED as u32 {
        explain(slot, replaced);
    }
}

/// The inode, the directory it was in and the one it is in.
#[inline(always)]
fn explain(slot: &mut Slot, index: u32) {
    let entry = slot.entry(index);
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
    let entry = slot.entry(moved);
    let mut to = Facts::default();
    Inode(entry.inode).describe(&mut to);
    let mut from = to;
    from.path = place::noted(scratch, entry);
    scratch.begin_path();
    append_path(scratch, Dentry(entry.dentry), &mut to.path);
    let (_, event) = scratch.record::<Rename>();
    event.from = from;
    event.to = to;
    event.replaced = Facts::default();
    if replaced < TOUCHED as u32 {
        let entry = slot.entry(replaced);
        if entry.described != 0 {
            let path = place::noted(scratch, entry);
            let (_, event) = scratch.record::<Rename>();
            copy(&mut event.replaced, &entry.facts);
            event.replaced.path = path;
            event.replaced.base = Path::default();
        }
    }
}

/// Nothing but the call's result says that it happened.
#[inline(always)]
fn reported(scratch: &mut Scratch, call: &Call) {
    named_by_caller(scratch, call, class::KEEP, outcome::REPORTED);
}

#[inline(always)]
fn named_by_caller(scratch: &mut Scratch, call: &Call, class: u32, sure: u32) {
    let (from, to) = match call.operation {
        op::RENAME => (Argument::at_cwd(call.regs.first()), Argument::at_cwd(call.regs.second())),
        _ => (
            Argument::at(call.regs.first(), call.regs.second()),
            Argument::at(call.regs.third(), call.regs.fourth()),
        ),
    };
    let (from_path, from_base) = place::argument(scratch, call.task, from, None);
    let (to_path, to_base) = place::argument(scratch, call.task, to, None);
    let (_, event) = scratch.record::<Rename>();
    event.from = Facts { path: from_path, base: from_base, ..Facts::default() };
    event.to = Facts { path: to_path, base: to_base, ..Facts::default() };
    event.replaced = Facts::default();
    finish(scratch, call, class, sure);
}

#[inline(always)]
fn finish(scratch: &mut Scratch, call: &Call, class: u32, sure: u32) {
    let (_, event) = scratch.record::<Rename>();
    event.outcome = sure;
    event.flags = if call.operation == op::RENAMEAT2 { call.regs.fifth() as u32 } else { 0 };
    emit::<Rename>(scratch, kind::RENAME, ring_of(class), call.task);
}
