//! `module`

use graven_abi::event::module::Module;
use graven_abi::path::flag;
use graven_abi::syscalls::op::what;

use super::observed::Event;
use super::tail::Tail;
use super::{DecodeError, outcome_of, until_nul};

pub(super) fn decode(event: Module, tail: &mut Tail<'_>) -> Result<Event, DecodeError> {
    let operation = match u8::try_from(event.what).unwrap_or_default() {
        what::LOAD | what::LOAD_FILE => "load",
        what::UNLOAD => "unload",
        what::KEXEC | what::KEXEC_FILE => "kexec",
        _ => return Err(DecodeError::Number { field: "module's operation", value: event.what.into() }),
    };
    let file = match event.file.path.flags & flag::PRESENT != 0 {
        true => Some(tail.inode(&event.file)?),
        false => None,
    };
    let name = until_nul(tail.take(event.name as usize, "module's name")?).to_vec();
    Ok(Event::Module { operation, name, file, outcome: outcome_of(event.outcome)? })
}
