//! What two sensors have seen that were attached at the same time is told once.

use std::collections::{HashMap, VecDeque};

use super::Raw;
use super::pins::MARGIN;

/// What differs between two records of one thing: when and where in the kernel they were made (`Header::time`, `sequence` and
/// `cpu`).
const OWN: std::ops::Range<usize> = 8..26;

/// For so long what the older sensor told is kept, ns: many times what the merge of the rings waits.
const KEPT: u64 = 1_000_000_000;

/// What the older sensor told around the moment from which on the younger one tells.
#[derive(Debug, Default)]
pub struct Twins {
    moment: u64,
    /// When, of each thing.
    told: HashMap<Vec<u8>, VecDeque<u64>>,
}

impl Twins {
    /// `told`: the older one's records; what is younger than `MARGIN` after the moment must not be among them.
    pub fn around<'a>(moment: u64, told: impl Iterator<Item = &'a Raw>) -> Self {
        let mut twins = Self { moment, told: HashMap::new() };
        for raw in told.filter(|raw| raw.time() >= moment.saturating_sub(2 * MARGIN)) {
            twins.told.entry(what(raw)).or_default().push_back(raw.time());
        }
        twins
    }

    /// Is this record of the younger sensor to be told?
    pub fn is_new(&mut self, raw: &Raw) -> bool {
        let time = raw.time();
        if time >= self.moment.saturating_add(2 * MARGIN) {
            // What comes out of order comes soon.
            if !self.told.is_empty() && time >= self.moment.saturating_add(KEPT) {
                self.told = HashMap::new();
            }
            return true;
        }
        if time < self.moment.saturating_sub(MARGIN) {
            return false;
        }
        let Some(times) = self.told.get_mut(&what(raw)) else { return true };
        // Older ones are told, and the younger sensor's of them were left out by their time.
        while times.pop_front_if(|told| *told + MARGIN < time).is_some() {}
        times.pop_front_if(|told| *told <= time + MARGIN).is_none()
    }
}

fn what(raw: &Raw) -> Vec<u8> {
    let mut bytes = raw.0.to_vec();
    if let Some(own) = bytes.get_mut(OWN) {
        own.fill(0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: u64 = 1_000_000_000;

    fn record(time: u64, sequence: u8, what: u8) -> Raw {
        let mut bytes = vec![what; 64];
        bytes[OWN].fill(sequence);
        bytes[8..16].copy_from_slice(&time.to_le_bytes());
        Raw(bytes.into())
    }

    #[test]
    fn around_the_moment_each_thing_is_told_by_one_of_both() {
        let old = [record(MOMENT - 5, 1, 7), record(MOMENT + 5, 2, 7), record(MOMENT + 9, 3, 8)];
        let mut twins = Twins::around(MOMENT, old.iter());
        let mut is_new = |time, what| twins.is_new(&record(time, 99, what));
        assert!(!is_new(MOMENT - 4, 7) && !is_new(MOMENT + 6, 7), "whichever sensor was first");
        assert!(is_new(MOMENT + 7, 7), "done a third time");
        assert!(is_new(MOMENT - 9, 9), "only the younger one saw it");
        assert!(!is_new(MOMENT - MARGIN - 1, 9) && is_new(MOMENT + 2 * MARGIN, 8));
        assert!(is_new(MOMENT + KEPT, 8) && twins.told.is_empty());
    }

    #[test]
    fn a_thing_on_either_side_of_a_border_is_told_once() {
        let old = [record(MOMENT - MARGIN - 3, 1, 7), record(MOMENT + MARGIN - 3, 2, 8)];
        let mut twins = Twins::around(MOMENT, old.iter());
        assert!(!twins.is_new(&record(MOMENT - MARGIN + 3, 99, 7)), "the older one was before the border");
        assert!(!twins.is_new(&record(MOMENT + MARGIN + 3, 99, 8)), "the younger one was behind it");
        assert!(twins.is_new(&record(MOMENT + MARGIN + 4, 99, 8)), "done again");
    }

    #[test]
    fn without_an_older_sensor_everything_is_told() {
        for time in [0, MARGIN, u64::MAX] {
            assert!(Twins::default().is_new(&record(time, 1, 1)));
        }
    }
}
