//! `modify`

use graven_abi::event::modify::Modify;

use super::observed::Event;
use super::tail::Tail;
use super::DecodeError;

pub(super) fn decode(event: Modify, tail: &mut Tail<'_>) -> Result<Event, DecodeError> {
    Ok(Event::Modify { file: tail.inode(&event.file)?, syscall: event.syscall })
}
