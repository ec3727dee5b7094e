//! Bytes of a ring to values.
//!
//! In: [`Raw`]. Out: [`Observed`]. Always: any bytes at all give a value or an error, never a panic; numbers
//! become enums here and nowhere else. Never: looks anything up. A record that cannot be read is counted as
//! lost (`undecodable`) by the caller.
//!
//! One file a kind, of the same name as the hook and the layout.

pub mod observed;

mod tail;
mod open;
mod modify;
mod create;
mod unlink;
mod rename;
mod attr;
mod truncate;
mod mmap;
mod mount;
mod module;
mod bpf;
mod tamper;
mod exec;
mod fork;
mod exit;
mod uncovered;

use graven_abi::event::outcome;
use graven_abi::header::{ABI_VERSION, ExecKey, Header, kind, ring, task_flag};
use graven_abi::syscalls::{self, entry};
use graven_record::v1::{Entry, Outcome, Ring};
use zerocopy::FromBytes;

use crate::sensor::{Overflow, Raw};
use observed::{Cause, DentryPath, Event, ExecId, Lost, Observed, Task};
use tail::Tail;

/// What is wrong with a record.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Shorter than its kind.
    #[error("the record has {have} bytes, its kind needs {need}")]
    Short {
        /// Bytes there.
        have: usize,
        /// Bytes needed.
        need: usize,
    },
    /// Written by another sensor.
    #[error("the record is of sensor version {0}, this agent reads {ABI_VERSION}")]
    Version(u16),
    /// A number that has no meaning.
    #[error("the record's {field} is {value}, which means nothing")]
    Number {
        /// Which field.
        field: &'static str,
        /// What stands there.
        value: u64,
    },
    /// The parts of the tail do not add up.
    #[error("the record's tail does not hold its {0}")]
    Tail(&'static str),
}

/// Reads one record.
pub fn decode(raw: &Raw) -> Result<Observed, DecodeError> {
    let (header, rest) = fixed::<Header>(&raw.0)?;
    if header.abi != ABI_VERSION {
        return Err(DecodeError::Version(header.abi));
    }
    Ok(Observed {
        at: header.time,
        cpu: header.cpu.into(),
        cause: cause(&header)?,
        ring: ring_of(header.ring)?,
        sequence: header.sequence,
        task: task(&header.task),
        event: event(&header, rest)?,
    })
}

/// A row of what found no room.
pub fn overflow(lost: &Overflow) -> Result<Lost, DecodeError> {
    let length = lost.row.length as usize;
    let name = lost.row.name.get(..length).ok_or(DecodeError::Tail("directory"))?;
    let directory = (lost.key.directory != 0).then(|| DentryPath {
        device: lost.key.device.into(),
        names: DentryPath::turned(name),
        cut: lost.row.cut != 0,
        ..DentryPath::default()
    });
    Ok(Lost {
        task: task(&lost.row.task),
        ring: ring_of(u8::try_from(lost.key.ring).unwrap_or_default())?,
        event: word(lost.key.kind),
        directory,
        count: lost.row.count,
        first: lost.row.first,
        last: lost.row.last,
    })
}

/// The word of a kind.
fn word(number: u16) -> &'static str {
    match number {
        kind::OPEN => "open",
        kind::MODIFY => "modify",
        kind::CREATE => "create",
        kind::UNLINK => "unlink",
        kind::RENAME => "rename",
        kind::ATTR => "attr",
        kind::EXEC => "exec",
        kind::FORK => "fork",
        kind::EXIT => "exit",
        kind::UNCOVERED => "uncovered",
        kind::TRUNCATE => "truncate",
        kind::MMAP => "mmap",
        kind::MOUNT => "mount",
        kind::MODULE => "module",
        kind::BPF => "bpf",
        kind::TAMPER => "tamper",
        _ => "",
    }
}

fn event(header: &Header, bytes: &[u8]) -> Result<Event, DecodeError> {
    let length = header.tail as usize;
    match header.kind {
        kind::OPEN => part(bytes, length, open::decode),
        kind::MODIFY => part(bytes, length, modify::decode),
        kind::CREATE => part(bytes, length, create::decode),
        kind::UNLINK => part(bytes, length, unlink::decode),
        kind::RENAME => part(bytes, length, rename::decode),
        kind::ATTR => part(bytes, length, attr::decode),
        kind::EXEC => part(bytes, length, exec::decode),
        kind::FORK => part(bytes, length, fork::decode),
        kind::EXIT => part(bytes, length, exit::decode),
        kind::UNCOVERED => part(bytes, length, uncovered::decode),
        kind::TRUNCATE => part(bytes, length, truncate::decode),
        kind::MMAP => part(bytes, length, mmap::decode),
        kind::MOUNT => part(bytes, length, mount::decode),
        kind::MODULE => part(bytes, length, module::decode),
        kind::BPF => part(bytes, length, bpf::decode),
        kind::TAMPER => part(bytes, length, tamper::decode),
        other => Err(DecodeError::Number { field: "kind", value: other.into() }),
    }
}

