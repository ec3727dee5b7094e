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
use graven_abi::limits::{OTHER_NAMES, TOUCHED};
use graven_abi::syscalls::{entry, op};

use super::sys_exit::{is_open, look_up, settle};
use super::{modify, open, uring};
use crate::filter::{classify, of_content, of_mark};
use crate::kernel::dentry::Dentry;
use crate::kernel::inode::{self, Inode, is_directory, older_alias};
use crate::kernel::maps;
use crate::kernel::offset::offset;
use crate::kernel::read::{Typed, copy};
use crate::kernel::regs::{Regs, X32_BIT};
use crate::kernel::scratch::{Scratch, owner};
use crate::kernel::slot::{HAS_OTHERS, Slot, Touched};
use crate::kernel::task::Current;
use crate::place::is_touched;

/// For this long after a directory changed in an undecoded way no verdict is believed: the change time is set
/// before the dentry moves, and a thread can be kept from going on for a while. ns.
const DISTRUST: u64 = 4_000_000_000;
/// Number of io_uring_enter in every table, which runs requests in the caller's thread.
const IO_URING_ENTER: i32 = 426;

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
    let slot = if operation == op::NOTHING { None } else { Slot::current() };
    if slot.is_some() && is_touched(inode.0) != 0 {
        return 0;
    }
    let directory = is_directory(mode.into());
    // As a number at once: the verifier follows no pointer that may be none through a condition of two.
    let own = match maps::mark(inode.0) {
        Some(mark) => of_mark(mark, typed.load(offset!(inode_ino)), typed.load(offset!(inode_generation))),
        None => UNKNOWN,
    };
    let place = Place::of(scratch, typed, inode, own, directory, slot.is_some());
    let (class, alias) = (place.class, place.alias);
    if operation != op::NOTHING {
        let Some(slot) = slot.or_else(Slot::open) else {
            maps::count(counter::STATE_FULL);
            return modify::record(owner, inode.0, alias, class, command) as i32;
        };
        if note(scratch, slot, typed, inode, &place, operation, own != UNKNOWN) {
            // A directory that unlink changes is where the file was.
            let takes_away =
                matches!(operation, op::RMDIR..=op::RENAMEAT2) || (operation == op::UNLINK && !directory);
            if takes_away && class != class::MUTABLE && own != UNKNOWN {
                may_go(slot);
            }
            if place.within == 0 && !directory && matches!(operation, op::UNLINK..=op::RENAMEAT2) {
                note_others(owner, inode.0);
            }
            return 0;
        }
    }
    if may_move(operation, entry) && directory {
        maps::distrust_for(DISTRUST);
    }
    match class {
        class::MUTABLE => maps::count(counter::IGNORED),
        _ => {
            modify::record(owner, inode.0, alias, class, command);
        }
    }
    0
}

/// Where an inode lies.
struct Place {
    class: u32,
    /// The dentry that names it; 0 = none.
    alias: u64,
    /// See [`Touched::within`].
    within: u64,
}

impl Place {
    /// `own`: the class of its mark, or UNKNOWN. `noted`: the call has changed other inodes before.
    #[inline(always)]
    fn of(scratch: &mut Scratch, typed: Typed, inode: Inode, own: u32, directory: bool, noted: bool) -> Self {
        let node = typed.follow(offset!(inode_dentry));
        let first = scratch.as_number(node.address());
        if first == 0 && own == UNKNOWN {
            // It is being made (then its directory changes too, and decides) or is the file system's own (quota,
            // journal).
            return Self { class: class::MUTABLE, alias: 0, within: 0 };
        }
        // `hlist_node.next` is the node's first field.
        let one = directory || (typed.load::<u32>(offset!(inode_nlink)) == 1 && node.follow(0).is_null());
        if one && first != 0 {
            let alias = first - offset!(dentry_alias);
            if let Some(place) = Self::of_only_name(scratch, typed, inode, own, directory, noted, alias) {
                return place;
            }
        }
        let class = classify(scratch.owner(), inode.0, inode.alias());
        Self { class, alias: scratch.looking(), within: 0 }
    }

    /// The usual case, mostly by typed loads: one name, which can be found.
    #[inline(always)]
    fn of_only_name(
        scratch: &mut Scratch,
        typed: Typed,
        inode: Inode,
        own: u32,
        directory: bool,
        noted: bool,
        alias: u64,
    ) -> Option<Self> {
        let head = scratch.block(alias);
        let hashed: u64 = head.field(offset!(dentry_hash) + offset!(bl_node_pprev));
        let parent: u64 = head.field(offset!(dentry_parent));
        if hashed == 0 && parent != alias {
            return None;
        }
        if own != UNKNOWN {
            return Some(Self { class: own, alias, within: if directory { inode.0 } else { 0 } });
        }
        if !directory && parent == alias {
            return None;
        }
        let within = if directory { inode.0 } else { Dentry(parent).inode() };
        let beside = if noted { class_within(within) } else { UNKNOWN };
        let owner = scratch.owner();
        let class = match beside {
            UNKNOWN if directory => {
                let (number, generation) =
                    (typed.load(offset!(inode_ino)), typed.load(offset!(inode_generation)));
                of_content(owner, alias, within, number, generation)
            }
            UNKNOWN => of_content(owner, parent, within, Inode(within).number(), Inode(within).generation()),
            known => known,
        };
        Some(Self { class, alias, within })
    }
}

