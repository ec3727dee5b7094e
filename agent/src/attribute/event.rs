//! The event of a record from what the sensor saw: host paths in, everything else as it was.

use graven_record::v1::{self, AttrKind, record};

use super::mounts::Mounts;
use super::place::{file, is_nameless};
use crate::decode::observed::{Event, ExecId, Observed};

/// The record's event; none for what only feeds the process table.
pub(super) fn event(mounts: &Mounts, seen: &Observed) -> Option<record::Event> {
    let file = |inode| Some(file(mounts, inode));
    Some(match &seen.event {
        Event::Open { file: opened, outcome, created, truncated, writable, flags } => {
            record::Event::Open(v1::Open {
                file: file(opened),
                outcome: (*outcome).into(),
                created: *created,
                truncated: *truncated,
                flags: *flags,
                writable: *writable,
                ..v1::Open::default()
            })
        }
        Event::Modify { file: changed, syscall } => record::Event::Modify(v1::Modify {
            file: file(changed),
            operation: operation(*syscall).to_owned(),
            syscall: *syscall,
            via_kernel: seen.task.kernel_thread || seen.task.io_worker,
        }),
        Event::Create { file: made, outcome } => record::Event::Create(v1::Create {
            file: file(made),
            outcome: (*outcome).into(),
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
        Event::Attr { file: changed, outcome, mode, new_uid, new_gid } => record::Event::Attr(v1::Attr {
            file: file(changed),
            outcome: (*outcome).into(),
            kind: if mode.is_some() { AttrKind::Mode } else { AttrKind::Owner }.into(),
            mode: *mode,
            uid: *new_uid,
            gid: *new_gid,
            ..v1::Attr::default()
        }),
        Event::Exec { file: program, called_as, before, .. } => {
            let (memfd, deleted) = is_nameless(mounts, program);
            record::Event::Exec(v1::Exec {
                file: file(program),
                called_as: called_as.clone(),
                memfd,
                deleted,
                before: Some(exec_id(before)),
                ..v1::Exec::default()
            })
        }
        Event::Exit { status } => record::Event::Exit(v1::Exit {
            status: *status,
            lived: seen.at.saturating_sub(seen.task.id.start),
        }),
        Event::Uncovered { entry } => {
            record::Event::Uncovered(v1::Uncovered { entry: (*entry).into(), ..v1::Uncovered::default() })
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

/// Calls that change content or metadata without a record kind of their own yet; "unknown" otherwise.
#[cfg(target_arch = "x86_64")]
fn operation(syscall: i32) -> &'static str {
    match syscall {
        1 | 18 | 20 | 296 | 328 => "write",
        9 | 11 | 26 | 28 => "mmap",
        16 => "ioctl",
        40 => "sendfile",
        74 | 75 => "fsync",
        76 | 77 => "truncate",
        86 | 265 => "link",
        88 | 266 => "symlink",
        132 | 235 | 261 | 280 => "utime",
        133 | 259 => "mknod",
        188..=190 | 463 => "setxattr",
        197..=199 | 466 => "removexattr",
        275 => "splice",
        278 => "vmsplice",
        285 => "fallocate",
        326 => "copy_file_range",
        _ => "unknown",
    }
}

/// No table for this machine: the number stands for itself.
#[cfg(not(target_arch = "x86_64"))]
fn operation(_: i32) -> &'static str {
    "unknown"
}
