//! The fixed part of each kind, one file a kind.

pub mod attr;
pub mod create;
pub mod exec;
pub mod exit;
pub mod fork;
pub mod modify;
pub mod open;
pub mod rename;
pub mod uncovered;
pub mod unlink;

/// How sure a success is: numbers in the events' `outcome`.
pub mod outcome {
    /// An inode changed or a file object agrees.
    pub const SUCCESS: u32 = 1;
    /// Only the call's return value says so.
    pub const REPORTED: u32 = 2;
}