/// Instead of a class: the call has changed nothing in this directory yet.
const UNKNOWN: u32 = u32::MAX;

/// The class of what lies in a directory, from what the current call has changed before. A global function, see
/// `kernel::dentry`.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn class_within(directory: u64) -> u32 {
    let Some(slot) = Slot::current() else { return UNKNOWN };
    for index in 0..TOUCHED as u32 {
        if index >= slot.count {
            break;
        }
        let entry = slot.entry(index);
        if entry.within == directory {
            return entry.class;
        }
    }
    UNKNOWN
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

/// Notes the inode in the thread's slot, where it is not yet; false when there is no room.
#[inline(always)]
fn note(
    scratch: &mut Scratch,
    slot: &mut Slot,
    typed: Typed,
    inode: Inode,
    place: &Place,
    operation: u8,
    marked: bool,
) -> bool {
    if slot.count >= TOUCHED as u32 {
        maps::count(counter::STATE_FULL);
        return false;
    }
    let entry = slot.entry(slot.count);
    let mode = typed.load::<u16>(offset!(inode_mode)).into();
    let directory = is_directory(mode);
    let renames = matches!(operation, op::RENAME..=op::RENAMEAT2);
    // A rename has two places: the mutable one is named too, if the other is kept.
    let described = place.class != class::MUTABLE || renames;
    // Only of what may lose its name it is asked how it was called: unlink takes none from a directory.
    let named = described
        && matches!(operation, op::UNLINK..=op::RENAMEAT2)
        && !(operation == op::UNLINK && directory);
    fill(scratch, entry, inode, place, named);
    entry.class = place.class;
    entry.marked = marked.into();
    if described {
        entry.root = scratch.as_number(typed.follow(offset!(inode_sb)).load(offset!(super_root)));
        inode::describe(typed, &mut entry.facts);
    } else {
        entry.facts.mode = mode;
    }
    slot.count += 1;
    if place.class != class::MUTABLE {
        slot.kept += 1;
        slot.protected += u32::from(place.class == class::PROTECT);
    }
    if renames && directory {
        announce_move(slot);
    }
    true
}

/// A file with several names loses one, or has one moved: which it is shows only at `sys_exit`, so the newest entry's
/// other names are noted too. A global function, see `kernel::dentry`.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn note_others(owner: u32, inode: u64) -> u32 {
    let (Some(scratch), Some(slot)) = (Scratch::of(owner), Slot::current()) else { return 0 };
    let first = slot.count.wrapping_sub(1);
    if slot.entry(first).described == 0 {
        return 0;
    }
    let mut alias = Inode(inode).first_alias();
    // One of them is the entry's own.
    for _ in 0..=OTHER_NAMES {
        if alias == 0 || slot.count >= TOUCHED as u32 {
            break;
        }
        let noted = slot.entry(first);
        // One that is gone already, but open, is not the one that goes now.
        if alias != noted.dentry && !Dentry(alias).unhashed() {
            noted.described = HAS_OTHERS;
            let entry = slot.entry(slot.count);
            fill(scratch, entry, Inode(inode), &Place { class: noted.class, alias, within: 0 }, true);
            entry.described = HAS_OTHERS;
            entry.class = noted.class;
            entry.marked = noted.marked;
            entry.root = noted.root;
            copy(&mut entry.facts, &noted.facts);
            slot.count += 1;
        }
        alias = older_alias(alias);
    }
    0
}

/// Where it lies now, because that may be gone at `sys_exit`.
#[inline(always)]
fn fill(scratch: &mut Scratch, entry: &mut Touched, inode: Inode, place: &Place, named: bool) {
    entry.inode = inode.0;
    entry.dentry = place.alias;
    entry.within = place.within;
    entry.parent = 0;
    entry.parent_inode = 0;
    entry.described = 0;
    if place.alias != 0 && named {
        let head = scratch.block(place.alias);
        let parent: u64 = head.field(offset!(dentry_parent));
        entry.parent = parent;
        entry.name_hash = head.field(offset!(dentry_name) + offset!(qstr_hash_len));
        entry.describe_name(head.field(offset!(dentry_name) + offset!(qstr_name)));
        // Of a file with one name it is known already.
        let known = place.within != 0 && place.within != inode.0;
        entry.parent_inode = if known { place.within } else { Dentry(parent).inode() };
    }
}

/// A policy root changes in a call that takes a name away: its own, or one in it. From here to `sys_exit`, which knows,
/// no verdict is believed.
#[inline(always)]
fn may_go(slot: &mut Slot) {
    if slot.moving == 0 {
        slot.moving = 1;
        maps::moving();
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
            may_go(slot);
            return;
        }
    }
}
