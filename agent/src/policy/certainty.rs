//! How sure it is that what is judged happened, and the words for it.

use graven_record::v1::{self, Entry, Outcome};

/// How sure it is that something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Certainty {
    /// The kernel's own objects show it.
    Sure,
    /// A call returned success.
    Reported,
    /// A request of io_uring was taken.
    Requested,
    /// It did not.
    Refused,
}

/// Of an event with this outcome.
pub(super) fn certainty(outcome: Outcome, source: &v1::Source) -> Certainty {
    match outcome {
        Outcome::Refused => Certainty::Refused,
        Outcome::Reported if source.entry() == Entry::IoUring => Certainty::Requested,
        Outcome::Reported => Certainty::Reported,
        Outcome::Success | Outcome::Unspecified => Certainty::Sure,
    }
}

/// The reason, and how sure it is that it happened.
pub(super) fn with_certainty(certainty: Certainty, mut reason: String) -> String {
    reason += match certainty {
        Certainty::Sure => "",
        Certainty::Reported => "; the call reported success and nothing else confirms it",
        Certainty::Requested => {
            "; it was asked for by a request of io_uring, and nothing says what came of it"
        }
        Certainty::Refused => "; the kernel refused the attempt",
    };
    reason
}
