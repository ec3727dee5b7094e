//! What lies in the spool, in memory. No I/O.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use graven_record::id::{BootId, Lane};

use super::{Finding, Stream};

/// Most segments: at their usual size this is 128 GiB; it bounds the memory that many short runs would take.
pub(super) const MAX_SEGMENTS: usize = 16_384;
/// Most findings that wait to be handed out, and most gaps that are remembered as said.
const MAX_FINDINGS: usize = 256;

/// Shared by the writer and the readers.
#[derive(Clone, Debug)]
pub(super) struct Shared(Arc<Mutex<Index>>);

impl Shared {
    pub(super) fn new(index: Index) -> Self {
        Self(Arc::new(Mutex::new(index)))
    }

    /// Every change below is made in one step, so a panic elsewhere leaves nothing half done.
    pub(super) fn lock(&self) -> MutexGuard<'_, Index> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub(super) struct Index {
    root: PathBuf,
    /// The running boot.
    boot: BootId,
    shelves: BTreeMap<Stream, Shelf>,
    /// Files that are kept but not sent, with their sizes.
    aside: Vec<(PathBuf, u64)>,
    findings: VecDeque<Finding>,
    said: BTreeSet<(Stream, u64)>,
}

/// The segments of one stream, in order.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    segments: VecDeque<Segment>,
    /// Last sequence that is synced.
    last: u64,
    /// Last sequence that the central log has.
    durable: u64,
    /// Highest number that a file of this stream ever had.
    number: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Its name.
    pub(super) number: u32,
    /// Sequence of its first record.
    pub(super) first: u64,
    /// Wall time of its first frame.
    pub(super) since: u64,
    /// Bytes on disk.
    pub(super) size: u64,
    /// Bytes that may be read: the synced ones.
    pub(super) readable: u64,
    /// Renamed.
    pub(super) damaged: bool,
}

/// What may go to make room.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Victim {
    pub(super) path: PathBuf,
    /// Empty now, and of an older boot.
    pub(super) empty: Option<Stream>,
}

impl Index {
    pub(super) fn new(root: &Path, boot: BootId) -> Self {
        let (shelves, aside) = (BTreeMap::new(), Vec::new());
        Self { root: root.to_owned(), boot, shelves, aside, findings: VecDeque::new(), said: BTreeSet::new() }
    }

    pub(super) fn folder(&self, stream: Stream) -> PathBuf {
        self.root.join(stream.boot.to_string()).join(stream.lane.name())
    }

    pub(super) fn path(&self, stream: Stream, segment: &Segment) -> PathBuf {
        let ending = if segment.damaged { "damaged" } else { "seg" };
        self.folder(stream).join(format!("{:08}.{ending}", segment.number))
    }

    /// Bytes of everything, and of one lane.
    pub(super) fn held(&self, lane: Lane) -> (u64, u64) {
        let mut all: u64 = self.aside.iter().map(|(_, size)| size).sum();
        let mut own = 0;
        for (stream, shelf) in &self.shelves {
            let size: u64 = shelf.segments.iter().map(|s| s.size).sum();
            all += size;
            own += if stream.lane == lane { size } else { 0 };
        }
        (all, own)
    }

    pub(super) fn count(&self) -> usize {
        self.shelves.values().map(|shelf| shelf.segments.len()).sum::<usize>() + self.aside.len()
    }

    /// All streams in the order in which they are sent: `protected` first, in it the oldest boot first.
    pub(super) fn streams(&self) -> Vec<Stream> {
        let mut all: Vec<_> = self
            .shelves
            .iter()
            .filter_map(|(stream, shelf)| Some((stream.lane, shelf.segments.front()?.since, *stream)))
            .collect();
        all.sort_unstable();
        all.into_iter().map(|(_, _, stream)| stream).collect()
    }

    pub(super) fn last(&self, stream: Stream) -> u64 {
        self.shelves.get(&stream).map_or(0, |shelf| shelf.last)
    }

    /// Adds a segment that was found, or made, after those that are there.
    pub(super) fn add(&mut self, stream: Stream, segment: Segment) {
        self.shelves.entry(stream).or_default().segments.push_back(segment);
    }

    pub(super) fn add_aside(&mut self, path: PathBuf, size: u64) {
        self.aside.push((path, size));
    }

