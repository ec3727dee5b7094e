//! Copies records out of the three rings. Nothing else happens on this thread.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{MapData, RingBuf};
use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Raw, SensorError, map_error, take};

/// Names of the maps, in ring order.
const RINGS: [&str; 3] = ["LIFE", "PROTECTED", "ACTIVITY"];
/// Most records copied in one round, so that the merge behind gets its turn: a quarter of all rings.
const ROUND: usize = 16_384;
/// The kernel wakes us only when a ring is a quarter full; everything else waits for this timer.
const BUSY: Duration = Duration::from_millis(10);
/// On a quiet host the timer backs off to this, which bounds how late a violation is seen.
const QUIET: Duration = Duration::from_millis(50);

/// The three rings' reading side.
pub struct Drain {
    rings: [RingBuf<MapData>; 3],
    pause: Duration,
}

/// One round.
#[derive(Debug)]
pub struct Drained {
    /// What lay in the rings, each ring in order.
    pub records: Vec<Raw>,
    /// CLOCK_BOOTTIME in ns before the round began: everything older is in it or in an earlier one.
    pub before: u64,
    /// All rings were read to their end.
    pub complete: bool,
}

impl Drain {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, SensorError> {
        let mut ring =
            |name| RingBuf::try_from(take(ebpf, name)?).map_err(|source| map_error(name, source));
        let [life, protected, activity] = RINGS;
        Ok(Self { rings: [ring(life)?, ring(protected)?, ring(activity)?], pause: BUSY })
    }

    /// Waits until there is something or the timer is due, then copies what there is.
    pub fn round(&mut self) -> Result<Drained, SensorError> {
        self.wait().map_err(SensorError::Rings)?;
        let drained = self.take();
        self.pause = if drained.records.is_empty() { (self.pause * 2).min(QUIET) } else { BUSY };
        Ok(drained)
    }

    fn wait(&self) -> io::Result<()> {
        let mut waiting = self.rings.each_ref().map(|ring| {
            // SAFETY is the crate's: the descriptor lives as long as the ring.
            PollFd::from_borrowed_fd(ring.as_fd(), PollFlags::IN)
        });
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(self.pause.subsec_nanos()) };
        match poll(&mut waiting, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Copies what there is, without waiting.
    pub fn take(&mut self) -> Drained {
        let before = boot_time();
        let mut records = Vec::new();
        let mut complete = true;
        for ring in &mut self.rings {
            let until = records.len() + ROUND;
            while let Some(item) = ring.next() {
                records.push(Raw(Bytes::copy_from_slice(&item)));
                if records.len() >= until {
                    complete = false;
                    break;
                }
            }
        }
        Drained { records, before, complete }
    }

    /// The descriptors, for tests that wait themselves.
    pub fn descriptors(&self) -> [i32; 3] {
        self.rings.each_ref().map(|ring| ring.as_raw_fd())
    }
}

/// CLOCK_BOOTTIME in ns.
fn boot_time() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}
