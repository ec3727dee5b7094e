//! `uncovered`

use graven_abi::event::uncovered::Uncovered;
use graven_abi::event::uncovered::entry;
use graven_record::v1::Entry;

use super::DecodeError;
use super::observed::Event;
use super::tail::Tail;

pub(super) fn decode(event: Uncovered, _tail: &mut Tail<'_>) -> Result<Event, DecodeError> {
    let entry = match event.entry {
        entry::COMPAT => Entry::Compat,
        entry::X32 => Entry::X32,
        entry::IO_URING => Entry::IoUring,
        other => return Err(DecodeError::Number { field: "entry", value: other.into() }),
    };
    Ok(Event::Uncovered { entry })
}
