//! Three rings into one order: by kernel time.
//!
//! A record is handed on when every ring has been read past its time, and 50 ms later at the latest: a
//! program may be interrupted between taking the time and handing the record over. One that comes later
//! still is handed on at once, out of order; nothing is dropped.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::{Drained, Raw, time};

/// How long a record is held back for one that happened earlier, ns.
const HOLD: u64 = 50_000_000;
/// Most bytes of records that are held back, which is more than the rings hold: beyond it all are handed on in the order
/// they have.
const MAX_HELD: usize = 8 << 20;

/// Records that wait for earlier ones.
#[derive(Debug, Default)]
pub struct Merge {
    waiting: BinaryHeap<Waiting>,
    /// Bytes of these.
    held: usize,
    next: u64,
}

/// The greatest is the earliest.
#[derive(Debug)]
struct Waiting {
    time: u64,
    number: u64,
    raw: Raw,
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.time, other.number).cmp(&(self.time, self.number))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Waiting {}

impl Merge {
    /// Adds a round and gives out, in order, what no earlier record can precede.
    pub fn add(&mut self, drained: Drained) -> Vec<Raw> {
        for raw in drained.records {
            self.held += raw.0.len();
            self.waiting.push(Waiting { time: time(&raw.0), number: self.next, raw });
            self.next += 1;
        }
        self.release(if self.held > MAX_HELD { u64::MAX } else { drained.until.saturating_sub(HOLD) })
    }

    /// Everything, in order: at stop.
    pub fn finish(&mut self) -> Vec<Raw> {
        self.release(u64::MAX)
    }

    fn release(&mut self, until: u64) -> Vec<Raw> {
        let mut out = Vec::new();
        while self.waiting.peek().is_some_and(|first| first.time <= until) {
            out.extend(self.waiting.pop().map(|first| first.raw));
        }
        self.held -= out.iter().map(|raw| raw.0.len()).sum::<usize>();
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(time: u64, mark: u8) -> Raw {
        let mut bytes = vec![0; 24];
        bytes[8..16].copy_from_slice(&time.to_le_bytes());
        bytes[16] = mark;
        Raw(bytes.into())
    }

    fn round(records: Vec<Raw>, until: u64) -> Drained {
        Drained { records, until }
    }

    #[test]
    fn rings_are_merged_by_time_and_equal_times_keep_their_order() {
        let mut merge = Merge::default();
        let given = vec![record(30, 1), record(10, 2), record(20, 3), record(20, 4)];
        let marks: Vec<u8> = merge.add(round(given, HOLD + 30)).iter().map(|r| r.0[16]).collect();
        assert_eq!(marks, [2, 3, 4, 1]);
    }

    #[test]
    fn a_young_record_waits_for_an_older_one_of_another_ring() {
        let mut merge = Merge::default();
        assert!(merge.add(round(vec![record(100, 1)], 100)).is_empty());
        let released = merge.add(round(vec![record(90, 2)], 100 + HOLD));
        assert_eq!(released.iter().map(|r| r.0[16]).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn nothing_stays_behind_at_the_end() {
        let mut merge = Merge::default();
        merge.add(round(vec![record(5, 1), record(1, 2)], 0));
        assert_eq!(merge.finish().len(), 2);
        assert!(merge.finish().is_empty());
    }

    #[test]
    fn a_record_too_short_for_a_time_is_handed_on_and_not_lost() {
        let mut merge = Merge::default();
        assert_eq!(merge.add(round(vec![Raw(bytes::Bytes::from_static(b"xx"))], HOLD)).len(), 1);
    }
}
