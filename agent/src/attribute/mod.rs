//! x

use graven_record::v1;

/// An event with the process, the person and the host paths that belong to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Attributed {
    /// CLOCK_BOOTTIME in ns when it happened.
    pub at: u64,
    /// Who did it.
    pub subject: v1::Subject,
    /// Where in the kernel it came from.
    pub source: v1::Source,
    /// What was done, with host paths.
    pub event: v1::record::Event,
    /// Values for private entries; `subject.process.arguments` is 1 + an index into them.
    pub private: Vec<Vec<u8>>,
}
