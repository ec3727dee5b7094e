//! `mount`

use graven_abi::event::mount::Mount;
use graven_abi::path::flag;
use graven_abi::syscalls::op::what;
use graven_record::v1::MountKind;

use super::observed::Event;
use super::tail::Tail;
use super::{DecodeError, outcome_of, until_nul};

/// Flags of mount(2): MS_REMOUNT, MS_BIND, MS_MOVE, and those that set how mounts spread.
const REMOUNT: u64 = 1 << 5;
const BIND: u64 = 1 << 12;
const MOVE: u64 = 1 << 13;
const PROPAGATION: u64 = 1 << 17 | 1 << 18 | 1 << 19 | 1 << 20;

pub(super) fn decode(event: Mount, tail: &mut Tail<'_>) -> Result<Event, DecodeError> {
    let kind = match u8::try_from(event.what).unwrap_or_default() {
        what::MOUNT => of_flags(event.flags),
        what::UNMOUNT => MountKind::Unmount,
        what::PIVOT_ROOT => MountKind::PivotRoot,
        what::MOVE => MountKind::Move,
        what::ATTRIBUTES => MountKind::Attributes,
        what::RECONFIGURE => MountKind::Reconfigure,
        what::SWAP_ON => MountKind::SwapOn,
        what::SWAP_OFF => MountKind::SwapOff,
        what::ACCOUNTING => MountKind::Accounting,
        _ => return Err(DecodeError::Number { field: "kind of mount", value: event.what.into() }),
    };
    let target = match event.target.path.flags & flag::PRESENT != 0 {
        true => Some(tail.inode(&event.target)?),
        false => None,
    };
    let source = until_nul(tail.take(event.source.into(), "source")?).to_vec();
    let filesystem = until_nul(tail.take(event.filesystem.into(), "file system")?);
    Ok(Event::Mount {
        kind,
        outcome: outcome_of(event.outcome)?,
        target,
        source,
        filesystem: String::from_utf8_lossy(filesystem).into_owned(),
        flags: event.flags,
        namespace: event.namespace,
    })
}

/// In the order in which path_mount asks (fs/namespace.c).
fn of_flags(flags: u64) -> MountKind {
    match flags {
        _ if flags & REMOUNT != 0 => MountKind::Remount,
        _ if flags & BIND != 0 => MountKind::Bind,
        _ if flags & PROPAGATION != 0 => MountKind::Propagation,
        _ if flags & MOVE != 0 => MountKind::Move,
        _ => MountKind::Mount,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bind_remount_is_a_remount_and_a_plain_one_a_mount() {
        assert_eq!(of_flags(REMOUNT | BIND | 1), MountKind::Remount);
        assert_eq!(of_flags(BIND | 1 << 14), MountKind::Bind);
        assert_eq!(of_flags(1 << 18 | 1 << 14), MountKind::Propagation);
        assert_eq!(of_flags(1), MountKind::Mount);
    }
}
