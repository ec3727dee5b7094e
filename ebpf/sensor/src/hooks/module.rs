//! `module`: kernel code was loaded or removed: init_module, finit_module, delete_module, kexec_load,
//! kexec_file_load.
//!
//! From `sys_exit`. A module from memory has no name here; one from a descriptor has its file's path.

use graven_abi::event::module::Module;
use graven_abi::header::{kind, ring};
use graven_abi::syscalls::op;

use crate::emit::emit;
use crate::kernel::file::{File, Opened};
use crate::kernel::read::{clear, copy};
use crate::kernel::scratch::{Scratch, owner};
use crate::place;

/// The call has ended.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn changed(_count: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner::SYS_EXIT) else { return 0 };
    let shape = scratch.shape();
    clear(scratch.facts());
    // Also one that lies where everything may change, or nowhere: a memfd.
    if shape.dirfd != op::NONE
        && let Some(file) = File::of_descriptor(scratch.argument(shape.dirfd))
    {
        let Opened { inode, dentry, mount, .. } = file.read(scratch);
        place::describe_opened(scratch, inode, dentry, mount);
    }
    let name = match shape.path2 {
        op::NONE => 0,
        argument => scratch.append_user_string(scratch.argument(argument)),
    };
    let sure = place::unproven(scratch);
    let (_, event) = scratch.record::<Module>();
    copy(&mut event.file, scratch.facts());
    event.outcome = sure;
    event.what = shape.what.into();
    event.name = name;
    event.padding = 0;
    emit::<Module>(scratch, kind::MODULE, ring::PROTECTED);
    0
}
