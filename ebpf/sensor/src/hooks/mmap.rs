//! `mmap`: a file was mapped shared and writable: what is stored there changes it, also after the descriptor is
//! closed.
//!
//! From `sys_exit` of mmap, by the descriptor's file. The kernel maps shared and writable only what was opened
//! for writing, so the file object can agree.
//!
//! What it misses: a mapping that becomes writable later (mprotect): the first store is a `modify`.

use graven_abi::event::mmap::Mmap;
use graven_abi::event::outcome;
use graven_abi::header::kind;
use graven_abi::syscalls::op;

use crate::emit::{emit, ring_of};
use crate::kernel::file::{FMODE_WRITE, File};
use crate::kernel::read::{copy, user};
use crate::kernel::scratch::{Scratch, owner};
use crate::place;

/// MAP_TYPE; MAP_SHARED and MAP_SHARED_VALIDATE in it.
const MAP_TYPE: u64 = 0x0f;
const MAP_SHARED: u64 = 1;
const MAP_SHARED_VALIDATE: u64 = 3;
/// MAP_ANONYMOUS
const MAP_ANONYMOUS: u64 = 0x20;
/// PROT_WRITE
const PROT_WRITE: u64 = 2;

/// Do stores through this mapping change a file?
#[inline(always)]
pub fn is_shared_writable(protection: u64, flags: u64) -> bool {
    protection & PROT_WRITE != 0
        && matches!(flags & MAP_TYPE, MAP_SHARED | MAP_SHARED_VALIDATE)
        && flags & MAP_ANONYMOUS == 0
}

/// The i386 mmap has one argument: where its six lie in memory.
#[inline(always)]
fn spread(scratch: &mut Scratch) {
    let at = scratch.argument(0);
    for index in 0..6 {
        scratch.call().arguments[index as usize] = user::<u32>(at + index * 4).into();
    }
}

/// The call has ended.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn mapped(_count: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner::SYS_EXIT) else { return 0 };
    if scratch.operation() == op::OLD_MMAP {
        spread(scratch);
    }
    let shape = scratch.shape();
    let (descriptor, protection, flags) =
        (scratch.argument(shape.dirfd), scratch.argument(shape.value), scratch.argument(shape.value2));
    // A refused mapping changes nothing: the open that would have allowed it was the attempt. The arguments of
    // the i386 mmap are looked at only here.
    if scratch.failed() || !is_shared_writable(protection, flags) {
        return 0;
    }
    let Some(file) = File::of_descriptor(descriptor) else { return 0 };
    let mode = file.read(scratch).mode;
    let class = place::describe_file(owner::SYS_EXIT, file.0);
    if class == place::NOTHING {
        return 0;
    }
    let sure = if mode & FMODE_WRITE != 0 { outcome::SUCCESS } else { outcome::REPORTED };
    let (_, event) = scratch.record::<Mmap>();
    copy(&mut event.file, scratch.facts());
    event.outcome = sure;
    event.protection = protection as u32;
    emit::<Mmap>(scratch, kind::MMAP, ring_of(class));
    0
}
