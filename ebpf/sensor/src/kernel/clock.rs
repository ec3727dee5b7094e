//! CLOCK_BOOTTIME.

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;

/// ns since boot, time asleep included.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_boot_ns() }
}
