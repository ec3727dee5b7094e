//! Counters the sensor keeps per CPU, by index. How many records there were, stored or lost, is told by the last
//! sequence of each ring.

/// Records for the `life` ring that found no room.
pub const LOST_LIFE: u32 = 0;
/// Records for the `protected` ring that found no room.
pub const LOST_PROTECTED: u32 = 1;
/// Records for the `activity` ring that found no room.
pub const LOST_ACTIVITY: u32 = 2;
/// Changes of mutable places; where inode-time tracepoints tell of writes, those that set a time.
pub const IGNORED: u32 = 3;
/// Operations seen without their inodes, because a map was full.
pub const STATE_FULL: u32 = 4;
/// Changes folded into an earlier `modify` of the same second.
pub const FOLDED: u32 = 5;
/// Refused attempts of a program run beyond [`crate::limits::REFUSALS`] in a second.
pub const REFUSED: u32 = 6;
/// Losses that the overflow table had no room to tell about.
pub const OVERFLOW_FULL: u32 = 7;
/// How many counters there are.
pub const COUNT: u32 = 8;
