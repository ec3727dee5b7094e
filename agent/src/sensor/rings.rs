//! Copies records out of the three rings. Nothing else happens on this thread.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{Map, MapData, RingBuf};
use bytes::Bytes;
use graven_abi::header::Header;
use rustix::event::{Timespec, epoll};

use super::{RINGS, Raw, SensorError, map_error, take, time};

/// Names of the maps, in ring order.
const NAMES: [&str; RINGS] = ["LIFE", "PROTECTED", "ACTIVITY"];
/// Bytes of a ring that are copied in one round, and at most a record more: small against the rings, because rounds wait in
/// memory for the stages behind.
const ROUND: usize = 256 << 10;
/// Records of a ring in one round: more than so many bytes hold, unless they are none.
const MOST: usize = ROUND / size_of::<Header>();
/// Room for more than the last round had, so that one of about its size is not copied again.
const SLACK: usize = 8 << 10;
/// The kernel wakes us only when a ring is a quarter full; everything else waits for this timer.
const BUSY: Duration = Duration::from_millis(10);
/// On a quiet host the timer backs off to this, which bounds how late a violation is seen.
const QUIET: Duration = Duration::from_millis(50);

/// The three rings' reading side.
pub struct Drain {
    rings: [Ring; RINGS],
    /// Edge-triggered: a ring that merely holds something must not end the wait, or each few records would
    /// be a round of their own.
    wakes: OwnedFd,
    pause: Duration,
    /// The last round left something behind.
    more: bool,
}

struct Ring {
    map: RingBuf<MapData>,
    /// Bytes of the last round: the next one is of the same size, mostly.
    size: usize,
}

/// One round.
#[derive(Debug)]
pub struct Drained {
    /// What lay in each ring, in its order.
    pub records: [Vec<Raw>; RINGS],
    /// CLOCK_BOOTTIME in ns: everything older is in it or in an earlier one.
    pub until: u64,
}

impl Drain {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, SensorError> {
        let [life, protected, activity] = NAMES;
        Self::over([take(ebpf, life)?, take(ebpf, protected)?, take(ebpf, activity)?])
    }

    /// Of maps that are there, in ring order.
    pub(super) fn over(maps: [Map; RINGS]) -> Result<Self, SensorError> {
        let ring = |name, map| {
            let map = RingBuf::try_from(map).map_err(|source| map_error(name, source))?;
            Ok(Ring { map, size: 0 })
        };
        let ([life, protected, activity], [first, second, third]) = (NAMES, maps);
        let rings = [ring(life, first)?, ring(protected, second)?, ring(activity, third)?];
        let wakes = waiting_for(&rings).map_err(|error| SensorError::Rings(error.into()))?;
        Ok(Self { rings, wakes, pause: BUSY, more: false })
    }

    /// Waits until there is something or the timer is due, then copies of it what a round takes.
    pub fn round(&mut self) -> Result<Drained, SensorError> {
        if !self.more {
            self.wait().map_err(SensorError::Rings)?;
        }
        let drained = self.take();
        self.pause = if drained.is_empty() { (self.pause * 2).min(QUIET) } else { BUSY };
        Ok(drained)
    }

    fn wait(&self) -> io::Result<()> {
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(self.pause.subsec_nanos()) };
        let mut woken: Vec<epoll::Event> = Vec::with_capacity(RINGS);
        match epoll::wait(&self.wakes, rustix::buffer::spare_capacity(&mut woken), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Was something left behind by the last round?
    pub fn is_behind(&self) -> bool {
        self.more
    }

    /// Copies what a round takes, without waiting.
    pub fn take(&mut self) -> Drained {
        let mut until = boot_time();
        self.more = false;
        let records = self.rings.each_mut().map(|ring| {
            let (records, next) = ring.take();
            if let Some(next) = next {
                // A ring is in order, but for what the merge waits for anyway.
                until = until.min(next);
                self.more = true;
            }
            records
        });
        Drained { records, until }
    }
}

impl Drained {
    /// Bytes of all records.
    pub fn bytes(&self) -> usize {
        self.records.iter().flatten().map(|raw| raw.0.len()).sum()
    }

    /// Was there nothing?
    pub fn is_empty(&self) -> bool {
        self.records.iter().all(Vec::is_empty)
    }
}

impl Ring {
    /// What a round takes; where that leaves something behind, the time up to which it was taken.
    fn take(&mut self) -> (Vec<Raw>, Option<u64>) {
        let mut copied = Copied { bytes: Vec::with_capacity(self.size + SLACK), ends: Vec::new() };
        let mut taken = None;
        while let Some(item) = self.map.next() {
            copied.add(&item);
            if copied.bytes.len() >= ROUND || copied.ends.len() >= MOST {
                taken = Some(time(&item));
                break;
            }
        }
        self.size = copied.bytes.len();
        (copied.records(), taken)
    }
}

/// A round's records of one ring, in one piece of memory: a piece for each would cost more than all the rest of this thread.
#[derive(Default)]
struct Copied {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Copied {
    fn add(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.ends.push(self.bytes.len());
    }

    fn records(self) -> Vec<Raw> {
        let mut rest = Bytes::from(self.bytes);
        let mut start = 0;
        let record = |end| {
            let record = rest.split_to(end - start);
            start = end;
            Raw(record)
        };
        self.ends.into_iter().map(record).collect()
    }
}

fn waiting_for(rings: &[Ring; RINGS]) -> rustix::io::Result<OwnedFd> {
    let wakes = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (ring, number) in rings.iter().zip(0..) {
        let events = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&wakes, &ring.map, epoll::EventData::new_u64(number), events)?;
    }
    Ok(wakes)
}

/// CLOCK_BOOTTIME in ns.
pub(super) fn boot_time() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rounds_records_come_out_as_they_went_in() {
        let mut copied = Copied::default();
        [&b"one"[..], b"", b"three"].into_iter().for_each(|record| copied.add(record));
        let records: Vec<Bytes> = copied.records().into_iter().map(|Raw(bytes)| bytes).collect();
        assert_eq!(records, [&b"one"[..], b"", b"three"]);
    }
}
