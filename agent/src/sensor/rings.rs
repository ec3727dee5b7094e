//! Copies records out of the three rings. Nothing else happens on this thread.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{Array, Map, MapData, RingBuf};
use graven_abi::header::Header;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};

use super::pieces::Pieces;
use super::{RINGS, Raw, SensorError, map_error, take, time};

/// Names of the maps, in ring order.
const NAMES: [&str; RINGS] = ["LIFE", "PROTECTED", "ACTIVITY"];
/// Of the map by which the programs know that they have to wake us.
const ASLEEP_MAP: &str = "ASLEEP";
/// Bytes of a ring that are copied in one round, and at most a record more: small against the rings, because rounds wait in
/// memory for the stages behind.
const ROUND: usize = 256 << 10;
/// Records of a ring in one round: more than so many bytes hold, unless they are none.
const MOST: usize = ROUND / size_of::<Header>();
/// Room for more than the last round had, so that one of about its size is not copied again.
const SLACK: usize = 8 << 10;
/// The kernel wakes us only when a ring is a quarter full; everything else waits for this timer.
const BUSY: Duration = Duration::from_millis(10);
/// On a quiet host the timer backs off to this.
const QUIET: Duration = Duration::from_millis(50);
/// Where nothing happens at all the first record wakes us. This timer is for a word that somebody else has cleared: it bounds
/// how late a violation is seen.
const ASLEEP: Duration = Duration::from_secs(1);

/// The three rings' reading side.
pub struct Drain {
    rings: [Ring; RINGS],
    /// Edge-triggered: a ring that merely holds something must not end the wait, or each few records would
    /// be a round of their own.
    wakes: OwnedFd,
    /// Readable = somebody wants the wait to end.
    waker: Arc<OwnedFd>,
    /// One word: this side sleeps. None: the programs that write the rings are of another time.
    asleep: Option<Array<MapData, u32>>,
    pieces: Pieces,
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
        let asleep = Array::try_from(take(ebpf, ASLEEP_MAP)?);
        let asleep = Some(asleep.map_err(|source| map_error(ASLEEP_MAP, source))?);
        let rings = Self::over([take(ebpf, life)?, take(ebpf, protected)?, take(ebpf, activity)?])?;
        Ok(Self { asleep, ..rings })
    }

    /// Of maps that are there, in ring order.
    pub(super) fn over(maps: [Map; RINGS]) -> Result<Self, SensorError> {
        let ring = |name, map| {
            let map = RingBuf::try_from(map).map_err(|source| map_error(name, source))?;
            Ok(Ring { map, size: 0 })
        };
        let ([life, protected, activity], [first, second, third]) = (NAMES, maps);
        let rings = [ring(life, first)?, ring(protected, second)?, ring(activity, third)?];
        let waker = eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| SensorError::Rings(error.into()))?;
        let wakes = waiting_for(&rings, &waker).map_err(|error| SensorError::Rings(error.into()))?;
        Ok(Self {
            rings,
            wakes,
            waker: Arc::new(waker),
            asleep: None,
            pieces: Pieces::default(),
            pause: BUSY,
            more: false,
        })
    }

    /// Ends a wait from another thread.
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.waker))
    }

    /// Waits until there is something or the timer is due, then copies of it what a round takes. `may_sleep`: nothing waits
    /// for the time to go by.
    pub fn round(&mut self, may_sleep: bool) -> Result<Drained, SensorError> {
        if may_sleep && !self.more && self.pause == QUIET {
            return self.sleep();
        }
        if !self.more {
            self.wait(self.pause).map_err(SensorError::Rings)?;
        }
        let drained = self.take();
        self.pause = if drained.is_empty() { (self.pause * 2).min(QUIET) } else { BUSY };
        Ok(drained)
    }

    /// The same, to be woken by the first record.
    fn sleep(&mut self) -> Result<Drained, SensorError> {
        self.pieces.clear();
        self.say_asleep(true);
        // In this order, see `wake` of the sensor's `emit`.
        fence(Ordering::SeqCst);
        // What was handed over before the programs knew wakes nobody.
        let mut drained = self.take();
        let mut woken = Ok(false);
        if drained.is_empty() {
            let pause = if self.asleep.is_some() { ASLEEP } else { QUIET };
            woken = self.wait(pause);
            drained = self.take();
        }
        self.say_asleep(false);
        // What woke us may stand behind a record that is being written yet.
        if woken.map_err(SensorError::Rings)? || !drained.is_empty() {
            self.pause = BUSY;
        }
        Ok(drained)
    }

    /// Where that cannot be said, nobody wakes us, and the timer of a quiet host is left.
    fn say_asleep(&mut self, is_so: bool) {
        let Some(asleep) = &mut self.asleep else { return };
        if let Err(error) = asleep.set(0, u32::from(is_so), 0) {
            tracing::warn!("{ASLEEP_MAP} cannot be written, the rings are looked at all the time: {error}");
            self.asleep = None;
        }
    }

    /// Did something end it before its time?
    fn wait(&self, pause: Duration) -> io::Result<bool> {
        let timeout =
            Timespec { tv_sec: pause.as_secs().cast_signed(), tv_nsec: i64::from(pause.subsec_nanos()) };
        let mut woken: Vec<epoll::Event> = Vec::with_capacity(RINGS + 1);
        match epoll::wait(&self.wakes, rustix::buffer::spare_capacity(&mut woken), Some(&timeout)) {
            Ok(count) => Ok(count > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
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
            let (records, next) = ring.take(&self.pieces);
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

/// Ends waits of a [`Drain`]: the one that goes on, and all later ones.
#[derive(Debug)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// From here on the drain waits for nothing.
    pub fn wake(&self) {
        if let Err(error) = rustix::io::write(&*self.0, &1_u64.to_ne_bytes()) {
            tracing::warn!("the rings' thread may end a second later: {error}");
        }
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
    fn take(&mut self, pieces: &Pieces) -> (Vec<Raw>, Option<u64>) {
        let mut copied = Copied { bytes: pieces.empty(self.size + SLACK), ends: Vec::new() };
        let mut taken = None;
        while let Some(item) = self.map.next() {
            copied.add(&item);
            if copied.bytes.len() >= ROUND || copied.ends.len() >= MOST {
                taken = Some(time(&item));
                break;
            }
        }
        self.size = copied.bytes.len();
        (copied.records(pieces), taken)
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

    fn records(self, pieces: &Pieces) -> Vec<Raw> {
        let mut rest = pieces.shared(self.bytes);
        let mut start = 0;
        let record = |end| {
            let record = rest.split_to(end - start);
            start = end;
            Raw(record)
        };
        self.ends.into_iter().map(record).collect()
    }
}

fn waiting_for(rings: &[Ring; RINGS], waker: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let wakes = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&wakes, waker, epoll::EventData::new_u64(RINGS as u64), epoll::EventFlags::IN)?;
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
        let records: Vec<bytes::Bytes> =
            copied.records(&Pieces::default()).into_iter().map(|Raw(bytes)| bytes).collect();
        assert_eq!(records, [&b"one"[..], b"", b"three"]);
    }
}
