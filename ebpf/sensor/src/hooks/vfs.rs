//! The functions of the VFS that change names and attributes: where the kernel has no inode-time tracepoints (before 6.13)
//! they say which inodes a call really changes.
//!
//! `vfs_unlink`, `vfs_rmdir` and `vfs_rename` are entered while the names still stand (fentry); what is noted then is taken
//! back where they fail (fexit). Of the others the end is enough: `vfs_mkdir`, `vfs_create`, `vfs_mknod`, `vfs_symlink`,
//! `vfs_link`, `notify_change`, `__vfs_setxattr_noperm`, `__vfs_removexattr_locked`, `vfs_set_acl`, `vfs_remove_acl`,
//! `vfs_fileattr_set`. Whatever the way in, these do it, under the locks of the directories. All are noted in the thread's slot; what of them is kept is decided at `sys_exit`, because the kernel
//! skips a run of such a program (and counts it) while another run of it on the same CPU is preempted: the shorter, the
//! rarer.
//!
//! All of them or none: where one is missing, what it does through an overlay would be taken for what it does to a layer.
//! Overlay's own functions are entered before its layers' and end after them; what it does to these it does with the rights
//! of who mounted it. Notes of layers alone are no evidence: the kernel may have skipped the overlay's.
//!
//! Since 5.15 (bpf_task_pt_regs); the first argument came with 5.12, `vfs_fileattr_set` with 5.13.
//!
//! What they miss: opens, of which the file object tells; writes; what no system call does (io_uring, nfsd, the kernel).

use aya_ebpf::macros::{fentry, fexit};
use aya_ebpf::programs::{FEntryContext, FExitContext};
use graven_abi::counter;
use graven_abi::filter::class;
use graven_abi::limits::TOUCHED;
use graven_abi::syscalls::op;

use super::calling::calling;
use super::note::may_go;
use super::sys_exit::{is_open, the_rest};
use crate::filter::{classify, of_content, of_mark};
use crate::kernel::dentry::REVALIDATES;
use crate::kernel::inode::{self, Inode, is_directory, is_in_tree, is_overlay};
use crate::kernel::maps;
use crate::kernel::offset::offset;
use crate::kernel::read::{Typed, clear};
use crate::kernel::scratch::{Scratch, owner};
use crate::kernel::slot::{self, Slot, Touched, UNDECIDED};
use crate::kernel::task::Current;

/// Entries that are left for an overlay's own function by those of its layers: a rename has so many.
const OUTER: usize = 4;

/// vfs_unlink(idmap, dir, dentry, delegated_inode)
#[fentry(function = "vfs_unlink")]
pub fn vfs_unlink(ctx: FEntryContext) -> i32 {
    goes(ctx.arg(2))
}

#[fexit(function = "vfs_unlink")]
pub fn vfs_unlink_end(ctx: FExitContext) -> i32 {
    ends(ctx.arg(2), ctx.arg(4))
}

/// vfs_rmdir(idmap, dir, dentry)
#[fentry(function = "vfs_rmdir")]
pub fn vfs_rmdir(ctx: FEntryContext) -> i32 {
    goes(ctx.arg(2))
}

#[fexit(function = "vfs_rmdir")]
pub fn vfs_rmdir_end(ctx: FExitContext) -> i32 {
    ends(ctx.arg(2), ctx.arg(3))
}

/// vfs_rename(renamedata)
#[fentry(function = "vfs_rename")]
pub fn vfs_rename(ctx: FEntryContext) -> i32 {
    let Some(slot) = begin() else { return 0 };
    let data = Typed(ctx.arg(0));
    let (from, to) =
        (data.follow(offset!(renamedata_old_dentry)), data.follow(offset!(renamedata_new_dentry)));
    let (moved, replaced) = (from.follow(offset!(dentry_inode)), to.follow(offset!(dentry_inode)));
    // Two names of one file: nothing is done.
    if moved.address() == replaced.address() {
        return 0;
    }
    note_directory(slot, from, from);
    note_directory(slot, to, from);
    note(slot, moved, from, from, true);
    note(slot, replaced, to, from, true);
    // A server may take its time, or never answer: there the verdicts end when the call does. Overlay may ask one too before it
    // moves what its upper layer has, by this function.
    let asks = from.load::<u32>(offset!(dentry_flags)) & REVALIDATES != 0
        || is_overlay(from.follow(offset!(dentry_sb)).load(offset!(super_magic)));
    let trees = is_directory(mode(moved)) || (!replaced.is_null() && is_directory(mode(replaced)));
    if !asks && trees {
        may_go(slot);
    }
    0
}

