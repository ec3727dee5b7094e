//! Why an inode changes: the call or request that is running, by the registers that it came with.

use graven_abi::syscalls::{entry, op};

use super::sys_exit::{is_open, look_up, settle};
use super::{open, uring};
use crate::kernel::maps;
use crate::kernel::regs::{Regs, X32_BIT};
use crate::kernel::task::Current;

/// Number of io_uring_enter in every table, which runs requests in the caller's thread.
const IO_URING_ENTER: i32 = 426;

/// Why an inode changes.
pub struct Calling {
    /// The operation to note it for; NOTHING = it is a `modify` of its own.
    pub operation: u8,
    pub entry: u8,
    pub number: i32,
    /// Of an ioctl.
    pub command: u32,
}

impl Calling {
    #[inline(always)]
    fn outside(entry: u8, number: i32) -> Self {
        Self { operation: op::NOTHING, entry, number, command: 0 }
    }
}

/// The running call or request.
#[inline(always)]
pub fn calling(current: Current) -> Calling {
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
