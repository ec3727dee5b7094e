//! `create`

use graven_abi::event::create::Create;
use graven_abi::path::flag;
use graven_abi::syscalls::op::what;
use graven_record::v1::CreateKind;

use super::observed::Event;
use super::tail::Tail;
use super::{DecodeError, outcome_of, until_nul};

pub(super) fn decode(event: Create, tail: &mut Tail<'_>) -> Result<Event, DecodeError> {
    let kind = match u8::try_from(event.what).unwrap_or_default() {
        what::DIRECTORY => CreateKind::Directory,
        what::NODE => CreateKind::Node,
        what::SYMLINK => CreateKind::Symlink,
        what::LINK => CreateKind::Link,
        what::SOCKET => CreateKind::Socket,
        what::PIN => CreateKind::Pin,
        what::FILE => CreateKind::File,
        _ => return Err(DecodeError::Number { field: "kind of name", value: event.what.into() }),
    };
    let file = tail.inode(&event.file)?;
    let from = match event.from.path.flags & flag::PRESENT != 0 {
        true => Some(tail.inode(&event.from)?),
        false => None,
    };
    // What had no name before is no second one: an O_TMPFILE that is linked in.
    let unnamed = kind == CreateKind::Link && event.from.path.flags & flag::UNHASHED != 0;
    let (kind, from) = if unnamed { (CreateKind::File, None) } else { (kind, from) };
    let target = tail.take(event.target as usize, "link's text")?;
    Ok(Event::Create {
        file,
        outcome: outcome_of(event.outcome)?,
        kind,
        from,
        target: until_nul(target).to_vec(),
    })
}
