//! What was judged: the output of `policy` and the input of `seal`.

use graven_record::id::Lane;
use graven_record::v1;

/// A record with its verdict, not yet numbered nor dated.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// `sequence` and `time` are 0 until it is sealed.
    pub record: v1::Record,
    /// The stream that it goes into.
    pub lane: Lane,
    /// Values for private entries; `Process.arguments` is 1 + an index into them.
    pub private: Vec<Vec<u8>>,
}
