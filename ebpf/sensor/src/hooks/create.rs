//! `create`: a name was made: mkdir, mknod, symlink, link and their `at` forms, a bound socket, a pinned BPF object.
//!
//! From `sys_exit`. The inode changed its time before it had the new name; now its newest dentry says which
//! name it got and where, whatever the argument said. A hard link also has the name it had before.
//!
//! What it misses: a file system that touches neither the new inode nor the directory (cgroupfs): then the
//! argument is the name and the outcome is `reported`. A symbolic link's text is what the caller passed.

use graven_abi::event::create::Create;
use graven_abi::event::outcome;
use graven_abi::filter::class;
use graven_abi::header::kind;
use graven_abi::limits::TOUCHED;
use graven_abi::syscalls::entry;
use graven_abi::syscalls::op::{self, deed, what};

use super::sys_exit::{Evidence, use_up};
use crate::emit::{emit, ring_of};
use crate::kernel::dentry::Dentry;
use crate::kernel::inode::{Inode, is_directory};
use crate::kernel::read::{clear, copy, user};
use crate::kernel::scratch::{Scratch, owner};
use crate::kernel::slot::{Slot, Touched};
use crate::place;

/// AF_UNIX.
const AF_UNIX: u16 = 1;
/// socketcall(2) of the 32-bit entry.
const SOCKETCALL: i32 = 102;
/// Where the path lies in `struct sockaddr_un`.
const SUN_PATH: u64 = 2;

/// The call has ended; the thread's slot holds `count` entries.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn created(count: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner::SYS_EXIT) else { return 0 };
    let evidence = Evidence::of(scratch, count);
    if matches!(evidence, Evidence::Ignored) {
        return 0;
    }
    let has_path = settle_path(scratch);
    match evidence {
        // Whatever the caller's memory says by now.
        Evidence::Slot(slot) => {
            record(scratch, slot);
            use_up(scratch, slot);
        }
        _ if has_path => {
            let sure = place::unproven(scratch);
            named_by_caller(scratch, 0, class::KEEP, sure);
        }
        _ => {}
    }
    0
}

/// Where the path lies that is not an argument itself. False when the call has none: an address that is no
/// path.
#[inline(always)]
fn settle_path(scratch: &mut Scratch) -> bool {
    let operation = scratch.operation();
    if operation == op::PIN {
        // `union bpf_attr`: the path's address comes first.
        let path = user(scratch.argument(1));
        scratch.call().arguments[1] = path;
    }
    if operation != op::BIND {
        return true;
    }
    let mut address = scratch.argument(1);
    if scratch.call().entry == entry::COMPAT.into() && scratch.call().number == SOCKETCALL {
        // The arguments of bind lie in memory: the address is the second.
        address = user::<u32>(address + 4).into();
    }
    scratch.call().arguments[1] = address + SUN_PATH;
    user::<u16>(address) == AF_UNIX && user::<u8>(address + SUN_PATH) != 0
}

/// The inode that had no name when it was touched and has one now.
#[inline(always)]
pub fn record(scratch: &mut Scratch, slot: &mut Slot) {
    let class = slot.strictest();
    let found = find_named();
    if found >= TOUCHED as u32 {
        let directory = place::touched_directory(owner::SYS_EXIT);
        named_by_caller(scratch, directory, class, outcome::SUCCESS);
        place::explain(owner::SYS_EXIT, Dentry(directory).inode(), 0);
        return;
    }
    let entry = slot.entry(found);
    let (made, before) = (entry.inode, entry.dentry);
    let alias = Inode(made).alias();
    place::describe(scratch.owner(), made, alias);
    let (_, event) = scratch.record::<Create>();
    copy(&mut event.file, scratch.facts());
    clear(&mut event.from);
    if before != 0 {
        place::describe(scratch.owner(), made, before);
        copy(&mut event.from, scratch.facts());
    }
    finish(scratch, class, outcome::SUCCESS);
    place::explain(owner::SYS_EXIT, made, Dentry(alias).parent().inode());
}

/// The number of the thread's entry that got a name; TOUCHED = none. A global function, see `kernel::dentry`.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_named() -> u32 {
    let Some(slot) = place::slot_of(owner::SYS_EXIT) else { return TOUCHED as u32 };
    let mut found = TOUCHED as u32;
    for index in 0..TOUCHED as u32 {
        if index >= slot.count {
            break;
        }
        let entry = slot.entry(index);
        if !slot.is_layers(entry) && is_named_anew(entry) {
            found = index;
        }
    }
    found
}

/// It has a dentry, and not the one that it had (none) when it was touched.
#[inline(always)]
fn is_named_anew(entry: &Touched) -> bool {
    // A directory has one name, and its parent has not got a new one.
    if entry.dentry != 0 && is_directory(entry.facts.mode) {
        return false;
    }
    let alias = Inode(entry.inode).alias();
    alias != 0 && alias != entry.dentry
}

/// `touched`: the dentry of the directory that was touched; 0 = none.
#[inline(always)]
fn named_by_caller(scratch: &mut Scratch, touched: u64, class: u32, sure: u32) {
    place::describe_first(scratch, touched);
    let (_, event) = scratch.record::<Create>();
    copy(&mut event.file, scratch.facts());
    clear(&mut event.from);
    if scratch.shape().what == what::LINK && scratch.shape().deed == deed::CREATE {
        place::describe_second(scratch);
        copy(&mut event.from, scratch.facts());
    }
    finish(scratch, class, sure);
}

#[inline(always)]
fn finish(scratch: &mut Scratch, class: u32, sure: u32) {
    let shape = scratch.shape();
    // An open that made a file and whose descriptor another thread took away.
    let what = if shape.deed == deed::CREATE { shape.what } else { what::FILE };
    let target =
        if what == what::SYMLINK { scratch.append_user_path(scratch.argument(shape.path2)) } else { 0 };
    let (_, event) = scratch.record::<Create>();
    event.outcome = sure;
    event.what = what.into();
    event.target = target;
    event.padding = 0;
    emit::<Create>(scratch, kind::CREATE, ring_of(class));
}
