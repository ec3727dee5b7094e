//! Copies records out of the three rings. Nothing else happens on this thread.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{MapData, RingBuf};
use bytes::Bytes;
use rustix::event::{Timespec, epoll};

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
    /// Edge-triggered: a ring that merely holds something must not end the wait, or each few records would
    /// be a round of their own.
    wakes: OwnedFd,
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
        let mut ring = |name| RingBuf::try_from(take(ebpf, name)?).map_err(|source| map_error(name, source));
        let [life, protected, activity] = RINGS;
        let rings = [ring(life)?, ring(protected)?, ring(activity)?];
        let wakes = waiting_for(&rings).map_err(|error| SensorError::Rings(error.into()))?;
        Ok(Self { rings, wakes, pause: BUSY })
    }

    /// Waits until there is something or the timer is due, then copies what there is.
    pub fn round(&mut self) -> Result<Drained, SensorError> {
        self.wait().map_err(SensorError::Rings)?;
        let drained = self.take();
        self.pause = if drained.records.is_empty() { (self.pause * 2).min(QUIET) } else { BUSY };
        Ok(drained)
    }

    fn wait(&self) -> io::Result<()> {
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(self.pause.subsec_nanos()) };
        let mut woken: Vec<epoll::Event> = Vec::with_capacity(RINGS.len());
        match epoll::wait(&self.wakes, rustix::buffer::spare_capacity(&mut woken), Some(&timeout)) {
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
}

fn waiting_for(rings: &[RingBuf<MapData>; 3]) -> rustix::io::Result<OwnedFd> {
    let wakes = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (ring, number) in rings.iter().zip(0..) {
        let events = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&wakes, ring, epoll::EventData::new_u64(number), events)?;
    }
    Ok(wakes)
}

/// CLOCK_BOOTTIME in ns.
pub(super) fn boot_time() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}
