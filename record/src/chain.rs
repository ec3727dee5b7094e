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
    /// At or before the head: sequences that were sent before or passed over. Whether it is the frame that is
    /// known, its hash says.
    Duplicate,
    /// Records between the head and this frame are not there.
    Gap {
        /// First sequence that is missing.
        from: u64,
        /// Last sequence that is missing.
        to: u64,
    },
    /// Follows by number, but names another frame as the one before, or lies across the head: altered or forked.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::FORMAT;
    use crate::id::{BootId, HostId, Lane, RunId};

    fn header(first: u64, last: u64, previous: [u8; 32]) -> Header {
        Header {
            format: FORMAT,
            lane: Lane::Activity,
            starts_run: false,
            host: HostId([1; 32]),
            boot: BootId([2; 16]),
            run: RunId([3; 16]),
            epoch: 0,
            first,
            last,
            lost: [0; 8],
            previous,
            public_hash: [4; 32],
            private_root: [0; 32],
            sealed_at: 5,
        }
    }

    #[test]
    fn a_boots_first_frame_follows_nothing_and_names_nothing() {
        assert_eq!(link(&Head::NONE, &header(1, 3, [0; 32])), Link::Next);
        assert_eq!(link(&Head::NONE, &header(1, 3, [9; 32])), Link::Fork);
        assert_eq!(link(&Head::NONE, &header(4, 4, [9; 32])), Link::Gap { from: 1, to: 3 });
    }

    #[test]
    fn a_frame_across_the_head_is_a_fork() {
        let head = Head::of(&header(1, 10, [0; 32]));
        assert_eq!(link(&head, &header(10, 11, head.hash)), Link::Fork);
    }

    #[test]
    fn the_last_number_there_is_does_not_overflow() {
        let head = Head { last: u64::MAX, hash: [7; 32] };
        assert_eq!(link(&head, &header(u64::MAX, u64::MAX, [7; 32])), Link::Duplicate);
        let head = Head { last: u64::MAX - 1, hash: [7; 32] };
        assert_eq!(link(&head, &header(u64::MAX, u64::MAX, [7; 32])), Link::Next);
    }

    proptest! {
        #[test]
        fn frames_in_order_link_and_one_left_out_is_exactly_the_gap(
            lengths in prop::collection::vec(1_u64..100, 2..20), left_out in any::<prop::sample::Index>()
        ) {
            let left_out = left_out.index(lengths.len() - 1);
            let (mut head, mut behind) = (Head::NONE, Head::NONE);
            for (n, length) in lengths.iter().enumerate() {
                let next = header(head.last + 1, head.last + length, head.hash);
                prop_assert_eq!(link(&head, &next), Link::Next);
                if n == left_out + 1 {
                    prop_assert_eq!(link(&behind, &next), Link::Gap { from: behind.last + 1, to: head.last });
                }
                if n <= left_out {
                    behind = head;
                }
                prop_assert_eq!(link(&Head::of(&next), &next), Link::Duplicate);
                head = Head::of(&next);
            }
        }

        #[test]
        fn nothing_is_next_unless_it_names_the_head(
            last in any::<u64>(), first in 1_u64.., more in 0_u64..100, hash in any::<[u8; 32]>(), named in any::<[u8; 32]>()
        ) {
            let head = Head { last, hash };
            let next = header(first, first.saturating_add(more), named);
            let place = link(&head, &next);
            prop_assert_eq!(place == Link::Next, last.checked_add(1) == Some(first) && named == hash);
            prop_assert_eq!(place == Link::Duplicate, next.last <= last);
            if let Link::Gap { from, to } = place {
                prop_assert!(from <= to && from > last && to < first);
            }
        }
    }
}
