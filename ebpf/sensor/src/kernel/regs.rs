//! The registers with which a program entered the kernel (`struct pt_regs`), by typed loads.

#[cfg(not(feature = "counted"))]
use aya_ebpf::helpers::bpf_task_pt_regs;
use aya_ebpf::programs::BtfTracePointContext;

use super::offset::offset;
#[cfg(not(feature = "counted"))]
use super::task::Current;

/// `struct pt_regs *` that the verifier knows as such.
#[derive(Clone, Copy)]
pub struct Regs(*const u8);

/// The half of a register that a 32-bit program has.
const LOWER: u64 = 0xffff_ffff;
/// The bit that makes a call an x32 one (`__X32_SYSCALL_BIT`).
pub const X32_BIT: i64 = 0x4000_0000;

impl Regs {
    /// The first argument of `sys_exit`.
    #[inline(always)]
    pub fn of_exit(ctx: &BtfTracePointContext) -> Self {
        Self(ctx.arg::<*const u8>(0))
    }

    /// The current task's, at any other place (bpf_task_pt_regs, since 5.15).
    #[cfg(not(feature = "counted"))]
    #[inline(always)]
    pub fn of_current(task: Current) -> Self {
        // SAFETY: the pointer came from bpf_get_current_task_btf.
        Self(unsafe { bpf_task_pt_regs(task.pointer().cast()) } as *const u8)
    }

    #[inline(always)]
    fn load(self, offset: u64) -> u64 {
        // SAFETY: a typed load; the verifier checks that the offset lies within struct pt_regs.
        unsafe { self.0.add(offset as usize).cast::<u64>().read_volatile() }
    }

    /// The system call's number; -1 outside of one (the entry code of exceptions writes it). Of the register the
    /// kernel takes the lower half only (do_syscall_64), whatever a program left in the upper one.
    #[inline(always)]
    pub fn number(self) -> i64 {
        i64::from(self.load(offset!(pt_regs_orig_ax)) as i32)
    }

    /// Is the call still running? Its entry code writes -ENOSYS where the result will be; what happens after
    /// the result is there (signal frames, rseq, exit) is no part of the call.
    #[inline(always)]
    pub fn in_call(self) -> bool {
        self.result() == -38
    }

    /// An argument by number, from 0. The 32-bit entry has its arguments in other registers, and only the lower
    /// halves count (do_int80_syscall_32, do_fast_syscall_32).
    #[inline(always)]
    pub fn argument(self, compat: bool, number: usize) -> u64 {
        match (compat, number) {
            (false, 0) => self.load(offset!(pt_regs_di)),
            (false, 1) => self.load(offset!(pt_regs_si)),
            (false, 2) => self.load(offset!(pt_regs_dx)),
            (false, 3) => self.load(offset!(pt_regs_r10)),
            (false, 4) => self.load(offset!(pt_regs_r8)),
            (false, _) => self.load(offset!(pt_regs_r9)),
            (true, 0) => self.load(offset!(pt_regs_bx)) & LOWER,
            (true, 1) => self.load(offset!(pt_regs_cx)) & LOWER,
            (true, 2) => self.load(offset!(pt_regs_dx)) & LOWER,
            (true, 3) => self.load(offset!(pt_regs_si)) & LOWER,
            (true, 4) => self.load(offset!(pt_regs_di)) & LOWER,
            (true, _) => self.load(offset!(pt_regs_bp)) & LOWER,
        }
    }

    /// The result, once the call has ended.
    #[inline(always)]
    pub fn result(self) -> i64 {
        self.load(offset!(pt_regs_ax)) as i64
    }
}
