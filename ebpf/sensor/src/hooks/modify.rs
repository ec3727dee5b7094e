//! `modify`: an inode changed outside the operations with a kind of their own.
//!
//! Called from `ctime` (see there for the tracepoints) in the thread that changes the inode, so it names the
//! writer even when the descriptor was inherited or passed; and from `sys_exit` for changes that a call made
//! although it failed. One record per program run and inode in a second; the others are counted as folded.

use graven_abi::event::modify::Modify;
use graven_abi::header::kind;
use graven_abi::path::{self, Path};
use graven_abi::{counter, limits};

use crate::emit::{emit, ring_of};
use crate::kernel::clock::now;
use crate::kernel::dentry::{Dentry, append_path};
use crate::kernel::inode::Inode;
use crate::kernel::maps::{self, ModifyKey};
use crate::kernel::read::copy;
use crate::kernel::scratch::Scratch;
use crate::kernel::slot::Touched;
use crate::kernel::task;

/// An inode as it is now.
#[inline(always)]
pub fn record(scratch: &mut Scratch, current: u64, inode: Inode, alias: Dentry, class: u32, number: i32) {
    let key = ModifyKey { who: task::exec_key(current), inode: inode.key() };
    if !due(&key) {
        maps::count(counter::FOLDED);
        return;
    }
    let (_, event) = scratch.record::<Modify>();
    inode.describe(&mut event.file);
    if finish(scratch, current, alias, class, number) {
        maps::set_modified(&key, now());
    }
}

/// An inode as it was noted.
#[inline(always)]
pub fn record_noted(scratch: &mut Scratch, current: u64, entry: &Touched, number: i32) {
    let (_, event) = scratch.record::<Modify>();
    copy(&mut event.file, &entry.facts);
    finish(scratch, current, Dentry(entry.dentry), entry.class, number);
}

#[inline(always)]
fn finish(scratch: &mut Scratch, current: u64, alias: Dentry, class: u32, number: i32) -> bool {
    let mut path = Path::default();
    scratch.begin_path();
    if alias.0 != 0 {
        append_path(scratch, alias, &mut path);
        if alias.unhashed() {
            path.flags |= path::flag::UNHASHED;
        }
    }
    let (_, event) = scratch.record::<Modify>();
    event.file.path = path;
    event.file.base = Path::default();
    event.syscall = number;
    event.padding = 0;
    emit::<Modify>(scratch, kind::MODIFY, ring_of(class), current)
}

#[inline(always)]
fn due(key: &ModifyKey) -> bool {
    match maps::last_modified(key) {
        Some(last) => now().wrapping_sub(last) >= limits::MODIFY_INTERVAL,
        None => true,
    }
}
