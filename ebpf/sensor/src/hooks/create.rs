//! `create`: a name was made: mkdir, mknod, symlink, link and their `at` forms.
//!
//! From `sys_exit`. The inode changed its time before it had the new name; now its newest dentry says which
//! name it got and where, whatever the argument said.
//!
//! What it misses: a file system that touches neither the new inode nor the directory (cgroupfs): then the
//! argument is the name and the outcome is `reported`.

use graven_abi::event::create::Create;
use graven_abi::event::outcome;
use graven_abi::filter::class;
use graven_abi::header::kind;
use graven_abi::limits::TOUCHED;
use graven_abi::path::Path;
use graven_abi::syscalls::op;

use super::sys_exit::{Call, Evidence, the_rest};
use crate::emit::{emit, ring_of};
use crate::kernel::dentry::{Dentry, append_path};
use crate::kernel::inode::Inode;
use crate::kernel::scratch::{Scratch, owner};
use crate::kernel::slot::{Slot, Touched};
use crate::place::{self, Argument};

/// The call has ended well; the thread's slot holds `count` entries.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn created(count: u32) -> u32 {
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

/// The inode that had no name when it was touched and has one now.
#[inline(always)]
pub fn record(scratch: &mut Scratch, call: &Call, slot: &mut Slot) {
    let class = place::class_of(slot);
    let mut made = 0;
    for index in 0..TOUCHED as u32 {
        if index >= slot.count {
            break;
        }
        let entry = slot.entry(index);
        if is_named_anew(entry) {
            made = entry.inode;
        }
    }
    if made == 0 {
        let directory = Dentry(place::touched_directory(slot)).inode();
        named_by_caller(scratch, call, Some(slot), class, outcome::SUCCESS);
        place::explain(directory);
        return;
    }
    let mut path = Path::default();
    scratch.begin_path();
    append_path(scratch, Dentry(Inode(made).alias()), &mut path);
    let (_, event) = scratch.record::<Create>();
    Inode(made).describe(&mut event.file);
    event.file.path = path;
    event.file.base = Path::default();
    finish(scratch, call, class, outcome::SUCCESS);
    place::explain(made);
    place::explain(Dentry(Inode(made).alias()).parent().inode());
}

/// It has a dentry, and not the one that it had (none) when it was touched.
#[inline(always)]
fn is_named_anew(entry: &Touched) -> bool {
    let alias = Inode(entry.inode).alias();
    alias != 0 && alias != entry.dentry
}

/// Nothing but the call's result says that it happened.
#[inline(always)]
fn reported(scratch: &mut Scratch, call: &Call) {
    named_by_caller(scratch, call, None, class::KEEP, outcome::REPORTED);
}

#[inline(always)]
fn named_by_caller(scratch: &mut Scratch, call: &Call, slot: Option<&mut Slot>, class: u32, sure: u32) {
    let argument = match call.operation {
        op::MKDIR | op::MKNOD | op::OPEN | op::CREAT => Argument::at_cwd(call.regs.first()),
        op::LINK => Argument::at_cwd(call.regs.second()),
        op::SYMLINKAT => Argument::at(call.regs.second(), call.regs.third()),
        op::LINKAT => Argument::at(call.regs.third(), call.regs.fourth()),
        _ => Argument::at(call.regs.first(), call.regs.second()),
    };
    let (_, event) = scratch.record::<Create>();
    event.file = Default::default();
    let (path, base) = place::argument(scratch, call.task, argument, slot);
    let (_, event) = scratch.record::<Create>();
    event.file.path = path;
    event.file.base = base;
    finish(scratch, call, class, sure);
}

#[inline(always)]
fn finish(scratch: &mut Scratch, call: &Call, class: u32, sure: u32) {
    let (_, event) = scratch.record::<Create>();
    event.outcome = sure;
    event.padding = 0;
    emit::<Create>(scratch, kind::CREATE, ring_of(class), call.task);
}
