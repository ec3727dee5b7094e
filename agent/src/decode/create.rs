//! `create`

use graven_abi::event::create::Create;

use super::observed::Event;
use super::tail::Tail;
use super::{DecodeError, outcome_of};

pub(super) fn decode(event: Create, tail: &mut Tail<'_>) -> Result<Event, DecodeError> {
    Ok(Event::Create { file: tail.inode(&event.file)?, outcome: outcome_of(event.outcome)? })
}
