//! The fixed part of each kind, one file a kind.

pub mod attr;
pub mod bpf;
pub mod create;
pub mod exec;
pub mod exit;
pub mod fork;
pub mod mmap;
pub mod modify;
pub mod module;
pub mod mount;
pub mod open;
pub mod rename;
pub mod tamper;
pub mod truncate;
pub mod uncovered;
pub mod unlink;

/// How sure a success is: numbers in the events' `outcome`.
pub mod outcome {
    /// An inode changed or a file object agrees.
    pub const SUCCESS: u32 = 1;
    /// Only the call's return value says so.
    pub const REPORTED: u32 = 2;
    /// The kernel refused it: EROFS, EACCES, EPERM or ETXTBSY, see `Header::error`.
    pub const REFUSED: u32 = 3;
}
