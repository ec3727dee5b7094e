//! `tamper`

use graven_abi::event::tamper::Tamper;
use graven_abi::syscalls::op::what;

use super::observed::Event;
use super::tail::Tail;
use super::{DecodeError, outcome_of};

pub(super) fn decode(event: Tamper, _tail: &mut Tail<'_>) -> Result<Event, DecodeError> {
    let operation = match u8::try_from(event.what).unwrap_or_default() {
        what::SIGNAL => "signal",
        what::PTRACE => "ptrace",
        what::MEMORY => "process_vm_writev",
        _ => return Err(DecodeError::Number { field: "act on the agent", value: event.what.into() }),
    };
    Ok(Event::Tamper {
        operation,
        number: event.number,
        target: event.target,
        outcome: outcome_of(event.outcome)?,
    })
}
