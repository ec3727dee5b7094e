//! The functions that writes go through before they are done, by whatever way and in whatever thread: a call, a mapping's
//! first store to a page, asynchronous I/O, io_uring, a thread of the kernel's. And opens that make a file: within a call
//! that opens it is noted, elsewhere its directory is told.
//!
//! `file_update_time`, `file_modified`, `kiocb_modified` (since 6.0), `vfs_fallocate`, `do_dentry_open`.

use aya_ebpf::macros::{fentry, fexit};
use aya_ebpf::programs::{FEntryContext, FExitContext};
use graven_abi::counter;
use graven_abi::filter::class;
use graven_abi::syscalls::op;

use super::note::{begin, is_outer, note_made};
use crate::filter::classify;
use crate::hooks::calling::{Calling, calling};
use crate::hooks::modify;
use crate::hooks::sys_exit::is_open;
use crate::kernel::file::FMODE_CREATED;
use crate::kernel::inode::{Inode, is_in_tree};
use crate::kernel::maps;
use crate::kernel::offset::offset;
use crate::kernel::read::Typed;
use crate::kernel::scratch::Scratch;
use crate::kernel::task::Current;

/// file_update_time(file)
#[fexit(function = "file_update_time")]
pub fn file_update_time(ctx: FExitContext) -> i32 {
    writes(ctx.arg(0), ctx.arg(1))
}

/// file_modified(file)
#[fexit(function = "file_modified")]
pub fn file_modified(ctx: FExitContext) -> i32 {
    writes(ctx.arg(0), ctx.arg(1))
}

/// kiocb_modified(iocb)
#[fexit(function = "kiocb_modified")]
pub fn kiocb_modified(ctx: FExitContext) -> i32 {
    let request = Typed(ctx.arg(0));
    writes(request.follow(offset!(kiocb_filp)).0, ctx.arg(1))
}

/// vfs_fallocate(file, mode, offset, len)
#[fexit(function = "vfs_fallocate")]
pub fn vfs_fallocate(ctx: FExitContext) -> i32 {
    writes(ctx.arg(0), ctx.arg(4))
}

/// do_dentry_open(file, …): at its beginning, because a file that was made stays made, whatever comes of this.
#[fentry(function = "do_dentry_open")]
pub fn do_dentry_open(ctx: FEntryContext) -> i32 {
    let file = Typed(ctx.arg(0));
    if file.load::<u32>(offset!(file_mode)) & FMODE_CREATED == 0 {
        return 0;
    }
    let calling = calling(Current::get());
    let dentry = file.follow(offset!(file_path) + offset!(path_dentry));
    if !is_open(calling.operation) {
        if is_told_here(calling.operation) {
            tell(dentry.follow(offset!(dentry_parent)).follow(offset!(dentry_inode)), calling);
        }
        return 0;
    }
    if let Some(slot) = begin() {
        note_made(slot, dentry);
    }
    0
}

/// The file is about to be written to, unless this failed.
#[inline(always)]
fn writes(file: *const u8, result: i32) -> i32 {
    let calling = calling(Current::get());
    if result == 0 && is_told_here(calling.operation) {
        tell(Typed(file).follow(offset!(file_inode)), calling);
    }
    0
}

/// What an overlay writes to its layers in a call that has a kind of its own is that call's.
#[inline(always)]
fn is_told_here(operation: u8) -> bool {
    operation == op::NOTHING || is_outer()
}

/// An inode's content changes.
#[inline(always)]
fn tell(inode: Typed, calling: Calling) {
    if inode.is_null() {
        return;
    }
    if !is_in_tree(inode.follow(offset!(inode_sb)).load(offset!(super_flags))) {
        return;
    }
    let Some(scratch) = Scratch::take() else {
        maps::count(counter::STATE_FULL);
        return;
    };
    scratch.caused_by(calling.entry, calling.number);
    let inode = scratch.as_number(inode.address());
    record_content(scratch.owner(), inode, calling.command);
    scratch.give_back();
}

/// A global function, see `kernel::dentry`.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn record_content(owner: u32, inode: u64, command: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner) else { return 0 };
    let class = classify(owner, inode, Inode(inode).alias());
    let alias = scratch.looking();
    if class == class::MUTABLE {
        maps::count(counter::IGNORED);
        return 0;
    }
    modify::witnessed(owner, inode, class);
    if modify::was_opened(inode, class) {
        maps::count(counter::FOLDED);
        return 0;
    }
    modify::record(owner, inode, alias, class, command)
}
