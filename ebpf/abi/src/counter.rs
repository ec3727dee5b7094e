//! Counters the sensor keeps per CPU, by index.

/// Records kept for the `life` ring: stored or lost.
pub const KEPT_LIFE: u32 = 0;
/// Records kept for the `protected` ring.
pub const KEPT_PROTECTED: u32 = 1;
/// Records kept for the `activity` ring.
pub const KEPT_ACTIVITY: u32 = 2;
/// Of these, those that found no room.
pub const LOST_LIFE: u32 = 3;
/// Of these, those that found no room.
pub const LOST_PROTECTED: u32 = 4;
/// Of these, those that found no room.
pub const LOST_ACTIVITY: u32 = 5;
/// Changes of mutable places.
pub const IGNORED: u32 = 6;
/// Operations seen without their inodes, because a map was full.
pub const STATE_FULL: u32 = 7;
/// Changes folded into an earlier `modify` of the same second.
pub const FOLDED: u32 = 8;
/// Refused attempts of a program run beyond [`crate::limits::REFUSALS`] in a second.
pub const REFUSED: u32 = 9;
/// Losses that the overflow table had no room to tell about.
pub const OVERFLOW_FULL: u32 = 10;
/// How many counters there are.
pub const COUNT: u32 = 11;
