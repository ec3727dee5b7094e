//! `uncovered`

use graven_abi::event::uncovered::{Uncovered, entry};
use graven_record::v1::Entry;

use super::DecodeError;
use super::observed::Event;
use super::tail::Tail;

pub(super) fn decode(event: Uncovered, _tail: &mut Tail<'_>) -> Result<Event, DecodeError> {
    match event.entry {
        entry::UNKNOWN_CALL => Ok(Event::Uncovered { entry: Entry::UnknownCall, number: event.number }),
        entry::IO_URING => Ok(Event::Uncovered { entry: Entry::IoUring, number: event.number }),
        other => Err(DecodeError::Number { field: "entry", value: other.into() }),
    }
}
