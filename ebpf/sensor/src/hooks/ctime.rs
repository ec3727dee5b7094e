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
use graven_abi::syscalls::{entry, op};

use super::calling::{Calling, calling};
use super::locate::{Changing, Place, UNKNOWN};
use super::modify;
use super::note::{may_go, note, note_others};
use crate::filter::of_mark;
use crate::kernel::inode::{self, Inode, is_directory};
use crate::kernel::maps;
use crate::kernel::offset::offset;
use crate::kernel::read::Typed;
use crate::kernel::scratch::{Scratch, owner};
use crate::kernel::task::Current;
use crate::place::is_touched;

/// trace_ctime_ns_xchg(inode, old, new, current)
#[btf_tracepoint(function = "ctime_ns_xchg")]
pub fn ctime_ns_xchg(ctx: BtfTracePointContext) -> i32 {
    changed(ctx.arg::<*const u8>(0), owner::CTIME_XCHG, true)
}

/// trace_ctime_xchg_skip(inode, now): the time stood already, the change is as real.
#[btf_tracepoint(function = "ctime_xchg_skip")]
pub fn ctime_xchg_skip(ctx: BtfTracePointContext) -> i32 {
    changed(ctx.arg::<*const u8>(0), owner::CTIME_SKIP, true)
}

/// trace_inode_set_ctime_to_ts(inode, time)
#[btf_tracepoint(function = "inode_set_ctime_to_ts")]
pub fn inode_set_ctime_to_ts(ctx: BtfTracePointContext) -> i32 {
    changed(ctx.arg::<*const u8>(0), owner::CTIME_SET, false)
}

/// `is_change`: the tracepoint alone proves a change.
#[inline(always)]
fn changed(inode: *const u8, owner: u32, is_change: bool) -> i32 {
    let current = Current::get();
    let Calling { operation, entry, number, command } = calling(current);
    if operation == op::NOTHING && !is_change {
        return 0;
    }
    let typed = Typed(inode);
    let mode: u16 = typed.load(offset!(inode_mode));
    if is_no_change(typed, is_change) {
        return 0;
    }
    let Some(scratch) = Scratch::begin(owner) else { return 0 };
    scratch.caused_by(entry, number);
    let inode = Inode(scratch.as_number(inode as u64));
    let slot = if operation == op::NOTHING { None } else { scratch.find_slot() };
    if slot.is_some() && is_touched(owner, inode.0) != 0 {
        return 0;
    }
    let directory = is_directory(mode.into());
    // As a number at once: the verifier follows no pointer that may be none through a condition of two.
    let own = match maps::mark(inode.0) {
        Some(mark) => of_mark(mark, typed.load(offset!(inode_ino)), typed.load(offset!(inode_generation))),
        None => UNKNOWN,
    };
    let changing = Changing { typed, inode, own, directory, noted: slot.is_some() };
    let place = Place::of(scratch, &changing);
    let (class, alias) = (place.class, place.alias);
    if operation != op::NOTHING {
        let takes_name = matches!(operation, op::UNLINK..=op::RENAMEAT2);
        if let Some(slot) = slot.or_else(|| scratch.open_slot())
            && note(scratch, slot, &changing, &place, operation)
        {
            // A directory goes or moves when its own directory changes too, see `note::announce`.
            if takes_name && !directory && own != UNKNOWN {
                may_go(slot);
            }
            if place.within == 0 && !directory && takes_name {
                note_others(owner, inode.0);
            }
            return 0;
        }
        if class != class::MUTABLE {
            maps::count(counter::STATE_FULL);
        }
        if takes_name && own != UNKNOWN {
            maps::distrust_until_marked();
        }
    }
    if may_move(operation, entry) && directory {
        maps::distrust_for(maps::DISTRUST);
    }
    match class {
        class::MUTABLE => maps::count(counter::IGNORED),
        _ => {
            modify::witnessed(owner, inode.0, class);
            modify::record(owner, inode.0, alias, class, command);
        }
    }
    0
}

/// Being thrown out of memory, in no tree that people can name, or looked up: its times are set and nobody changed
/// it.
#[inline(always)]
fn is_no_change(inode: Typed, is_change: bool) -> bool {
    let sb = inode.follow(offset!(inode_sb));
    inode::is_leaving(inode.load(offset!(inode_state)))
        || !inode::is_in_tree(sb.load(offset!(super_flags)))
        || (!is_change && inode::is_made_on_lookup(sb.load(offset!(super_magic))))
}

/// A directory changes in a way that is not decoded: it may be moving, and the verdicts below it with it. Calls
/// that can move one are the renames (which are noted), and requests of io_uring.
#[inline(always)]
fn may_move(operation: u8, from: u8) -> bool {
    operation != op::NOTHING || from == entry::NONE || from == entry::IO_URING
}
