//! Scratches that programs share which may be preempted by each other: those on functions of the VFS.

use core::intrinsics::{AtomicOrdering, atomic_cxchg};

use super::scratch::{Scratch, owner};

impl Scratch {
    /// One that no other program on this CPU has, which was preempted with it: to be given back. None when two were.
    #[inline(always)]
    pub fn take() -> Option<&'static mut Self> {
        for owner in [owner::VFS, owner::VFS_BESIDE] {
            let cell = &raw mut Self::of(owner)?.taken;
            // SAFETY: a field of a live, aligned map value.
            let taken = unsafe {
                atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(cell, 0, 1)
            };
            if taken.1 {
                return Self::begin(owner);
            }
        }
        None
    }

    /// After this it is another's.
    #[inline(always)]
    pub fn give_back(&mut self) {
        // SAFETY: as above; volatile, because another program waits for it.
        unsafe { core::ptr::write_volatile(&raw mut self.taken, 0) }
    }
}
