//! When a test began, so that it asks for nothing that happened before: a log of a whole suite holds tens of thousands
//! of records, and a test looks at some of them.

use std::time::{Duration, Instant};

/// Seconds are asked for in whole; and a record has its time from the kernel's clock, a question from the wall's.
const MARGIN: Duration = Duration::from_secs(2);

/// A moment of this process.
#[derive(Clone, Copy, Debug)]
pub struct Moment(Instant);

impl Moment {
    /// This one.
    pub fn now() -> Self {
        Self(Instant::now())
    }

    /// How long ago it was.
    pub fn ago(self) -> Duration {
        self.0.elapsed()
    }

    /// The operator's words for what happened since.
    pub fn since(self) -> [String; 2] {
        let ago = self.ago() + MARGIN;
        ["--since".to_owned(), format!("{}s", ago.as_secs())]
    }
}

/// When a test began, and what the log had as skipped by then: that excuses nothing in it.
#[derive(Clone, Copy, Debug)]
pub struct Begin {
    /// When.
    pub moment: Moment,
    /// Runs of the sensor's programs that the log already had as skipped. A loss is told up to a second after it
    /// happened, so one just before the test may still count as the test's.
    pub skipped: u64,
}
