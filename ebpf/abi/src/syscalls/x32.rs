//! x32's own block (`asm/unistd_x32.h`); its other calls have the 64-bit numbers.

use super::Row;
use super::op::*;

/// See [`super::X32`].
pub(super) const CALLS: &[Row] = &[
    (514, IOCTL, "ioctl"),
    (516, WRITE, "writev"),
    (521, PTRACE, "ptrace"),
    (528, KEXEC_LOAD, "kexec_load"),
    (535, WRITE, "pwritev"),
    (540, PROCESS_VM_WRITEV, "process_vm_writev"),
    (547, WRITE, "pwritev2"),
];
