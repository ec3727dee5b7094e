//! Numbers, dates and signs.
//!
//! In: [`Judged`](crate::policy::Judged) records and counts of what was lost. Out: [`Frame`]s of at most 100
//! records or 100 ms, one chain per lane, and every ten seconds a signed statement of both heads.
//!
//! Always: sequences of a lane are dense; a frame names the hash of the one before; the first frame of a lane
//! in a run begins with the `EpochStart` that the host's start key certifies; what was lost is in a
//! signed header *and* in a record; a frame that the spool could not take is withdrawn, so that the chain on
//! disk has no hole, and its records are counted lost.
//!
//! Never: a clock, a disk, a socket. [`Now`] comes in with each call. The epoch's key is drawn fresh for each
//! run, lives in locked memory, is wiped when the sealer goes, and is never written anywhere.
//!
//! Fails: a record that is too large is cut (its ancestors, its argument strings) and says so; one that is
//! still too large, and one for which the queue has no room, is counted lost.
//!
//! How the pipeline drives it, in one thread:
//!
//! ```text
//! sealer.push(judged, now)                      for each record
//! while let Some(frame) = sealer.ready(now)? {  (`rest` instead of `ready` when stopping)
//!     if spool.append(&frame).is_err() { sealer.withdraw(now) }
//! }
//! spool.sync()?; shipper.notify();              (a little later, where full frames follow each other fast)
//! if let Some(beat) = sealer.heartbeat(counters, now) { shipper.heartbeat(beat) }
//! sleep until sealer.due(), or until that sync
//! ```

mod sealer;
mod lane;
mod entries;
mod loss;
mod key;
mod now;

use graven_record::chain::Head;
use graven_record::frame::FrameError;
use graven_record::id::Lane;

pub use graven_record::frame::{Frame, LossKind};
pub use key::EpochKey;
pub use now::{Now, monotonic, this_boot};
pub use sealer::{Opening, Sealer, new_run};

/// The ends of both lanes of this boot, as the spool has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Of the lane `protected`.
    pub protected: Head,
    /// Of the lane `activity`.
    pub activity: Head,
}

impl Heads {
    /// Before a boot's first frame.
    pub const NONE: Self = Self { protected: Head::NONE, activity: Head::NONE };

    /// The end of one lane.
    pub fn of(&self, lane: Lane) -> Head {
        match lane {
            Lane::Protected => self.protected,
            Lane::Activity => self.activity,
        }
    }

    /// The end of one lane, to change it.
    pub fn of_mut(&mut self, lane: Lane) -> &mut Head {
        match lane {
            Lane::Protected => &mut self.protected,
            Lane::Activity => &mut self.activity,
        }
    }
}

/// Records could not be sealed. They are counted lost; the sealer goes on.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The kernel gave no random bytes.
    #[error("the kernel gave no random bytes: {0}")]
    Entropy(getrandom::Error),
    /// Our own bounds let a batch through that no frame holds.
    #[error("a batch of {records} records could not be sealed")]
    Frame {
        /// How many were in it.
        records: usize,
        /// Why.
        #[source]
        source: FrameError,
    },
}
