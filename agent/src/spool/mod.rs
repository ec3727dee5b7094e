//! Frames wait here, on disk, until the central log has them.
//!
//! In: sealed frames of this boot, and receipts. Out: the same bytes again, for shipping. On disk:
//!
//! ```text
//! <state>/spool/<boot id>/<lane>/00000001.seg     frames one after the other, nothing else
//!                                00000002.damaged a segment with a bad place; what is readable is still sent
//!                                00000003.foreign a segment of another host (this one was enrolled anew)
//!                                sequence-17.refused a frame that the central log will never take, kept for a person
//! ```
//! A frame begins with its length and checksum and its header holds boot, lane and sequences, so a segment
//! needs no format of its own and the frame is verbatim. There is no second file that must agree: what is
//! there is found by looking, at start only the first frame of each segment and the whole of each lane's
//! last one. What the central log has, the central log says ([`Reader::acknowledge`]); nothing about it is
//! written here.
//!
//! Always: [`Spool::sync`] returns after fdatasync; a new segment's name is synced with its directory before it is
//! used; only what is synced is given out; only the tail of a lane's last segment is ever cut; a bad place
//! in the middle is reported, the segment renamed and kept, what follows it found again by its magic; an
//! acknowledged segment stays until the budget needs its room, then the oldest goes first, so that a
//! restored central log can ask again; the last segment of this boot's lanes stays always, for it holds
//! the chain's head. Directories are 0700, files 0600, symbolic links are not followed.
//!
//! Never: blocks on the central log, grows beyond its budget, or eats into the file system's reserve (what others write
//! between two syncs is seen at the second). The
//! lane `activity` may fill three quarters of the budget, so that there is always room for `protected`; and frames
//! that hold only the logger's words of itself (its start, its losses, its stop) have [`LAST_WORD`] to themselves.
//!
//! Fails: [`SpoolError`] from [`Spool::append`] means that the frame is not in the spool (the sealer
//! withdraws it); from [`Spool::sync`] that frames may not outlive a power cut. Neither stops the agent.
//! What was found wrong on disk is a [`Finding`], handed out once.

mod disk;
mod segment;
mod index;
mod recover;
mod writer;
mod reader;
mod finding;

use graven_record::id::{BootId, Lane};
use std::path::PathBuf;

pub use disk::{Disk, DiskFile, HostDisk};
pub use finding::Finding;
pub use reader::{Place, Reader};
pub use writer::{LAST_WORD, Opened, Spool, is_own};

/// One lane of one boot: a chain of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream {
    /// Which boot.
    pub boot: BootId,
    /// Which lane.
    pub lane: Lane,
}

/// How much of the disk may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of everything below the spool's folder; the logger's words of itself may take
    /// [`LAST_WORD`] more.
    pub limit: u64,
    /// Free bytes of the file system that are left alone, but for as much of them.
    pub reserve: u64,
}

/// The spool cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The folder cannot be used at all.
    #[error("cannot open the spool {path}")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Others could read or change what lies there.
    #[error("the spool {path} {why}; it must be a directory of the agent's own user with mode 0700")]
    NotPrivate {
        /// Which.
        path: PathBuf,
        /// What it is instead.
        why: &'static str,
    },
    /// The budget is used up and nothing in it is acknowledged.
    #[error("the spool holds {held} of {limit} bytes and the central log has acknowledged none of them")]
    Full {
        /// Bytes in it.
        held: u64,
        /// Bytes this lane may use.
        limit: u64,
    },
    /// The file system is nearly full.
    #[error("the spool's file system has {available} bytes left, of which {reserve} are reserved")]
    Reserve {
        /// Bytes free.
        available: u64,
        /// Bytes that are left alone.
        reserve: u64,
    },
    /// A frame of another boot: our bug.
    #[error("a frame of boot {0} was given to the spool of another")]
    OtherBoot(BootId),
    /// The disk refuses.
    #[error("cannot write to the spool segment {path}")]
    Write {
        /// Which segment.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Written, but perhaps not on the disk.
    #[error("cannot make sure that the spool segment {path} is on the disk")]
    Sync {
        /// Which segment.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The disk cannot be read.
    #[error("cannot read the spool segment {path}")]
    Read {
        /// Which segment.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl SpoolError {
    /// What a person can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Full { .. } => "reconnect the central log, or raise `spool.limit` in agent.toml",
            Self::Reserve { .. } => "free space on that file system, or lower `spool.reserve` in agent.toml",
            Self::NotPrivate { .. } => "give the directory back to root with mode 0700",
            Self::OtherBoot(_) => "please report this",
            Self::Open { .. } | Self::Write { .. } | Self::Sync { .. } | Self::Read { .. } => {
                "see that the file system of `state` in agent.toml is mounted writable, has room and is sound"
            }
        }
    }
}

#[cfg(test)]
mod memory_disk;
#[cfg(test)]
mod model_tests;
