//! How much of what came from the rings is on disk: what an agent that takes over after a crash need not fear for.

use std::collections::VecDeque;

use crate::sensor::Counted;

/// Moments that are remembered: more than there are rounds while a record waits for its frame and
/// that for its sync. Beyond it a moment stands for
/// the one before too, which says less than is true.
const MOST: usize = 64;

/// What was handed over when, and is not known to be on disk.
#[derive(Debug, Default)]
pub(super) struct Safe {
    waiting: VecDeque<(u64, Counted)>,
}

impl Safe {
    /// Until this moment, boot ns, so much was handed to the sealer.
    pub(super) fn handed(&mut self, now: u64, counted: Counted) {
        let is_full = self.waiting.len() >= MOST;
        match self.waiting.back_mut() {
            Some((_, last)) if *last == counted => {}
            Some(last) if is_full => *last = (now, counted),
            _ => self.waiting.push_back((now, counted)),
        }
    }

    /// All that was handed over before this moment is on disk; none = everything. How much that is, if it is more than was
    /// known.
    pub(super) fn stored(&mut self, before: Option<u64>) -> Option<Counted> {
        let mut stored = None;
        while self.waiting.front().is_some_and(|(at, _)| before.is_none_or(|before| *at < before)) {
            stored = self.waiting.pop_front().map(|(_, counted)| counted);
        }
        stored
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(records: u64) -> Counted {
        Counted { records, ..Counted::default() }
    }

    #[test]
    fn what_was_handed_over_before_the_oldest_that_waits_is_on_disk() {
        let mut safe = Safe::default();
        for at in [10, 20, 30] {
            safe.handed(at, records(at));
        }
        assert_eq!([safe.stored(Some(10)), safe.stored(Some(21))], [None, Some(records(20))]);
        assert_eq!([safe.stored(None), safe.stored(None)], [Some(records(30)), None]);
    }

    #[test]
    fn where_too_much_waits_less_is_said_than_is_true() {
        let mut safe = Safe::default();
        let last = MOST as u64 + 5;
        (1..=last).for_each(|at| safe.handed(at, records(at)));
        assert_eq!(safe.waiting.len(), MOST);
        assert_eq!(safe.stored(Some(last)), Some(records(MOST as u64 - 1)));
        assert_eq!(safe.stored(None), Some(records(last)));
    }
}
