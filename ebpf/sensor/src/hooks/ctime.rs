//! The inode-time tracepoints: which inodes really change, in the thread that changes them.
//!
//! `ctime_ns_xchg`, `ctime_xchg_skip` (inode_set_ctime_current on file systems with multigrain times) and
//! `inode_set_ctime_to_ts` (all others, and mirrored times) since 6.13. Every change of content, attributes
//! or names sets the change time of the inode and of the directories whose entries change.
//!
//! Within a call that has a kind of its own the inode is noted for `sys_exit`; any other change is a
//! `modify` at once: a write, a page fault, a kernel thread, a call nobody knows yet.
//!
//! What it misses: procfs, sysfs, cgroupfs; changes by another host on a network file system; on file
//! systems without multigrain times changes outside the known calls, because there the last tracepoint also
//! fires when an inode is read in or revalidated and is taken as evidence only within a call.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use graven_abi::counter;
use graven_abi::filter::class;
use graven_abi::limits::TOUCHED;
use graven_abi::syscalls::op;

use super::sys_exit::{is_open, operation};
use super::{modify, open};
use crate::filter::classify;
use crate::kernel::clock::now;
use crate::kernel::dentry::Dentry;
use crate::kernel::inode::{Inode, is_directory};
use crate::kernel::maps;
use crate::kernel::regs::Regs;
use crate::kernel::scratch::{Scratch, owner};
use crate::kernel::slot::{Slot, Touched};
use crate::kernel::task::Current;

/// For this long after a directory changed in an undecoded way no verdict is believed: the change time is set
/// before the dentry moves, and a thread can be kept from going on for a while. ns.
const DISTRUST: u64 = 4_000_000_000;
/// Number of io_uring_enter (asm/unistd_64.h), which runs requests in the caller's thread.
const IO_URING_ENTER: i32 = 426;

/// trace_ctime_ns_xchg(inode, old, new, current)
#[btf_tracepoint(function = "ctime_ns_xchg")]
pub fn ctime_ns_xchg(ctx: BtfTracePointContext) -> i32 {
    changed(ctx.arg::<*const u8>(0) as u64, owner::CTIME_XCHG, true)
}

/// trace_ctime_xchg_skip(inode, now): the time stood already, the change is as real.
#[btf_tracepoint(function = "ctime_xchg_skip")]
pub fn ctime_xchg_skip(ctx: BtfTracePointContext) -> i32 {
    changed(ctx.arg::<*const u8>(0) as u64, owner::CTIME_SKIP, true)
}

/// trace_inode_set_ctime_to_ts(inode, time)
#[btf_tracepoint(function = "inode_set_ctime_to_ts")]
pub fn inode_set_ctime_to_ts(ctx: BtfTracePointContext) -> i32 {
    changed(ctx.arg::<*const u8>(0) as u64, owner::CTIME_SET, false)
}

/// `is_change`: the tracepoint alone proves a change.
#[inline(always)]
fn changed(inode: u64, owner: u32, is_change: bool) -> i32 {
    let current = Current::get();
    let (operation, number) = calling(current);
    if operation == op::NONE && !is_change {
        return 0;
    }
    let inode = Inode(inode);
    if inode.leaving() || !inode.in_tree() || (!is_change && inode.made_on_lookup()) {
        return 0;
    }
    let Some(scratch) = Scratch::begin(owner) else { return 0 };
    let inode = Inode(scratch.as_number(inode.0));
    let (class, alias) = match (inode.alias(), maps::mark(inode.0)) {
        // An inode without a name is being made (then its directory changes too, and decides) or is the file
        // system's own (quota, journal).
        (0, None) => (class::MUTABLE, Dentry(0)),
        (alias, _) => classify(scratch, inode, Dentry(alias)),
    };
    if operation != op::NONE && note(inode, alias, class, operation) {
        return 0;
    }
    if may_move(operation, number) && is_directory(inode.mode()) {
        maps::distrust(now() + DISTRUST);
    }
    match class {
        class::MUTABLE => maps::count(counter::IGNORED),
        _ => modify::record(scratch, current.address(), inode, alias, class, number),
    }
    0
}

/// A directory changes in a way that is not decoded: it may be moving, and the verdicts below it with it. The
/// native calls that can move one are the renames (which are noted) and io_uring_enter.
#[inline(always)]
fn may_move(operation: u8, number: i32) -> bool {
    operation != op::NONE || number < 0 || number == IO_URING_ENTER
}

/// The operation of the running native call and its number; none outside of one.
#[inline(always)]
fn calling(current: Current) -> (u8, i32) {
    if current.in_kernel() {
        return (op::NONE, -1);
    }
    if current.compat() {
        return (op::NONE, -1);
    }
    let regs = Regs::of_current(current);
    if !regs.in_call() {
        return (op::NONE, -1);
    }
    let number = regs.number();
    match operation(number) {
        // What is noted must be used up at `sys_exit`, which a read-only open leaves at once.
        opening if is_open(opening) && !open::may_change(opening, regs) => (op::NONE, number as i32),
        operation => (operation, number as i32),
    }
}

/// Notes the inode in the thread's slot; false when there is no room.
#[inline(always)]
fn note(inode: Inode, alias: Dentry, class: u32, operation: u8) -> bool {
    let Some(slot) = Slot::open() else {
        maps::count(counter::STATE_FULL);
        return false;
    };
    for index in 0..TOUCHED as u32 {
        if index >= slot.count {
            break;
        }
        if slot.entry(index).inode == inode.0 {
            return true;
        }
    }
    if slot.count >= TOUCHED as u32 {
        maps::count(counter::STATE_FULL);
        return false;
    }
    let entry = slot.entry(slot.count);
    let renames = matches!(operation, op::RENAME | op::RENAMEAT | op::RENAMEAT2);
    fill(entry, inode, alias, class);
    // A rename has two places: the mutable one is named too, if the other is kept.
    if class != class::MUTABLE || renames {
        inode.describe(&mut entry.facts);
        entry.describe_name(alias.name());
    }
    slot.count += 1;
    if class == class::MUTABLE {
        slot.ignored += 1;
    } else {
        slot.kept += 1;
    }
    if renames && is_directory(entry.facts.mode) {
        announce_move(slot);
    }
    true
}

/// What must be known of it now, because it may be gone at `sys_exit`.
#[inline(always)]
fn fill(entry: &mut Touched, inode: Inode, alias: Dentry, class: u32) {
    entry.inode = inode.0;
    entry.dentry = alias.0;
    entry.class = class;
    entry.facts.mode = inode.mode();
    entry.parent = 0;
    entry.parent_inode = 0;
    entry.described = 0;
    if alias.0 != 0 {
        let parent = alias.parent();
        entry.parent = parent.0;
        entry.parent_inode = parent.inode();
        entry.name_hash = alias.name_hash();
    }
}

/// A directory and its parent both change in one rename: the directory is moving. From here to `sys_exit`
/// no verdict is believed, because the trees below it change their ancestors.
#[inline(always)]
fn announce_move(slot: &mut Slot) {
    if slot.moving != 0 {
        return;
    }
    let newest = slot.count.wrapping_sub(1);
    let (inode, parent) = {
        let entry = slot.entry(newest);
        (entry.inode, entry.parent_inode)
    };
    for index in 0..TOUCHED as u32 {
        if index >= newest {
            break;
        }
        let other = slot.entry(index);
        if other.inode == parent || (other.parent_inode == inode && is_directory(other.facts.mode)) {
            slot.moving = 1;
            maps::moving();
            return;
        }
    }
}
