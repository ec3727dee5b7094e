//! `rename`

use graven_abi::event::rename::{EXCHANGE, Rename};
use graven_abi::path::flag;

use super::observed::Event;
use super::tail::Tail;
use super::{DecodeError, outcome_of};

pub(super) fn decode(event: Rename, tail: &mut Tail<'_>) -> Result<Event, DecodeError> {
    let from = tail.inode(&event.from)?;
    let to = tail.name(&event.to, &event.from, &from)?;
    let replaced = match event.replaced.path.flags & flag::PRESENT != 0 {
        true => Some(tail.inode(&event.replaced)?),
        false => None,
    };
    let exchange = event.flags & EXCHANGE != 0;
    Ok(Event::Rename { from, to, replaced, exchange, outcome: outcome_of(event.outcome)? })
}
