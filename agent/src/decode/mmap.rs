//! `mmap`

use graven_abi::event::mmap::Mmap;

use super::observed::Event;
use super::tail::Tail;
use super::{DecodeError, outcome_of};

/// PROT_EXEC of mmap(2).
const PROT_EXEC: u32 = 4;

pub(super) fn decode(event: Mmap, tail: &mut Tail<'_>) -> Result<Event, DecodeError> {
    Ok(Event::Mmap {
        file: tail.inode(&event.file)?,
        outcome: outcome_of(event.outcome)?,
        executable: event.protection & PROT_EXEC != 0,
    })
}
