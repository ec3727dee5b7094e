//! `attr`: what is known of a file beside its content was set: mode, owner, times, extended attributes (ACLs and
//! file capabilities are such), inode flags.
//!
//! From `sys_exit`. The inode that changed names itself. Old values would need a program on `sys_enter`,
//! which costs more than all the rest; they are not recorded in this mode. An attribute's name and the flags of
//! an ioctl are what the caller's memory holds at the end of the call.
//!
//! What it misses: of a file with several hard links in memory the name may be that of another link.

use graven_abi::event::attr::Attr;
use graven_abi::event::outcome;
use graven_abi::header::kind;
use graven_abi::syscalls::ioctl::FSSETXATTR;
use graven_abi::syscalls::op;
use graven_abi::syscalls::op::what::{FLAGS, MODE, OWNER, OWNER16, XATTR, XATTR_REMOVED};

use super::sys_exit::{Evidence, use_up};
use crate::emit::{emit, ring_of};
use crate::kernel::read::{copy, user};
use crate::kernel::scratch::{Scratch, owner};
use crate::place;

/// "Leave as it is" of the 16-bit calls.
const LEAVE16: u32 = 0xffff;

/// The call has ended; the thread's slot holds `count` entries.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn set(count: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner::SYS_EXIT) else { return 0 };
    match Evidence::of(scratch, count) {
        Evidence::Ignored => {}
        Evidence::Slot(slot) => {
            let class = slot.strictest();
            let inode = place::describe_changed(scratch, slot);
            finish(scratch, class, outcome::SUCCESS);
            place::explain(owner::SYS_EXIT, inode, 0);
            use_up(scratch, slot);
        }
        Evidence::None => {
            let sure = place::unproven(scratch);
            let class = place::describe_claimed(owner::SYS_EXIT);
            if class != place::NOTHING {
                finish(scratch, class, sure);
            }
        }
    }
    0
}

/// FS_XFLAG_IMMUTABLE, APPEND, SYNC, NOATIME and NODUMP (linux/fs.h) as the bits of FS_IOC_SETFLAGS, which records
/// have (fileattr_fill_xflags).
#[inline(always)]
fn of_xflags(flags: u32) -> u32 {
    (flags & 0x18) << 1 | (flags & 0x20) >> 2 | (flags & 0x40) << 1 | (flags & 0x80) >> 1
}

#[inline(always)]
fn finish(scratch: &mut Scratch, class: u32, sure: u32) {
    let shape = scratch.shape();
    let (what, value, second) = (shape.what, scratch.argument(shape.value), scratch.argument(shape.value2));
    let name = match what {
        XATTR | XATTR_REMOVED => scratch.append_user_string(scratch.argument(shape.path2)),
        _ => 0,
    };
    let flags = match scratch.operation() {
        op::SETFLAGS if value as u32 == FSSETXATTR => of_xflags(user::<u32>(second)),
        op::SETFLAGS => user::<u32>(second),
        op::FILE_SETATTR => of_xflags(user::<u32>(scratch.argument(2))),
        _ => 0,
    };
    let owner = |id: u64| match what {
        OWNER => id as u32,
        OWNER16 if id as u32 & LEAVE16 != LEAVE16 => id as u32 & LEAVE16,
        _ => u32::MAX,
    };
    let (_, event) = scratch.record::<Attr>();
    copy(&mut event.file, scratch.facts());
    event.what = if what == OWNER16 { OWNER } else { what }.into();
    event.outcome = sure;
    event.mode = if what == MODE { value as u32 & 0o7777 } else { 0 };
    event.uid = owner(value);
    event.gid = owner(second);
    event.flags = if what == FLAGS { flags } else { 0 };
    event.name = name;
    event.padding = 0;
    emit::<Attr>(scratch, kind::ATTR, ring_of(class));
}
