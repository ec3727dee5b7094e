//! `exec`

use graven_abi::event::exec::Exec;

use super::observed::Event;
use super::tail::Tail;
use super::{DecodeError, exec_id, until_nul};

pub(super) fn decode(event: Exec, tail: &mut Tail<'_>) -> Result<Event, DecodeError> {
    let file = tail.inode(&event.file)?;
    let cwd = tail.path(&event.cwd)?;
    let called_as = tail.take(event.called_as.into(), "file name")?;
    let interpreter = tail.take(event.interpreter.into(), "interpreter")?;
    let arguments = tail.take(event.arguments as usize, "arguments")?;
    Ok(Event::Exec {
        file,
        cwd,
        called_as: until_nul(called_as).to_vec(),
        interpreter: until_nul(interpreter).to_vec(),
        arguments: arguments.to_vec(),
        arguments_cut: event.arguments_cut != 0,
        before: exec_id(event.before),
    })
}
