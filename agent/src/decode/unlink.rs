//! `unlink`

use graven_abi::event::unlink::Unlink;

use super::observed::Event;
use super::tail::Tail;
use super::{DecodeError, outcome_of};

pub(super) fn decode(event: Unlink, tail: &mut Tail<'_>) -> Result<Event, DecodeError> {
    Ok(Event::Unlink { file: tail.inode(&event.file)?, outcome: outcome_of(event.outcome)? })
}