    /// May another refused frame be kept beside those that are?
    pub(super) fn room_for_refused(&self, size: u64, most: u64) -> bool {
        let refused = self.aside.iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "refused"));
        refused.map(|(_, size)| size).sum::<u64>() + size <= most
    }

    pub(super) fn set_last(&mut self, stream: Stream, last: u64) {
        self.shelves.entry(stream).or_default().last = last;
    }

    /// A number that no file of the stream has.
    pub(super) fn claim_number(&mut self, stream: Stream) -> u32 {
        let number = &mut self.shelves.entry(stream).or_default().number;
        *number += 1;
        *number
    }

    /// A number that a file of the stream has.
    pub(super) fn number_taken(&mut self, stream: Stream, taken: u32) {
        let number = &mut self.shelves.entry(stream).or_default().number;
        *number = taken.max(*number);
    }

    /// One segment.
    pub(super) fn segment(&self, stream: Stream, number: u32) -> Option<Segment> {
        self.shelves.get(&stream)?.segments.iter().find(|s| s.number == number).copied()
    }

    /// One segment, to change it.
    pub(super) fn segment_mut(&mut self, stream: Stream, number: u32) -> Option<&mut Segment> {
        self.shelves.get_mut(&stream)?.segments.iter_mut().find(|s| s.number == number)
    }

    /// Where a sequence lies, if it is there: the last segment that begins at or before it, else the first.
    pub(super) fn holding(&self, stream: Stream, sequence: u64) -> Option<Segment> {
        let segments = &self.shelves.get(&stream)?.segments;
        let place = segments.partition_point(|s| s.first <= sequence);
        segments.get(place.saturating_sub(1)).copied()
    }

    /// The first segment after one that has something to read, whether or not that one is still there.
    pub(super) fn after(&self, stream: Stream, number: u32) -> Option<Segment> {
        self.shelves.get(&stream)?.segments.iter().find(|s| s.number > number && s.readable > 0).copied()
    }

    pub(super) fn acknowledge(&mut self, stream: Stream, sequence: u64) {
        if let Some(shelf) = self.shelves.get_mut(&stream) {
            shelf.durable = sequence;
        }
    }

    /// Takes out what may go first, of one lane or of all: the oldest acknowledged segment; then damaged ones;
    /// then, of all, what was set aside. `None` = everything is still needed.
    pub(super) fn reclaim(&mut self, only: Option<Lane>) -> Option<Victim> {
        let boot = self.boot;
        let oldest = self
            .shelves
            .iter()
            .filter(|(stream, _)| only.is_none_or(|lane| stream.lane == lane))
            .flat_map(|(stream, shelf)| {
                shelf.free(stream.boot == boot).map(|s| (s.damaged, s.since, *stream, *s))
            })
            .min_by_key(|(damaged, since, _, _)| (*damaged, *since));
        let Some((_, _, stream, segment)) = oldest else {
            let path = only.is_none().then(|| self.aside.pop())??.0;
            return Some(Victim { path, empty: None });
        };
        let path = self.path(stream, &segment);
        let shelf = self.shelves.get_mut(&stream)?;
        shelf.segments.retain(|s| s.number != segment.number);
        let empty = (shelf.segments.is_empty()).then_some(stream);
        if empty.is_some() {
            self.shelves.remove(&stream);
        }
        Some(Victim { path, empty })
    }

    pub(super) fn find(&mut self, finding: Finding) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push_back(finding);
        }
    }

    /// Reports a gap, once.
    pub(super) fn find_missing(&mut self, stream: Stream, from: u64, to: u64) {
        if self.said.len() < MAX_FINDINGS && self.said.insert((stream, from)) {
            self.find(Finding::Missing { stream, from, to });
        }
    }

    pub(super) fn take_findings(&mut self) -> Vec<Finding> {
        self.findings.drain(..).collect()
    }
}

