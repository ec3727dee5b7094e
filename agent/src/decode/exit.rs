//! `exit`

use graven_abi::event::exit::Exit;

use super::DecodeError;
use super::observed::Event;
use super::tail::Tail;

pub(super) fn decode(event: Exit, _tail: &mut Tail<'_>) -> Result<Event, DecodeError> {
    Ok(Event::Exit { status: event.status })
}
