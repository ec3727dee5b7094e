//! Three rings into one order: by kernel time.
//!
//! A record is handed on when every ring has been read past its time, and 50 ms later at the latest: a
//! program may be interrupted between taking the time and handing the record over. One that comes later
//! still is handed on at once, out of order; nothing is dropped.

use std::collections::VecDeque;

use super::{Drained, RINGS, Raw, time};

/// How long a record is held back for one that happened earlier, ns.
const HOLD: u64 = 50_000_000;
/// Most bytes of records that are held back, which is more than the rings hold: beyond it they are not held back so long,
/// and if that does not help are handed on in the order they have.
const MAX_HELD: usize = 8 << 20;

/// Records that wait for earlier ones.
#[derive(Debug, Default)]
pub struct Merge {
    /// Of each ring, by time.
    waiting: [VecDeque<(u64, Raw)>; RINGS],
    /// Bytes of all.
    held: usize,
}

impl Merge {
    /// Adds a round and gives out, in order, what no earlier record can precede.
    pub fn add(&mut self, drained: Drained) -> Vec<Raw> {
        for (queue, records) in self.waiting.iter_mut().zip(drained.records) {
            for raw in records {
                self.held += raw.0.len();
                insert(queue, raw);
            }
        }
        let mut out = self.release(drained.until.saturating_sub(HOLD));
        // Rather too early than out of order.
        for until in [drained.until, u64::MAX] {
            if self.held > MAX_HELD {
                out.append(&mut self.release(until));
            }
        }
        out
    }

    /// Is nothing held back?
    pub fn is_empty(&self) -> bool {
        self.waiting.iter().all(VecDeque::is_empty)
    }

    /// Everything, in order: at stop.
    pub fn finish(&mut self) -> Vec<Raw> {
        self.release(u64::MAX)
    }

    fn release(&mut self, until: u64) -> Vec<Raw> {
        let mut out = Vec::new();
        let first = |queue: &VecDeque<(u64, Raw)>| queue.front().map(|(time, _)| *time);
        let due = |queue: &&mut VecDeque<(u64, Raw)>| first(queue).is_some_and(|time| time <= until);
        // Of equal times the first ring's: a process starts before it does anything.
        while let Some(queue) = self.waiting.iter_mut().filter(due).min_by_key(|queue| first(queue)) {
            if let Some((_, raw)) = queue.pop_front() {
                self.held -= raw.0.len();
                out.push(raw);
            }
        }
        out
    }
}

/// Behind what happened before it or at the same time: mostly at the end.
fn insert(queue: &mut VecDeque<(u64, Raw)>, raw: Raw) {
    let time = time(&raw.0);
    let late = queue.back().is_some_and(|(last, _)| *last > time);
    let at = if late { queue.partition_point(|(other, _)| *other <= time) } else { queue.len() };
    queue.insert(at, (time, raw));
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

    fn round(records: [Vec<Raw>; RINGS], until: u64) -> Drained {
        Drained { records, until }
    }

    fn marks(records: &[Raw]) -> Vec<u8> {
        records.iter().map(|record| record.0[16]).collect()
    }

    #[test]
    fn rings_are_merged_by_time_and_equal_times_keep_their_order() {
        let mut merge = Merge::default();
        let first = vec![record(30, 1), record(10, 2)];
        let given = [first, vec![record(20, 3), record(20, 4), record(30, 5)], Vec::new()];
        assert_eq!(marks(&merge.add(round(given, HOLD + 30))), [2, 3, 4, 1, 5]);
        assert_eq!(merge.held, 0);
    }

    #[test]
    fn a_young_record_waits_for_an_older_one_of_its_ring_or_of_another() {
        let mut merge = Merge::default();
        assert!(merge.add(round([vec![record(100, 1)], Vec::new(), Vec::new()], 100)).is_empty());
        let late = [vec![record(95, 2)], vec![record(90, 3)], Vec::new()];
        assert_eq!(marks(&merge.add(round(late, 100 + HOLD))), [3, 2, 1]);
    }

    #[test]
    fn nothing_stays_behind_at_the_end() {
        let mut merge = Merge::default();
        merge.add(round([vec![record(5, 1)], Vec::new(), vec![record(1, 2)]], 0));
        assert_eq!(marks(&merge.finish()), [2, 1]);
        assert!(merge.finish().is_empty());
    }

    #[test]
    fn no_more_is_held_back_than_there_is_room_for() {
        let mut merge = Merge::default();
        let mut large = vec![0; MAX_HELD / 2];
        large[8..16].copy_from_slice(&7_u64.to_le_bytes());
        let large = Raw(large.into());
        assert!(merge.add(round([vec![large.clone()], vec![large], Vec::new()], 0)).is_empty());
        assert_eq!(marks(&merge.add(round([Vec::new(), Vec::new(), vec![record(6, 1)]], 0))), [1, 0, 0]);
    }

    #[test]
    fn a_record_too_short_for_a_time_is_handed_on_and_not_lost() {
        let mut merge = Merge::default();
        let short = Raw(bytes::Bytes::from_static(b"xx"));
        assert_eq!(merge.add(round([Vec::new(), vec![short], Vec::new()], HOLD)).len(), 1);
    }
}
