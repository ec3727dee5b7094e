//! `attr`: mode or owner was set: the chmod and chown families.
//!
//! From `sys_exit`. The inode that changed names itself. Old values would need a program on `sys_enter`,
//! which costs more than all the rest; they are not recorded in this mode.
//!
//! What it misses: of a file with several hard links in memory the name may be that of another link.

use graven_abi::event::attr::Attr;
use graven_abi::event::outcome;
use graven_abi::filter::class;
use graven_abi::header::kind;
use graven_abi::limits::TOUCHED;
use graven_abi::path::{Path, flag};
use graven_abi::syscalls::op;

use super::sys_exit::{Call, Evidence, the_rest};
use crate::emit::{emit, ring_of};
use crate::kernel::dentry::{Dentry, append_path};
use crate::kernel::file::File;
use crate::kernel::inode::Inode;
use crate::kernel::read::copy;
use crate::kernel::scratch::{Scratch, owner};
use crate::kernel::slot::Slot;
use crate::place::{self, Argument};

const MODE: u32 = 1;
const OWNER: u32 = 2;

/// The call has ended well; the thread's slot holds `count` entries.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn set(count: u32) -> u32 {
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

/// The first kept inode: the one the call was about.
#[inline(always)]
fn record(scratch: &mut Scratch, call: &Call, slot: &mut Slot) {
    let class = place::class_of(slot);
    let mut changed = TOUCHED as u32;
    for index in 0..TOUCHED as u32 {
        if index >= slot.count {
            break;
        }
        if changed >= TOUCHED as u32 && slot.entry(index).class != class::MUTABLE {
            changed = index;
        }
    }
    let entry = slot.entry(changed);
    let mut path = Path::default();
    scratch.begin_path();
    if entry.dentry != 0 {
        append_path(scratch, Dentry(entry.dentry), &mut path);
    }
    let (_, event) = scratch.record::<Attr>();
    copy(&mut event.file, &entry.facts);
    Inode(entry.inode).describe(&mut event.file);
    event.file.path = path;
    event.file.base = Path::default();
    let inode = entry.inode;
    finish(scratch, call, class, outcome::SUCCESS);
    place::explain(inode);
}

/// Nothing but the call's result says that it happened.
#[inline(always)]
fn reported(scratch: &mut Scratch, call: &Call) {
    match call.operation {
        op::FCHMOD | op::FCHOWN => by_descriptor(scratch, call),
        op::FCHMODAT | op::FCHOWNAT => {
            by_argument(scratch, call, Argument::at(call.regs.first(), call.regs.second()))
        }
        _ => by_argument(scratch, call, Argument::at_cwd(call.regs.first())),
    }
    finish(scratch, call, class::KEEP, outcome::REPORTED);
}

#[inline(always)]
fn by_argument(scratch: &mut Scratch, call: &Call, argument: Argument) {
    let (path, base) = place::argument(scratch, call.task, argument, None);
    let (_, event) = scratch.record::<Attr>();
    event.file = Default::default();
    event.file.path = path;
    event.file.base = base;
}

#[inline(always)]
fn by_descriptor(scratch: &mut Scratch, call: &Call) {
    let (_, event) = scratch.record::<Attr>();
    event.file = Default::default();
    let Some(file) = File::of_descriptor(call.task, call.regs.first()) else { return };
    let mut path = Path { mount: file.mount_id(), flags: flag::FILE | flag::MOUNT, ..Path::default() };
    scratch.begin_path();
    append_path(scratch, Dentry(file.dentry()), &mut path);
    let (_, event) = scratch.record::<Attr>();
    Inode(file.inode()).describe(&mut event.file);
    event.file.path = path;
}

#[inline(always)]
fn finish(scratch: &mut Scratch, call: &Call, class: u32, sure: u32) {
    let regs = call.regs;
    let (what, value, group) = match call.operation {
        op::CHMOD | op::FCHMOD => (MODE, regs.second(), 0),
        op::FCHMODAT => (MODE, regs.third(), 0),
        op::CHOWN | op::FCHOWN => (OWNER, regs.second(), regs.third()),
        _ => (OWNER, regs.third(), regs.fourth()),
    };
    let (_, event) = scratch.record::<Attr>();
    event.what = what;
    event.outcome = sure;
    event.mode = if what == MODE { value as u32 & 0o7777 } else { 0 };
    event.uid = if what == OWNER { value as u32 } else { u32::MAX };
    event.gid = if what == OWNER { group as u32 } else { u32::MAX };
    event.padding = 0;
    emit::<Attr>(scratch, kind::ATTR, ring_of(class), call.task);
}
