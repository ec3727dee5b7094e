//! Received → Verified: is this frame what it says, and does it follow what is known?
//!
//! In: a frame that a host's stream brought, and what is known of that host (keys, the lane's head, what is
//! stored at its sequences). Out: `Verified`, the only thing the store takes, or a refusal that says why and
//! whether sending again can help. Always: checksum, host, key, signature, private root, records and chain
//! are checked, in this order; the answer depends on nothing but the arguments. Never: I/O, a clock, a
//! frame taken on trust. Fails by refusing one frame, which is a finding; it never ends the process.

pub mod known;
pub mod refusal;

use graven_record::chain::{self, Link};
use graven_record::epoch;
use graven_record::frame::{Frame, Header};
use graven_record::id::HostId;
use graven_record::v1::record::Event;
use graven_record::v1::{Batch, EpochStatement, PrivateEntry};

pub use known::{Epoch, EpochName, Known, LaneHead, Stored};
pub use refusal::Refusal;

/// A frame as a stream brought it: the bytes are a frame, and nothing more is known.
#[derive(Clone, Debug)]
pub struct Received(Frame);

/// A frame that holds: its host, key, signature, parts and place in the chain are as they must be.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The frame with its private part.
    pub frame: Frame,
    /// Its records.
    pub batch: Batch,
    /// Its private entries.
    pub private: Vec<PrivateEntry>,
    /// The key that this frame certifies, when it starts a run.
    pub learned: Option<Epoch>,
    /// How it came to its place.
    pub place: Place,
}

/// Where a verified frame stands in its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Follows the head.
    Next,
    /// Follows after sequences that the host says it cannot send.
    AfterGap {
        /// First missing.
        from: u64,
        /// Last missing.
        to: u64,
    },
    /// Fills sequences that were passed over before; the head stays.
    Late,
}

/// What is to be done with a frame.
#[derive(Debug)]
pub enum Verdict {
    /// Store it. Boxed: the other two are small.
    Take(Box<Verified>),
    /// It is stored already: acknowledge it.
    Duplicate,
    /// Neither stored nor acknowledged.
    Refuse(Refusal),
}

impl Received {
    /// Reads one frame that must fill `bytes` and be of `host`, whose certificate the stream has.
    pub fn read(bytes: &[u8], host: HostId) -> Result<Self, Refusal> {
        let frame = Frame::parse(bytes).map_err(Refusal::Frame)?;
        if frame.bytes().len() != bytes.len() {
            return Err(Refusal::Trailing);
        }
        if frame.header().host != host {
            return Err(Refusal::Host);
        }
        Ok(Self(frame))
    }

    /// What it says of itself; not yet to be believed.
    pub fn header(&self) -> &Header {
        self.0.header()
    }
}

/// Judges a frame against what is known.
pub fn verify(received: Received, known: &Known<'_>) -> Verdict {
    let place = match place(received.header(), known) {
        Ok(Some(place)) => place,
        Ok(None) => return Verdict::Duplicate,
        Err(misplaced) => return Verdict::Refuse(worst(misplaced, open(received.0, known))),
    };
    let frame = match open(received.0, known) {
        Ok(opened) => opened,
        Err(refusal) => return Verdict::Refuse(refusal),
    };
    match run_order(frame.frame.header(), known, place) {
        Ok(()) => Verdict::Take(Box::new(Verified { place, ..frame })),
        Err(refusal) => Verdict::Refuse(refusal),
    }
}

/// A place that is wrong is believed, and called a fork, only of a frame that the host signed. The start of
/// a run may be in the gap: then the gap is what is to be mended.
fn worst(misplaced: Refusal, opened: Result<Verified, Refusal>) -> Refusal {
    match opened {
        Ok(_) => misplaced,
        Err(Refusal::UnknownRun) if misplaced.retry() => misplaced,
        Err(worse) => worse,
    }
}

/// `None`: the same frame is stored already.
fn place(header: &Header, known: &Known<'_>) -> Result<Option<Place>, Refusal> {
    match chain::link(&known.head.head, header) {
        Link::Next => Ok(Some(Place::Next)),
        Link::Gap { from, to } if known.gap_insisted => Ok(Some(Place::AfterGap { from, to })),
        Link::Gap { from, to } => Err(Refusal::Gap { from, to }),
        Link::Fork => Err(Refusal::Fork),
        Link::Duplicate => match known.stored {
            Stored::Frame(hash) if hash == header.hash() => Ok(None),
            Stored::Frame(_) | Stored::Overlap => Err(Refusal::Fork),
            Stored::Nothing => Ok(Some(Place::Late)),
        },
    }
}

/// Everything but the place: key, signature, private root, records.
fn open(frame: Frame, known: &Known<'_>) -> Result<Verified, Refusal> {
    let header = frame.header();
    let (batch, learned) = if header.starts_run {
        let batch = frame.batch().map_err(Refusal::Frame)?;
        let learned = certified(header, &batch, known)?;
        frame.verify(&learned.key).map_err(Refusal::Frame)?;
        (batch, Some(learned))
    } else {
        let epoch = known.epoch_of(header).ok_or(Refusal::UnknownRun)?;
        frame.verify(&epoch.key).map_err(Refusal::Frame)?;
        (frame.batch().map_err(Refusal::Frame)?, None)
    };
    let private = frame.private().map_err(Refusal::Frame)?;
    Ok(Verified { frame, batch, private, learned, place: Place::Next })
}

/// The key of the run that this frame starts, if the host's start key says so.
fn certified(header: &Header, batch: &Batch, known: &Known<'_>) -> Result<Epoch, Refusal> {
    let start = match batch.records.first().and_then(|record| record.event.as_ref()) {
        Some(Event::EpochStart(start)) => start,
        _ => return Err(Refusal::NoStart),
    };
    let (statement, key) = epoch::verify_start(start, known.start_key).map_err(Refusal::Start)?;
    if !names_this(header, &statement) {
        return Err(Refusal::StartOfOther);
    }
    let learned = Epoch { name: EpochName::of(header), key, start: start.clone() };
    match known.epoch_of(header) {
        Some(before) if before.start != *start => Err(Refusal::SecondStart),
        _ => Ok(learned),
    }
}

fn names_this(header: &Header, statement: &EpochStatement) -> bool {
    statement.host == header.host.0
        && statement.boot == header.boot.0
        && statement.run == header.run.0
        && statement.epoch == header.epoch
}

/// A lane never goes back to an earlier run: whoever held that run's key must not write under a newer one.
/// After a gap or in one, the run's start may be what is missing.
fn run_order(header: &Header, known: &Known<'_>, place: Place) -> Result<(), Refusal> {
    let same = known.head.run == Some(header.run);
    match place {
        Place::Next if header.starts_run && same => Err(Refusal::SecondStart),
        Place::Next if !header.starts_run && !same => Err(Refusal::RunOrder),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
