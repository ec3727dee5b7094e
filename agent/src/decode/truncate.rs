//! `truncate`

use graven_abi::event::truncate::Truncate;

use super::observed::Event;
use super::tail::Tail;
use super::{DecodeError, outcome_of};

pub(super) fn decode(event: Truncate, tail: &mut Tail<'_>) -> Result<Event, DecodeError> {
    Ok(Event::Truncate { file: tail.inode(&event.file)?, outcome: outcome_of(event.outcome)? })
}
