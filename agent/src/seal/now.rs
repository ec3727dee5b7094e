//! The two clocks and the boot, read at the rim and handed in.

use std::fs;
use std::io;

use graven_record::id::BootId;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// ns since the Unix epoch; may step.
    pub wall: u64,
    /// CLOCK_BOOTTIME in ns; never steps back.
    pub boot: u64,
}

impl Now {
    /// Reads both.
    pub fn read() -> Self {
        Self {
            wall: nanoseconds(clock_gettime(ClockId::Realtime)),
            boot: nanoseconds(clock_gettime(ClockId::Boottime)),
        }
    }
}

/// CLOCK_MONOTONIC in ns: the time that the host slept is not in it.
pub fn monotonic() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// A wall clock before 1970 is shown as 1970.
fn nanoseconds(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// The running boot, as the kernel names it.
pub fn this_boot() -> io::Result<BootId> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    text.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_move_and_the_boot_has_a_name() {
        let before = Now::read();
        let after = Now::read();
        assert!(before.boot > 0 && after.boot >= before.boot && after.wall > 1_600_000_000_000_000_000);
        assert!(this_boot().is_ok());
    }
}
