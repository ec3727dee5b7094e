//! What is known of a host when one of its frames is judged.

use ed25519_dalek::VerifyingKey;
use graven_record::chain::Head;
use graven_record::frame::Header;
use graven_record::id::{BootId, RunId};
use graven_record::v1::EpochStart;

/// One key's span: an epoch of a run of a boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EpochName {
    /// Of the kernel.
    pub boot: BootId,
    /// Of the agent.
    pub run: RunId,
    /// Of the key.
    pub epoch: u32,
}

impl EpochName {
    /// The span that a frame says it is of.
    pub fn of(header: &Header) -> Self {
        Self { boot: header.boot, run: header.run, epoch: header.epoch }
    }
}

/// A key and the statement by which the host's start key certified it.
#[derive(Clone, Debug, PartialEq)]
pub struct Epoch {
    /// Which span.
    pub name: EpochName,
    /// The key.
    pub key: VerifyingKey,
    /// Statement and signature, as received.
    pub start: EpochStart,
}

/// The end of a lane, and the run that wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneHead {
    /// Sequence and hash.
    pub head: Head,
    /// The run of the last frame; `None` before the first.
    pub run: Option<RunId>,
}

impl LaneHead {
    /// Before a lane's first frame.
    pub const NONE: Self = Self { head: Head::NONE, run: None };

    /// The end after this frame.
    pub fn of(header: &Header) -> Self {
        Self { head: Head::of(header), run: Some(header.run) }
    }
}

/// What the store holds where a frame that lies behind the head wants to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// No record of those sequences.
    Nothing,
    /// A frame with the same first and last sequence; its hash.
    Frame([u8; 32]),
    /// Records of those sequences in frames that begin or end elsewhere.
    Overlap,
}

/// All of it.
#[derive(Debug)]
pub struct Known<'a> {
    /// The host's enrolled start key.
    pub start_key: &'a VerifyingKey,
    /// The end of the frame's lane.
    pub head: LaneHead,
    /// The key of the frame's run and epoch, once learned.
    pub epoch: Option<&'a Epoch>,
    /// At its sequences; asked for only of a frame behind the head.
    pub stored: Stored,
    /// The host was told of this very gap and sends the same frame again: it has nothing older.
    pub gap_insisted: bool,
}

impl Known<'_> {
    /// The key by which a frame must be signed.
    pub fn epoch_of(&self, header: &Header) -> Option<&Epoch> {
        self.epoch.filter(|epoch| epoch.name == EpochName::of(header))
    }
}
