//! What the agent has on disk of what its sensor counted: numbers by index, which it writes and its successor reads.

/// Records of the rings.
pub const RECORDS: u32 = 0;
/// Losses of the `life` ring.
pub const LOST_LIFE: u32 = 1;
/// Losses of the `protected` ring.
pub const LOST_PROTECTED: u32 = 2;
/// Losses of the `activity` ring.
pub const LOST_ACTIVITY: u32 = 3;
/// Operations without their inodes.
pub const STATE_FULL: u32 = 4;
/// Runs that the kernel skipped.
pub const SKIPPED: u32 = 5;
/// CLOCK_BOOTTIME from which on the rings are this agent's to tell, ns: what is older another has told.
pub const FROM: u32 = 6;
/// How many numbers there are.
pub const COUNT: u32 = 8;
