//! `attr`

use graven_abi::event::attr::Attr;

use super::observed::Event;
use super::tail::Tail;
use super::{DecodeError, outcome_of};

/// `Attr::what` of chmod.
const MODE: u32 = 1;

pub(super) fn decode(event: Attr, tail: &mut Tail<'_>) -> Result<Event, DecodeError> {
    let asked = |value: u32| (value != u32::MAX).then_some(value);
    Ok(Event::Attr {
        file: tail.inode(&event.file)?,
        outcome: outcome_of(event.outcome)?,
        mode: (event.what == MODE).then_some(event.mode),
        new_uid: asked(event.uid).filter(|_| event.what != MODE),
        new_gid: asked(event.gid).filter(|_| event.what != MODE),
    })
}
