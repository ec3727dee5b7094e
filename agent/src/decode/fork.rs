//! `fork`

use graven_abi::event::fork::Fork;

use super::observed::Event;
use super::tail::Tail;
use super::{DecodeError, exec_id};

pub(super) fn decode(event: Fork, _tail: &mut Tail<'_>) -> Result<Event, DecodeError> {
    Ok(Event::Fork { child: exec_id(event.child) })
}
