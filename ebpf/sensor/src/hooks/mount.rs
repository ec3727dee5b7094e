//! `mount`: a mount was made, moved, changed or taken away, by the old interface or the new one; swap or process
//! accounting was switched.
//!
//! From `sys_exit`: mount, umount, umount2, pivot_root, move_mount, mount_setattr, open_tree_attr,
//! fsconfig(FSCONFIG_CMD_RECONFIGURE), swapon, swapoff, acct. No tracepoint shows the kernel's own mount, so the
//! target is the caller's argument; the agent compares with the mount table. What fsopen, fsmount and open_tree
//! make is seen by nobody until move_mount attaches it.

use graven_abi::event::mount::Mount;
use graven_abi::header::{kind, ring};
use graven_abi::syscalls::op;

use crate::emit::emit;
use crate::kernel::dentry::Dentry;
use crate::kernel::file::File;
use crate::kernel::maps;
use crate::kernel::offset::offset;
use crate::kernel::read::{self, clear, copy};
use crate::kernel::scratch::{Scratch, owner};
use crate::kernel::task::{self, Current};
use crate::place;

/// FSCONFIG_CMD_RECONFIGURE
const RECONFIGURE: u64 = 7;

/// Does this command of fsconfig change a mounted file system?
#[inline(always)]
pub fn reconfigures(command: u64) -> bool {
    command == RECONFIGURE
}

/// The descriptor is a file system's context (fspick): the root of what it is about.
#[inline(always)]
fn context(scratch: &Scratch) {
    let shape = scratch.shape();
    let Some(file) = File::of_descriptor(scratch.argument(shape.dirfd)) else { return };
    let root = Dentry(read::at(file.private_data() + offset!(fs_context_root)));
    if root.0 != 0 {
        place::describe(scratch.owner(), root.inode(), root.0);
    }
}

/// The call has ended. It goes to the `protected` ring: everything else that is recorded rests on it.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn mounted(_count: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner::SYS_EXIT) else { return 0 };
    let current = Current::get().address();
    let shape = scratch.shape();
    clear(scratch.facts());
    if shape.path == op::NONE {
        context(scratch);
    } else if scratch.argument(shape.path) != 0 {
        // Without one: accounting is switched off.
        place::describe_first(scratch, 0);
    }
    let source = match shape.path2 {
        op::NONE => 0,
        path => scratch.append_user_path(scratch.argument(path)),
    };
    let filesystem = match scratch.operation() {
        op::MOUNT => scratch.append_user_string(scratch.argument(shape.value2)),
        _ => 0,
    };
    let flags = scratch.argument(shape.value);
    let sure = place::unproven(scratch);
    let (_, event) = scratch.record::<Mount>();
    copy(&mut event.target, scratch.facts());
    event.flags = flags;
    event.outcome = sure;
    event.what = shape.what.into();
    event.namespace = task::mount_namespace(current);
    event.source = source as u16;
    event.filesystem = filesystem as u16;
    emit::<Mount>(scratch, kind::MOUNT, ring::PROTECTED);
    // What lies where may be another thing now.
    maps::moving();
    maps::moved();
    0
}
