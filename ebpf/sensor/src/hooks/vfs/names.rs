//! The functions that change names and attributes: what each is about, and its result.

use aya_ebpf::macros::{fentry, fexit};
use aya_ebpf::programs::{FEntryContext, FExitContext};
use graven_abi::limits::TOUCHED;
use graven_abi::syscalls::op;

use super::decide::tell;
use super::note::{begin, close, note, note_directory, note_made};
use crate::hooks::calling::calling;
use crate::hooks::note::may_go;
use crate::kernel::dentry::REVALIDATES;
use crate::kernel::inode::{is_directory, is_overlay};
use crate::kernel::maps;
use crate::kernel::offset::offset;
use crate::kernel::read::Typed;
use crate::kernel::slot::Slot;
use crate::kernel::task::Current;

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
    if trees && !asks {
        may_go(slot);
    } else if trees && slot.alone != 0 {
        maps::distrust_for(maps::DISTRUST);
    }
    0
}

#[fexit(function = "vfs_rename")]
pub fn vfs_rename_end(ctx: FExitContext) -> i32 {
    // Where the slot knew of it the generation is odd; it may have found none, or the beginning was skipped.
    if ctx.arg::<i32>(1) == 0 && calling(Current::get()).operation == op::NOTHING {
        maps::shake();
    }
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
    done(slot, new)
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

/// It was, or not: then what was noted for it has not changed.
#[inline(always)]
fn ends(dentry: *const u8, result: i32) -> i32 {
    let number = Slot::find();
    let Some(slot) = Slot::of(number) else { return 0 };
    if result == 0 {
        return done(slot, Typed(dentry));
    }
    slot.ends = dentry as u64;
    for _ in 0..TOUCHED {
        if slot.take_ended().is_none() {
            break;
        }
    }
    if slot.alone != 0 {
        close(slot, number);
    }
    0
}

/// A function has ended, and what it was about is noted.
#[inline(always)]
fn done(slot: &mut Slot, dentry: Typed) -> i32 {
    if slot.alone != 0 {
        slot.ends = dentry.address();
        tell();
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
    note_made(slot, dentry);
    done(slot, dentry)
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
    done(slot, dentry)
}

#[inline(always)]
fn mode(inode: Typed) -> u32 {
    inode.load::<u16>(offset!(inode_mode)).into()
}
