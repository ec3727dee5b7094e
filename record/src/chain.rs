//! The order of a lane's frames: what may follow what.

use crate::frame::Header;

/// The end of a lane as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Sequence of the last record; 0 = none yet.
    pub last: u64,
    /// Hash of the last frame; zeros = none yet.
    pub hash: [u8; 32],
}

impl Head {
    /// Before a boot's first frame.
    pub const NONE: Self = Self { last: 0, hash: [0; 32] };

    /// The head after this frame.
    pub fn of(header: &Header) -> Self {
        Self { last: header.last, hash: header.hash() }
    }
}

/// What a frame is to the lane's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Follows it.
    Next,
    /// Known already: the same sequences. Whether it is the same frame, its hash says.
    Duplicate,
    /// Records between the head and this frame are not there.
    Gap {
        /// First sequence that is missing.
        from: u64,
        /// Last sequence that is missing.
        to: u64,
    },
    /// Follows by number, but names another frame as the one before: altered or forked.
    Fork,
}

/// Places a frame after a head.
pub fn link(head: &Head, next: &Header) -> Link {
    if next.last <= head.last {
        Link::Duplicate
    } else if next.first > head.last + 1 {
        Link::Gap { from: head.last + 1, to: next.first - 1 }
    } else if next.first == head.last + 1 && next.previous == head.hash {
        Link::Next
    } else {
        Link::Fork
    }
}
