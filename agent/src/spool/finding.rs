//! What was found wrong on disk.

use std::fmt;
use std::path::PathBuf;

use super::Stream;

/// Something a person should know. Each is handed out once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The last write before a crash was not whole; it was never promised to anybody.
    Cut {
        /// Which segment.
        path: PathBuf,
        /// How many bytes were cut off.
        bytes: u64,
    },
    /// A segment has a bad place; it was renamed and kept, and what is readable is sent.
    Damaged {
        /// Its new name.
        path: PathBuf,
    },
    /// Records that were sealed are not there any more.
    Missing {
        /// Of which chain.
        stream: Stream,
        /// First sequence.
        from: u64,
        /// Last sequence.
        to: u64,
    },
    /// A segment of another host; it was renamed and kept, and is not sent.
    Foreign {
        /// Its new name.
        path: PathBuf,
    },
}

impl Finding {
    /// Records that are lost by it.
    pub fn lost(&self) -> u64 {
        match self {
            Self::Missing { from, to, .. } => to - from + 1,
            Self::Cut { .. } | Self::Damaged { .. } | Self::Foreign { .. } => 0,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut { path, bytes } => {
                write!(f, "{}: the last write was not whole, {bytes} bytes were cut off", path.display())
            }
            Self::Damaged { path } => {
                write!(f, "{}: damaged; what is readable is sent, the file is kept", path.display())
            }
            Self::Missing { stream, from, to } => {
                let lane = stream.lane.name();
                write!(
                    f,
                    "records {from} to {to} of lane {lane}, boot {} are not in the spool any more",
                    stream.boot
                )
            }
            Self::Foreign { path } => {
                write!(f, "{}: of another host; not sent, the file is kept", path.display())
            }
        }
    }
}
