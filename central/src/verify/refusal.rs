//! Why a frame is not taken: the word it is filed under, and whether sending it again can help.

use graven_record::epoch::EpochError;
use graven_record::frame::FrameError;

/// A frame is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The bytes, a part or the signature do not hold.
    #[error("the frame does not hold")]
    Frame(#[source] FrameError),
    /// More than one frame in a message.
    #[error("bytes follow the frame")]
    Trailing,
    /// Another host's frame.
    #[error("the frame names another host than the certificate")]
    Host,
    /// The start of its run never came.
    #[error("the frame is of a run whose start is not known here")]
    UnknownRun,
    /// It says it starts a run and carries no statement of it.
    #[error("the frame starts a run and its first record is not the start")]
    NoStart,
    /// The statement does not hold.
    #[error("the start of the run does not hold")]
    Start(#[source] EpochError),
    /// The statement is true of something else.
    #[error("the start is of another host, boot, run or epoch than the frame")]
    StartOfOther,
    /// Two statements of one run.
    #[error("the run has been started before, with another statement")]
    SecondStart,
    /// A frame of an earlier run after a later one began.
    #[error("the frame is of another run than its lane is in")]
    RunOrder,
    /// Records before it are missing.
    #[error("records {from} to {to} are missing before this frame")]
    Gap {
        /// First missing.
        from: u64,
        /// Last missing.
        to: u64,
    },
    /// Another frame stands there, or the chain names another one before it.
    #[error("the frame contradicts the chain that is stored")]
    Fork,
}

impl Refusal {
    /// The word in findings.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Frame(FrameError::Signature) | Self::Start(EpochError::Signature) => "signature",
            Self::Frame(FrameError::Format(_)) => "version",
            Self::Frame(_) | Self::Trailing => "damaged",
            Self::Host => "host",
            Self::UnknownRun | Self::NoStart | Self::Start(_) | Self::StartOfOther => "run",
            Self::SecondStart | Self::RunOrder | Self::Fork => "fork",
            Self::Gap { .. } => "gap",
        }
    }

    /// Can the host help by sending from the durable sequence on? Everything else stays as it is.
    pub fn retry(&self) -> bool {
        matches!(self, Self::Gap { .. })
    }

    /// The sentence with its cause.
    pub fn sentence(&self) -> String {
        let cause = std::error::Error::source(self);
        cause.map_or_else(|| self.to_string(), |cause| format!("{self}: {cause}"))
    }
}
