//! `attr`

use graven_abi::event::attr::Attr;
use graven_abi::syscalls::op::what;
use graven_record::v1::AttrKind;

use super::observed::Event;
use super::tail::Tail;
use super::{DecodeError, outcome_of, until_nul};

pub(super) fn decode(event: Attr, tail: &mut Tail<'_>) -> Result<Event, DecodeError> {
    let kind = match u8::try_from(event.what).unwrap_or_default() {
        what::MODE => AttrKind::Mode,
        what::OWNER => AttrKind::Owner,
        what::TIMES => AttrKind::Times,
        what::XATTR => AttrKind::Xattr,
        what::XATTR_REMOVED => AttrKind::XattrRemoved,
        what::FLAGS => AttrKind::Flags,
        _ => return Err(DecodeError::Number { field: "attribute", value: event.what.into() }),
    };
    let asked = |value: u32| (value != u32::MAX && kind == AttrKind::Owner).then_some(value);
    let file = tail.inode(&event.file)?;
    let name = tail.take(event.name as usize, "attribute's name")?;
    Ok(Event::Attr {
        file,
        outcome: outcome_of(event.outcome)?,
        kind,
        mode: (kind == AttrKind::Mode).then_some(event.mode),
        new_uid: asked(event.uid),
        new_gid: asked(event.gid),
        name: until_nul(name).to_vec(),
        flags: event.flags,
    })
}
