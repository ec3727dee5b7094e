//! Verified → Stored: frames, and what is needed to find them again.
//!
//! In: verified frames, findings, heartbeats, enrolments. Out: an answer after it is on disk, and later the
//! same frames, byte for byte. Always: a commit is durable before it is answered, and taking the same frame
//! twice stores it once; a head never stands before its frame; private parts lie in a file of their own, so
//! that they can be erased alone. Never: a frame changed, a frame stored that is not `Verified`. Fails whole:
//! after an error nothing of the group is acknowledged and the files are opened and compared afresh.
//!
//! `central.db` holds hosts, tokens, epochs, heads and findings; `days/DAY.frames.db` and
//! `days/DAY.private.db` what was received on a day (UTC), so that retention is an unlink.

pub mod schema;
pub mod index;
pub mod hosts;
pub mod tokens;
pub mod epochs;
pub mod heads;
pub mod findings;
pub mod day;
pub mod sqlite;
pub mod writer;
pub mod reader;

use std::path::PathBuf;

use graven_record::id::{BootId, HostId, Lane};
use graven_record::wire::Heartbeat;

use crate::data::DataError;
use crate::query::{Damage, Found, Query, Row};
use crate::verify::{Epoch, EpochName, LaneHead, Stored, Verified};

pub use findings::Finding;
pub use hosts::HostRow;

/// The store cannot do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database.
    #[error("the store failed at {path}")]
    Database {
        /// Which file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// The directory.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Written by a newer release.
    #[error(
        "{path} was written by a newer release (schema {found}, this one reads up to {newest}): update graven"
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        newest: i64,
    },
    /// A row is not what the schema says.
    #[error("{what} in {path} is damaged")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Which thing.
        what: String,
    },
    /// The writer is gone.
    #[error("the store has stopped")]
    Stopped,
}

/// What a commit takes.
#[derive(Debug)]
pub enum Write {
    /// A frame of a host.
    Frame {
        /// The host's number.
        host: i64,
        /// The frame.
        verified: Box<Verified>,
    },
    /// Something is wrong with a host's stream.
    Finding(Finding),
    /// A verified statement of a host's heads.
    Heartbeat {
        /// The host's number.
        host: i64,
        /// As received.
        heartbeat: Heartbeat,
    },
    /// A stream was opened.
    Seen {
        /// The host's number.
        host: i64,
        /// What it calls itself.
        hostname: String,
    },
}

/// When a host made a frame, by its own clocks, in ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// Of its last record, since the boot.
    pub boot_time: u64,
    /// When it was sealed, since the Unix epoch.
    pub wall_time: u64,
}

/// What became of one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// On disk.
    Stored,
    /// It was on disk already.
    Already,
    /// Another frame stands in its place.
    Conflict,
    /// What it was to follow is not on disk: not stored.
    Unfollowed,
}

/// Where frames are kept. One writer; the readers see what is committed.
pub trait Store {
    /// Stores a group in one go and returns when it is durable; idempotent. One answer for each, in order.
    fn commit(&mut self, group: &[Write], now: i64) -> Result<Vec<Written>, StoreError>;
    /// The heads of a host's newest boots, at most `boots` of them.
    fn heads(&self, host: i64, boots: usize) -> Result<Vec<(BootId, Lane, LaneHead)>, StoreError>;
    /// The head of one lane.
    fn head(&self, host: i64, boot: BootId, lane: Lane) -> Result<LaneHead, StoreError>;
    /// A key that was learned.
    fn epoch(&self, host: i64, name: &EpochName) -> Result<Option<Epoch>, StoreError>;
    /// What stands at these sequences.
    fn stored(
        &self,
        host: i64,
        boot: BootId,
        lane: Lane,
        first: u64,
        last: u64,
    ) -> Result<Stored, StoreError>;
    /// When the frame that ends a lane at `last` was made, while it is there.
    fn made(&self, host: i64, boot: BootId, lane: Lane, last: u64) -> Result<Option<Made>, StoreError>;
    /// An enrolled host.
    fn host(&self, id: &HostId) -> Result<Option<HostRow>, StoreError>;
    /// The newest rows that answer a query, oldest first.
    fn find(&self, query: &Query) -> Result<Vec<Row>, StoreError>;
    /// The records of those rows, in their order; a frame that no longer holds is damage, not an end.
    fn frames(&self, rows: &[Row]) -> Result<Vec<Result<Found, Damage>>, StoreError>;
}

#[cfg(test)]
mod tests;