#[fexit(function = "vfs_rename")]
pub fn vfs_rename_end(ctx: FExitContext) -> i32 {
    let data = Typed(ctx.arg(0));
    ends(data.follow(offset!(renamedata_old_dentry)).0, ctx.arg(1))
}

/// vfs_mkdir(idmap, dir, dentry, mode)
#[fexit(function = "vfs_mkdir")]
pub fn vfs_mkdir(ctx: FExitContext) -> i32 {
    made(ctx.arg(2), ctx.arg(4))
}

/// vfs_create(idmap, dir, dentry, mode, want_excl): mknod of a regular file.
#[fexit(function = "vfs_create")]
pub fn vfs_create(ctx: FExitContext) -> i32 {
    made(ctx.arg(2), ctx.arg(5))
}

/// vfs_mknod(idmap, dir, dentry, mode, dev)
#[fexit(function = "vfs_mknod")]
pub fn vfs_mknod(ctx: FExitContext) -> i32 {
    made(ctx.arg(2), ctx.arg(5))
}

/// vfs_symlink(idmap, dir, dentry, oldname)
#[fexit(function = "vfs_symlink")]
pub fn vfs_symlink(ctx: FExitContext) -> i32 {
    made(ctx.arg(2), ctx.arg(4))
}

/// vfs_link(old_dentry, idmap, dir, new_dentry, delegated_inode)
#[fexit(function = "vfs_link")]
pub fn vfs_link(ctx: FExitContext) -> i32 {
    if ctx.arg::<i32>(5) != 0 {
        return 0;
    }
    let Some(slot) = begin() else { return 0 };
    let (before, new) = (Typed(ctx.arg(0)), Typed(ctx.arg(3)));
    note_directory(slot, new, new);
    note(slot, new.follow(offset!(dentry_inode)), before, new, false);
    0
}

/// notify_change(idmap, dentry, attr, delegated_inode)
#[fexit(function = "notify_change")]
pub fn notify_change(ctx: FExitContext) -> i32 {
    set(ctx.arg(1), ctx.arg(4))
}

/// __vfs_setxattr_noperm(idmap, dentry, name, value, size, flags)
#[fexit(function = "__vfs_setxattr_noperm")]
pub fn vfs_setxattr(ctx: FExitContext) -> i32 {
    set(ctx.arg(1), ctx.arg(6))
}

/// __vfs_removexattr_locked(idmap, dentry, name, delegated_inode)
#[fexit(function = "__vfs_removexattr_locked")]
pub fn vfs_removexattr(ctx: FExitContext) -> i32 {
    set(ctx.arg(1), ctx.arg(4))
}

/// vfs_set_acl(idmap, dentry, acl_name, kacl), since 6.2: before, an ACL is set as an extended attribute.
#[fexit(function = "vfs_set_acl")]
pub fn vfs_set_acl(ctx: FExitContext) -> i32 {
    set(ctx.arg(1), ctx.arg(4))
}

/// vfs_remove_acl(idmap, dentry, acl_name), likewise.
#[fexit(function = "vfs_remove_acl")]
pub fn vfs_remove_acl(ctx: FExitContext) -> i32 {
    set(ctx.arg(1), ctx.arg(3))
}

/// vfs_fileattr_set(idmap, dentry, fa), since 5.13.
#[fexit(function = "vfs_fileattr_set")]
pub fn vfs_fileattr_set(ctx: FExitContext) -> i32 {
    set(ctx.arg(1), ctx.arg(3))
}

