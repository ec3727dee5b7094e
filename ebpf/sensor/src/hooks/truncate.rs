//! `truncate`: a file's size was set: truncate, ftruncate.
//!
//! From `sys_exit`. The inode that changed names itself; its size is the one after the call.
//!
//! What it misses: a size that was set to what it was already changes no inode: the outcome is `reported`.

use graven_abi::event::outcome;
use graven_abi::event::truncate::Truncate;
use graven_abi::header::kind;

use super::sys_exit::{Evidence, use_up};
use crate::emit::{emit, ring_of};
use crate::kernel::read::copy;
use crate::kernel::scratch::{Scratch, owner};
use crate::place;

/// The call has ended; the thread's slot holds `count` entries.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn truncated(count: u32) -> u32 {
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

#[inline(always)]
fn finish(scratch: &mut Scratch, class: u32, sure: u32) {
    let (_, event) = scratch.record::<Truncate>();
    copy(&mut event.file, scratch.facts());
    event.outcome = sure;
    event.padding = 0;
    emit::<Truncate>(scratch, kind::TRUNCATE, ring_of(class));
}