/// Splits the fixed part of a kind from its tail and decodes both.
fn part<E: FromBytes>(
    bytes: &[u8],
    length: usize,
    decode: impl FnOnce(E, &mut Tail<'_>) -> Result<Event, DecodeError>,
) -> Result<Event, DecodeError> {
    let (event, rest) = fixed::<E>(bytes)?;
    let tail = rest.get(..length).ok_or(DecodeError::Short { have: rest.len(), need: length })?;
    decode(event, &mut Tail(tail))
}

fn fixed<T: FromBytes>(bytes: &[u8]) -> Result<(T, &[u8]), DecodeError> {
    T::read_from_prefix(bytes).map_err(|_| DecodeError::Short { have: bytes.len(), need: size_of::<T>() })
}

fn ring_of(number: u8) -> Result<Ring, DecodeError> {
    match number {
        ring::LIFE => Ok(Ring::Life),
        ring::PROTECTED => Ok(Ring::Protected),
        ring::ACTIVITY => Ok(Ring::Activity),
        _ => Err(DecodeError::Number { field: "ring", value: number.into() }),
    }
}

fn cause(header: &Header) -> Result<Cause, DecodeError> {
    let entry = match header.entry {
        entry::NONE => Entry::Unspecified,
        entry::NATIVE => Entry::Native,
        entry::COMPAT => Entry::Compat,
        entry::X32 => Entry::X32,
        entry::IO_URING => Entry::IoUring,
        other => return Err(DecodeError::Number { field: "way into the kernel", value: other.into() }),
    };
    let name = syscalls::name(header.entry, header.call);
    Ok(Cause {
        entry,
        number: header.call.into(),
        name: name.unwrap_or_default(),
        error: header.error.into(),
    })
}

fn outcome_of(number: u32) -> Result<Outcome, DecodeError> {
    match number {
        outcome::SUCCESS => Ok(Outcome::Success),
        outcome::REPORTED => Ok(Outcome::Reported),
        outcome::REFUSED => Ok(Outcome::Refused),
        _ => Err(DecodeError::Number { field: "outcome", value: number.into() }),
    }
}

fn exec_id(key: ExecKey) -> ExecId {
    ExecId { pid: key.pid, start: key.start, exec: key.exec }
}

fn task(task: &graven_abi::header::Task) -> Task {
    let set = |value: u32| (value != u32::MAX).then_some(value);
    Task {
        id: exec_id(task.id),
        parent: exec_id(task.parent),
        tid: task.tid,
        uid: task.uid,
        gid: task.gid,
        euid: task.euid,
        egid: task.egid,
        fsuid: task.fsuid,
        loginuid: set(task.loginuid),
        session: set(task.session),
        tty: String::from_utf8_lossy(until_nul(&task.tty)).into_owned(),
        comm: until_nul(&task.comm).to_vec(),
        exe_device: task.exe_device.into(),
        exe_inode: task.exe_inode,
        cgroup: task.cgroup,
        kernel_thread: task.flags & task_flag::KERNEL_THREAD != 0,
        io_worker: task.flags & task_flag::IO_WORKER != 0,
    }
}

/// The bytes before the first NUL.
fn until_nul(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    &bytes[..end]
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;
    use graven_abi::event::exit::Exit;
    use proptest::prelude::*;
    use zerocopy::IntoBytes;

    fn header(kind: u16, tail: u32) -> Header {
        Header { abi: ABI_VERSION, kind, tail, time: 7, ring: ring::LIFE, ..Header::default() }
    }

    #[test]
    fn an_exit_is_read() {
        let exit = Exit { status: 256, padding: 0 };
        let bytes = [header(kind::EXIT, 0).as_bytes(), exit.as_bytes()].concat();
        let observed = decode(&Raw(bytes.into())).unwrap();
        assert_eq!(observed.event, Event::Exit { status: 256 });
        assert_eq!(observed.at, 7);
    }

    #[test]
    fn another_sensors_record_is_refused_by_version() {
        let bytes = Header { abi: 9, ..header(kind::EXIT, 0) };
        let error = decode(&Raw(bytes.as_bytes().to_vec().into())).unwrap_err();
        assert_eq!(error, DecodeError::Version(9));
    }

    #[test]
    fn a_tail_longer_than_the_record_is_refused() {
        let bytes = [header(kind::EXIT, 5).as_bytes(), &[0; 8]].concat();
        assert!(matches!(decode(&Raw(bytes.into())), Err(DecodeError::Short { need: 5, .. })));
    }

    proptest! {
        #[test]
        fn no_bytes_at_all_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
            drop(decode(&Raw(bytes.into())));
        }

        #[test]
        fn no_body_behind_a_sound_header_makes_it_panic(
            kind in 0_u16..14, tail in 0_u32..600, body in prop::collection::vec(any::<u8>(), 0..900),
        ) {
            let bytes = [header(kind, tail).as_bytes(), &body].concat();
            drop(decode(&Raw(bytes.into())));
        }
    }
}
