//! `modify`

use graven_abi::event::modify::Modify;

use super::DecodeError;
use super::observed::Event;
use super::tail::Tail;

pub(super) fn decode(event: Modify, tail: &mut Tail<'_>) -> Result<Event, DecodeError> {
    Ok(Event::Modify { file: tail.inode(&event.file)?, command: event.command })
}