/// A name is about to be removed.
#[inline(always)]
fn goes(dentry: *const u8) -> i32 {
    let Some(slot) = begin() else { return 0 };
    let dentry = Typed(dentry);
    note_directory(slot, dentry, dentry);
    note(slot, dentry.follow(offset!(dentry_inode)), dentry, dentry, true);
    0
}

/// It was not: what was noted for it has not changed.
#[inline(always)]
fn ends(dentry: *const u8, result: i32) -> i32 {
    if result == 0 {
        return 0;
    }
    let Some(slot) = Slot::of(Slot::find()) else { return 0 };
    for _ in 0..TOUCHED {
        let last = slot.count.wrapping_sub(1);
        if slot.count == 0 || slot.entry(last).by != dentry as u64 {
            break;
        }
        slot.count = last;
    }
    0
}

/// A name was made for a new inode.
#[inline(always)]
fn made(dentry: *const u8, result: i32) -> i32 {
    if result != 0 {
        return 0;
    }
    let Some(slot) = begin() else { return 0 };
    let dentry = Typed(dentry);
    note_directory(slot, dentry, dentry);
    note(slot, dentry.follow(offset!(dentry_inode)), Typed(core::ptr::null()), dentry, false);
    0
}

/// What is known of a file beside its content was set.
#[inline(always)]
fn set(dentry: *const u8, result: i32) -> i32 {
    if result != 0 {
        return 0;
    }
    let Some(slot) = begin() else { return 0 };
    let dentry = Typed(dentry);
    note(slot, dentry.follow(offset!(dentry_inode)), dentry, dentry, false);
    0
}

/// The current thread's slot, if it is in a call that `sys_exit` uses it up for.
#[inline(always)]
fn begin() -> Option<&'static mut Slot> {
    let operation = calling(Current::get()).operation;
    if operation == op::NOTHING || is_open(operation) {
        return None;
    }
    if let Some(slot) = Slot::of(Slot::find()) {
        return Some(slot);
    }
    let number = Slot::open();
    if number == slot::NONE {
        maps::count(counter::STATE_FULL);
    }
    let slot = Slot::of(number)?;
    slot.begin();
    Some(slot)
}

/// The directory that a dentry lies in.
#[inline(always)]
fn note_directory(slot: &mut Slot, dentry: Typed, by: Typed) {
    let directory = dentry.follow(offset!(dentry_parent));
    note(slot, directory.follow(offset!(dentry_inode)), directory, by, false);
}

/// Notes an inode with the dentry that names it, unless it is there already. `by`: the dentry that the function is about.
/// `named`: it loses that name.
#[inline(always)]
fn note(slot: &mut Slot, inode: Typed, dentry: Typed, by: Typed, named: bool) {
    if inode.is_null() {
        return;
    }
    let sb = inode.follow(offset!(inode_sb));
    // Of a memfd, a pipe or a socket there is nothing to say.
    if !is_in_tree(sb.load(offset!(super_flags))) {
        return;
    }
    let task = Current::get().typed();
    let outer = task.follow(offset!(task_cred)).address() == task.follow(offset!(task_real_cred)).address();
    let room = if outer { TOUCHED } else { TOUCHED - OUTER };
    if slot.count >= room as u32 {
        maps::count(counter::STATE_FULL);
        slot.full = 1;
        slot.refused = inode.address();
        if named && maps::mark(slot.refused()).is_some() {
            maps::distrust_until_marked();
        }
        return;
    }
    slot.outer |= u32::from(outer);
    let new = slot.entry(slot.count);
    new.inode = inode.address();
    new.dentry = dentry.address();
    let index = noted(slot);
    let entry = slot.entry(index);
    if index == slot.count {
        entry.by = by.address();
        entry.class = UNDECIDED;
        clear(&mut entry.within);
        clear(&mut entry.parent);
        clear(&mut entry.parent_inode);
        clear(&mut entry.described);
        clear(&mut entry.marked);
        entry.root = sb.follow(offset!(super_root)).address();
        inode::describe(inode, &mut entry.facts);
        slot.count += 1;
    }
    if named && entry.parent == 0 {
        name(entry, dentry);
        if maps::mark(entry.inode_number()).is_some() {
            may_go(slot);
        }
    }
}

