//! How long to wait before trying again.

use std::time::Duration;

/// Waits that double from the least to the most, each shortened by up to a half at random, so that the hosts of a
/// fleet do not come back all at once.
#[derive(Debug)]
pub(super) struct Backoff {
    least: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(least: Duration, most: Duration) -> Self {
        Self { least, most, next: least }
    }

    /// After a success.
    pub(super) fn reset(&mut self) {
        self.next = self.least;
    }

    /// The next wait.
    pub(super) fn wait(&mut self) -> Duration {
        // Without randomness all hosts wait the same: no reason to fail.
        let random = getrandom::u32().unwrap_or(u32::MAX);
        let wait = self.next.mul_f64(0.5 + f64::from(random) / f64::from(u32::MAX) / 2.0);
        self.next = (self.next * 2).min(self.most);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_most_and_begin_anew_after_a_success() {
        let (least, most) = (Duration::from_millis(500), Duration::from_secs(10));
        let mut backoff = Backoff::new(least, most);
        for expected in [500, 1000, 2000, 4000, 8000, 10_000, 10_000] {
            let wait = backoff.wait();
            let expected = Duration::from_millis(expected);
            assert!(wait >= expected / 2 && wait <= expected, "{wait:?}");
        }
        backoff.reset();
        assert!(backoff.wait() <= least);
    }
}
