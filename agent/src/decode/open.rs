//! `open`

use graven_abi::event::open::Open;

use super::observed::Event;
use super::tail::Tail;
use super::{DecodeError, outcome_of};

/// FMODE_WRITE of `f_mode` (include/linux/fs.h).
const FMODE_WRITE: u32 = 2;
/// FMODE_CREATED of `f_mode`.
const FMODE_CREATED: u32 = 0x10_0000;

pub(super) fn decode(event: Open, tail: &mut Tail<'_>) -> Result<Event, DecodeError> {
    Ok(Event::Open {
        file: tail.inode(&event.file)?,
        outcome: outcome_of(event.outcome)?,
        created: event.mode & FMODE_CREATED != 0,
        truncated: event.truncated != 0,
        writable: event.mode & FMODE_WRITE != 0,
        flags: event.flags,
        node_device: event.device.into(),
    })
}