/// The number of the entry that is of the same inode and name as the one behind the last, or of that one.
#[inline(always)]
fn noted(slot: &mut Slot) -> u32 {
    let new = slot.entry(slot.count);
    for index in 0..TOUCHED as u32 {
        if index >= slot.count {
            break;
        }
        let entry = slot.entry(index);
        if entry.inode == new.inode && entry.dentry == new.dentry {
            return index;
        }
    }
    slot.count
}

/// What it is called, and where.
#[inline(always)]
fn name(entry: &mut Touched, dentry: Typed) {
    let parent = dentry.follow(offset!(dentry_parent));
    entry.parent = parent.address();
    entry.parent_inode = parent.follow(offset!(dentry_inode)).address();
    // In two halves: 6.1 lets no field be loaded together with the next.
    let hash_len = offset!(dentry_name) + offset!(qstr_hash_len);
    let (hash, length): (u32, u32) = (dentry.load(hash_len), dentry.load(hash_len + 4));
    entry.name_hash = u64::from(hash) | u64::from(length) << 32;
    entry.read_name(dentry.load(offset!(dentry_name) + offset!(qstr_name)));
}

#[inline(always)]
fn mode(inode: Typed) -> u32 {
    inode.load::<u16>(offset!(inode_mode)).into()
}

/// What of the thread's entries is kept: the call has ended. Their number; 0 = they say nothing of it: they are of layers
/// alone, or mutable though the call failed or had no room for all. A global function, see `kernel::dentry`.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn decide(count: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner::SYS_EXIT) else { return 0 };
    let Some(slot) = scratch.slot() else { return 0 };
    // Of overlay and its layers, see above.
    let outer_last = !matches!(scratch.operation(), op::UNLINK..=op::RENAMEAT2);
    for index in 0..TOUCHED as u32 {
        if index >= slot.count {
            break;
        }
        let entry = slot.entry(index);
        if entry.class != UNDECIDED {
            continue;
        }
        entry.class = class_of(entry);
        slot.roots += entry.marked;
        slot.files += u32::from(!is_directory(entry.facts.mode) && entry.dentry != 0);
        if entry.class != class::MUTABLE {
            let protects = entry.class == class::PROTECT;
            let is_first = if protects { slot.protected == 0 } else { slot.kept == 0 };
            if is_first || (outer_last && (protects || slot.protected == 0)) {
                slot.root = entry.root;
            }
            slot.kept += 1;
            slot.protected += u32::from(protects);
        }
    }
    let is_known = slot.outer != 0 && (slot.full == 0 || slot.kept != 0);
    if is_known && !(scratch.failed() && slot.kept == 0) {
        return count;
    }
    if slot.roots != 0 && !scratch.failed() {
        maps::distrust_until_marked();
    }
    // What of a layer is kept is told beside what the caller says of the call.
    the_rest(owner::SYS_EXIT);
    scratch.restart();
    0
}

/// By its own mark, else by where it lay when it was noted.
#[inline(always)]
fn class_of(entry: &mut Touched) -> u32 {
    let inode = entry.inode;
    if let Some(mark) = maps::mark(inode) {
        entry.marked = 1;
        return of_mark(mark, entry.facts.inode, entry.facts.generation);
    }
    if entry.dentry == 0 {
        // It was made: its directory decides.
        return class::MUTABLE;
    }
    if is_directory(entry.facts.mode) && entry.parent == 0 {
        return of_content(owner::SYS_EXIT, entry.dentry, inode, entry.facts.inode, entry.facts.generation);
    }
    let parent = Inode(entry.parent_inode);
    let class = match entry.parent {
        0 => class::KEEP,
        _ => of_content(owner::SYS_EXIT, entry.parent, parent.0, parent.number(), parent.generation()),
    };
    if class == class::PROTECT
        || (entry.parent != 0 && entry.facts.links <= 1)
        || is_directory(entry.facts.mode)
    {
        return class;
    }
    match classify(owner::SYS_EXIT, inode, entry.dentry) {
        // The name that it lost is not among its names any more.
        class::MUTABLE if entry.facts.links > 1 => class::KEEP,
        class => class,
    }
}
