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
use graven_abi::syscalls::{entry, op};

use super::sys_exit::{is_open, look_up, settle};
use super::{modify, open, uring};
use crate::filter::classify;
use crate::kernel::dentry::Dentry;
use crate::kernel::inode::{Inode, is_directory};
use crate::kernel::maps;
use crate::kernel::regs::{Regs, X32_BIT};
use crate::kernel::scratch::{Scratch, owner};
use crate::kernel::slot::{Slot, Touched};
use crate::kernel::task::Current;

/// For this long after a directory changed in an undecoded way no verdict is believed: the change time is set
/// before the dentry moves, and a thread can be kept from going on for a while. ns.
const DISTRUST: u64 = 4_000_000_000;
/// Number of io_uring_enter in every table, which runs requests in the caller's thread.
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
    let Calling { operation, entry, number, command } = calling(current);
    if operation == op::NOTHING && !is_change {
        return 0;
    }
    let inode = Inode(inode);
    if inode.leaving() || !inode.in_tree() || (!is_change && inode.made_on_lookup()) {
        return 0;
    }
    let Some(scratch) = Scratch::begin(owner) else { return 0 };
    scratch.caused_by(entry, number);
    let inode = Inode(scratch.as_number(inode.0));
    let (class, alias) = match (inode.alias(), maps::mark(inode.0)) {
        // An inode without a name is being made (then its directory changes too, and decides) or is the file
        // system's own (quota, journal).
        (0, None) => (class::MUTABLE, Dentry(0)),
        (alias, _) => (classify(owner, inode.0, alias), Dentry(scratch.looking())),
    };
    if operation != op::NOTHING && note(inode, alias, class, operation) {
        return 0;
    }
    if may_move(operation, entry) && is_directory(inode.mode()) {
        maps::distrust_for(DISTRUST);
    }
    match class {
        class::MUTABLE => maps::count(counter::IGNORED),
        _ => {
            modify::record(owner, inode.0, alias.0, class, command);
        }
    }
    0
}

/// A directory changes in a way that is not decoded: it may be moving, and the verdicts below it with it. Calls
/// that can move one are the renames (which are noted), and requests of io_uring.
#[inline(always)]
fn may_move(operation: u8, from: u8) -> bool {
    operation != op::NOTHING || from == entry::NONE || from == entry::IO_URING
}

/// Why an inode changes.
struct Calling {
    /// The operation to note it for; NOTHING = it is a `modify` of its own.
    operation: u8,
    entry: u8,
    number: i32,
    /// Of an ioctl.
    command: u32,
}

impl Calling {
    #[inline(always)]
    fn outside(entry: u8, number: i32) -> Self {
        Self { operation: op::NOTHING, entry, number, command: 0 }
    }
}

/// The running call or request.
#[inline(always)]
fn calling(current: Current) -> Calling {
    if current.in_kernel() {
        return match uring::running(current) {
            -1 => Calling::outside(entry::NONE, -1),
            opcode => Calling::outside(entry::IO_URING, opcode),
        };
    }
    let regs = Regs::of_current(current);
    if !regs.in_call() {
        return Calling::outside(entry::NONE, -1);
    }
    let (compat, number) = (current.compat(), regs.number());
    let (entry, found) = look_up(compat, number);
    let number = (number & !X32_BIT) as i32;
    if number == IO_URING_ENTER {
        return Calling::outside(entry::IO_URING, maps::submitted());
    }
    let command = if found == op::IOCTL { regs.argument(compat, 1) as u32 } else { 0 };
    let settled = settle(found, regs, compat);
    // What is noted must be used up at `sys_exit`, which what cannot change anything leaves at once.
    let noted = settled <= op::LAST_NOTED && (!is_open(settled) || may_change(settled, regs, compat));
    Calling { operation: if noted { settled } else { op::NOTHING }, entry, number, command }
}

#[inline(always)]
fn may_change(operation: u8, regs: Regs, compat: bool) -> bool {
    let flags = if operation == op::OPEN { regs.argument(compat, 1) } else { regs.argument(compat, 2) };
    open::may_change(operation, flags)
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
    let renames = matches!(operation, op::RENAME..=op::RENAMEAT2);
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
    let takes_away = renames || matches!(operation, op::UNLINK..=op::UNLINKAT);
    if takes_away && maps::mark(inode.0).is_some_and(|mark| mark.class != class::MUTABLE) {
        maps::distrust_until_marked();
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
