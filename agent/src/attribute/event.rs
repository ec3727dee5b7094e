//! The event of a record from what the sensor saw: host paths in, everything else as it was.

use graven_abi::syscalls::ioctl;
use graven_record::v1::{self, Entry, record};

use super::exec::Names;
use super::mounts::Mounts;
use super::place::{file, is_nameless};
use crate::decode::observed::{Cause, Event, ExecId, Observed};

/// The record's event; none for what only feeds the process table. `initial`: the initial mount namespace.
pub(super) fn event(mounts: &Mounts, initial: u32, seen: &Observed) -> Option<record::Event> {
    let file = |inode| Some(file(mounts, inode));
    Some(match &seen.event {
        Event::Open { file: opened, outcome, created, truncated, writable, flags, node_device } => {
            record::Event::Open(v1::Open {
                file: file(opened),
                outcome: (*outcome).into(),
                created: *created,
                truncated: *truncated,
                flags: *flags,
                writable: *writable,
                node_device: *node_device,
                ..v1::Open::default()
            })
        }
        Event::Modify { file: changed, outcome, command } => record::Event::Modify(v1::Modify {
            file: file(changed),
            outcome: (*outcome).into(),
            operation: operation(&seen.cause, *command),
            syscall: if seen.cause.entry == Entry::Native { seen.cause.number } else { -1 },
            via_kernel: seen.task.kernel_thread || seen.task.io_worker,
        }),
        Event::Create { file: made, outcome, kind, from, target } => record::Event::Create(v1::Create {
            file: file(made),
            outcome: (*outcome).into(),
            kind: (*kind).into(),
            from: from.as_ref().and_then(file),
            target: target.clone(),
            ..v1::Create::default()
        }),
        Event::Unlink { file: removed, outcome } => record::Event::Unlink(v1::Unlink {
            file: file(removed),
            outcome: (*outcome).into(),
            ..v1::Unlink::default()
        }),
        Event::Rename { from, to, replaced, exchange, outcome } => record::Event::Rename(v1::Rename {
            from: file(from),
            to: file(to),
            replaced: replaced.as_ref().and_then(file),
            exchange: *exchange,
            outcome: (*outcome).into(),
            ..v1::Rename::default()
        }),
        Event::Attr { file: changed, outcome, kind, mode, new_uid, new_gid, name, flags } => {
            record::Event::Attr(v1::Attr {
                file: file(changed),
                outcome: (*outcome).into(),
                kind: (*kind).into(),
                mode: *mode,
                uid: *new_uid,
                gid: *new_gid,
                name: name.clone(),
                flags: (*flags).into(),
                ..v1::Attr::default()
            })
        }
        Event::Truncate { file: cut, outcome } => record::Event::Truncate(v1::Truncate {
            file: file(cut),
            outcome: (*outcome).into(),
            ..v1::Truncate::default()
        }),
        Event::Mmap { file: mapped, outcome, executable } => record::Event::Mmap(v1::Mmap {
            file: file(mapped),
            outcome: (*outcome).into(),
            executable: *executable,
        }),
        Event::Mount { kind, outcome, target, source, filesystem, flags, namespace } => {
            record::Event::Mount(v1::Mount {
                kind: (*kind).into(),
                outcome: (*outcome).into(),
                target: target.as_ref().and_then(file),
                source: source.clone(),
                filesystem: filesystem.clone(),
                flags: *flags,
                namespace: *namespace,
                initial_namespace: *namespace == initial,
            })
        }
        Event::Module { operation, name, file: from, outcome } => record::Event::Module(v1::Module {
            operation: (*operation).to_owned(),
            name: name.clone(),
            file: from.as_ref().and_then(file),
            outcome: (*outcome).into(),
        }),
        Event::Bpf { command, number, program_type, name, outcome } => record::Event::Bpf(v1::Bpf {
            command: (*command).to_owned(),
            number: *number,
            program_type: (*program_type).to_owned(),
            name: name.clone(),
            outcome: (*outcome).into(),
        }),
        Event::Tamper { operation, number, target, outcome } => record::Event::Tamper(v1::Tamper {
            operation: (*operation).to_owned(),
            number: *number,
            target: *target,
            outcome: (*outcome).into(),
        }),
        Event::Exec { file: program, cwd, called_as, interpreter, arguments, before, .. } => {
            let (memfd, deleted) = is_nameless(mounts, program);
            let program = file(program);
            let names = Names { cwd: mounts.resolve(cwd).path, called_as, interpreter, arguments };
            let exe = program.as_ref().map_or(&[][..], |file| &file.path);
            record::Event::Exec(v1::Exec {
                called_as: called_as.clone(),
                interpreter: names.interpreter(),
                memfd,
                deleted,
                before: Some(exec_id(before)),
                script: names.script(),
                loaded: names.loaded(exe),
                cwd: names.cwd,
                file: program,
            })
        }
        Event::Exit { status } => record::Event::Exit(v1::Exit {
            status: *status,
            lived: seen.at.saturating_sub(seen.task.id.start),
        }),
        Event::Uncovered { entry, number } => {
            record::Event::Uncovered(v1::Uncovered { entry: (*entry).into(), number: *number })
        }
        Event::Fork { .. } => return None,
    })
}

/// The id as it stands in a record.
pub(super) fn exec_id(id: &ExecId) -> v1::ExecId {
    v1::ExecId { pid: id.pid, start: id.start, exec: id.exec }
}

/// The id that a record names.
pub(super) fn observed_id(id: &v1::ExecId) -> ExecId {
    ExecId { pid: id.pid, start: id.start, exec: id.exec }
}

/// What changed an inode outside the operations with a kind of their own: the family of the call, "unknown" for
/// one that no table lists.
fn operation(cause: &Cause, command: u32) -> String {
    let family = match cause.name {
        "write" | "pwrite64" | "writev" | "pwritev" | "pwritev2" | "write_fixed" | "writev_fixed" => "write",
        "sendfile64" => "sendfile",
        "mmap2" => "mmap",
        "" if cause.entry == Entry::Native => unlisted(cause.number),
        "" if cause.entry == Entry::IoUring => "io_uring",
        "" => "unknown",
        name => name,
    };
    let way = if cause.entry == Entry::IoUring && family != "io_uring" { Some("io_uring") } else { None };
    let command = ioctl::name(command).filter(|_| matches!(family, "ioctl" | "uring_cmd" | "uring_cmd128"));
    let words: Vec<&str> = way.into_iter().chain([family]).chain(command).collect();
    words.join(" ")
}

/// Native calls that no table lists because the inodes tell of them (x86-64).
fn unlisted(number: i32) -> &'static str {
    match number {
        10 | 11 | 25 | 26 | 28 | 216 => "mmap",
        74 | 75 | 162 | 277 | 306 => "sync",
        209 => "io_submit",
        278 => "vmsplice",
        _ => "unknown",
    }
}