impl Shelf {
    /// Segments whose every record the central log has. The newest of this boot holds the chain's head.
    fn free(&self, this_boot: bool) -> impl Iterator<Item = &Segment> {
        let firsts = self.segments.iter().skip(1).map(|s| Some(s.first)).chain([None]);
        self.segments.iter().zip(firsts).filter_map(move |(segment, next)| {
            let last = next.map_or(self.last, |first| first - 1);
            let needed = next.is_none() && this_boot;
            (last <= self.durable && !needed).then_some(segment)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: BootId = BootId([1; 16]);
    const NEW: BootId = BootId([2; 16]);

    fn segment(number: u32, first: u64, since: u64) -> Segment {
        Segment { number, first, since, size: 100, readable: 100, damaged: false }
    }

    fn stream(boot: BootId, lane: Lane) -> Stream {
        Stream { boot, lane }
    }

    fn index() -> Index {
        let mut index = Index::new(Path::new("/s"), NEW);
        for (boot, since) in [(OLD, 10), (NEW, 20)] {
            for lane in Lane::ALL {
                index.add(stream(boot, lane), segment(1, 1, since));
                index.add(stream(boot, lane), segment(2, 11, since + 1));
                index.set_last(stream(boot, lane), 20);
            }
        }
        index
    }

    #[test]
    fn protected_goes_first_and_in_it_the_oldest_boot() {
        let order =
            [(OLD, Lane::Protected), (NEW, Lane::Protected), (OLD, Lane::Activity), (NEW, Lane::Activity)];
        assert_eq!(index().streams(), order.map(|(boot, lane)| stream(boot, lane)));
    }

    #[test]
    fn a_sequence_is_found_in_its_segment() {
        let index = index();
        let number = |sequence| index.holding(stream(OLD, Lane::Activity), sequence).map(|s| s.number);
        assert_eq!((number(1), number(10), number(11), number(99)), (Some(1), Some(1), Some(2), Some(2)));
        assert_eq!(index.after(stream(OLD, Lane::Activity), 1).map(|s| s.number), Some(2));
        assert_eq!(index.after(stream(OLD, Lane::Activity), 2), None);
    }

    #[test]
    fn nothing_goes_before_it_is_acknowledged() {
        let mut index = index();
        assert_eq!(index.reclaim(None), None);
        index.acknowledge(stream(NEW, Lane::Protected), 9);
        assert_eq!(index.reclaim(None), None);
        index.acknowledge(stream(NEW, Lane::Protected), 10);
        let path = format!("/s/{NEW}/protected/00000001.seg");
        assert_eq!(index.reclaim(None), Some(Victim { path: path.into(), empty: None }));
    }

    #[test]
    fn the_oldest_goes_first_and_the_head_of_this_boot_never() {
        let mut index = index();
        for at in index.streams() {
            index.acknowledge(at, 20);
        }
        let gone: Vec<_> = std::iter::from_fn(|| index.reclaim(None)).collect();
        assert_eq!(gone.len(), 6);
        assert!(gone[..4].iter().all(|v| v.path.starts_with(format!("/s/{OLD}"))));
        assert_eq!(gone.iter().filter_map(|v| v.empty).count(), 2);
        assert_eq!(index.count(), 2);
    }

    #[test]
    fn a_lane_that_used_up_its_share_takes_no_room_from_the_other() {
        let mut index = index();
        index.add_aside("/s/f".into(), 5);
        index.acknowledge(stream(OLD, Lane::Protected), 20);
        assert_eq!(index.reclaim(Some(Lane::Activity)), None);
        assert!(index.reclaim(None).is_some());
    }

    #[test]
    fn damaged_and_foreign_files_go_last() {
        let mut index = index();
        index.add_aside("/s/f".into(), 5);
        let old = stream(OLD, Lane::Activity);
        index.acknowledge(old, 20);
        index.shelves.values_mut().for_each(|shelf| shelf.segments[0].damaged = true);
        let gone: Vec<_> = std::iter::from_fn(|| index.reclaim(None)).map(|v| v.path).collect();
        let folder = index.folder(old);
        assert_eq!(gone, [folder.join("00000002.seg"), folder.join("00000001.damaged"), "/s/f".into()]);
    }

    #[test]
    fn a_gap_is_said_once() {
        let mut index = index();
        index.find_missing(stream(OLD, Lane::Activity), 5, 7);
        index.find_missing(stream(OLD, Lane::Activity), 5, 7);
        assert_eq!(index.take_findings().iter().map(Finding::lost).collect::<Vec<_>>(), [3]);
        assert!(index.take_findings().is_empty());
    }
}
