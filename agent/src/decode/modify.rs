//! `modify`

use graven_abi::event::modify::Modify;

use super::observed::Event;
use super::tail::Tail;
use super::{DecodeError, outcome_of};

pub(super) fn decode(event: Modify, tail: &mut Tail<'_>) -> Result<Event, DecodeError> {
    let outcome = outcome_of(event.outcome)?;
    Ok(Event::Modify { file: tail.inode(&event.file)?, outcome, command: event.command })
}
