//! What the schema grew by after its first version: a record of each later kind, and of each later field.

use graven_record::frame::{Draft, Frame};
use graven_record::id::Lane;
use graven_record::v1::{self, record::Event};

use crate::fixed::{self, BOOT_TIME, Plain, alert, container, file, log, process, subject};

/// Each with the name of its golden JSON.
pub(crate) fn named() -> Vec<(&'static str, v1::Record)> {
    let first = u64::try_from(fixed::records().len()).unwrap() + 1;
    let whole = |((name, entry, call, plain), sequence): ((&'static str, v1::Entry, &str, Plain), u64)| {
        let mut record = fixed::whole(sequence, plain);
        if let Some(source) = &mut record.source {
            source.entry = entry.into();
            source.call = call.into();
        }
        (name, record)
    };
    plain().into_iter().chain(changes()).chain(of_the_sensor()).zip(first..).map(whole).collect()
}

pub(crate) fn records() -> Vec<v1::Record> {
    named().into_iter().map(|(_, record)| record).collect()
}

pub(crate) fn batch() -> v1::Batch {
    v1::Batch { context: Some(fixed::context()), records: records() }
}

pub(crate) fn frame() -> Frame {
    let draft = Draft { starts_run: false, previous: [0x44; 32], ..fixed::draft(Lane::Protected) };
    Frame::seal(&draft, &batch(), &fixed::private(), &fixed::epoch_key()).unwrap()
}

type Named = (&'static str, v1::Entry, &'static str, Plain);

/// Later kinds.
fn plain() -> Vec<Named> {
    let (native, success) = (v1::Entry::Native, i32::from(v1::Outcome::Success));
    let reported = i32::from(v1::Outcome::Reported);
    let someone = || Some(subject());
    let high = || alert(v1::Severity::High, "", "the host itself changes");
    let truncate = v1::Truncate {
        file: Some(v1::File { size: 0, ..file(b"/etc/motd") }),
        outcome: success,
        ..v1::Truncate::default()
    };
    let mmap = v1::Mmap {
        file: Some(v1::File { path_source: v1::PathSource::File.into(), ..file(b"/usr/lib/libc.so.6") }),
        outcome: success,
        executable: true,
    };
    let mount = v1::Mount {
        kind: v1::MountKind::Mount.into(),
        outcome: reported,
        target: Some(v1::File { mode: 0o040_755, ..file(b"/usr/lib") }),
        source: b"tmpfs".into(),
        filesystem: "tmpfs".into(),
        flags: 0x6,
        namespace: 4_026_531_841,
        initial_namespace: true,
    };
    let login =
        v1::Login { before: Some(1001), loginuid: 1000, user: "bob".into(), session: 18, forgeable: true };
    let sshd = v1::Subject { process: Some(process(900, 3, b"/usr/sbin/sshd", b"sshd")), ..subject() };
    let module = v1::Module {
        operation: "load".into(),
        name: b"rootkit".into(),
        file: Some(file(b"/tmp/.x/rootkit \xff.ko")),
        outcome: success,
    };
    let bpf = v1::Bpf {
        command: "prog-load".into(),
        number: 5,
        program_type: "tracing".into(),
        name: b"hide\x1b[2J".into(),
        outcome: success,
    };
    let tamper = v1::Tamper {
        operation: "signal".into(),
        number: 9,
        target: 812,
        outcome: v1::Outcome::Refused.into(),
    };
    vec![
        ("truncate", native, "ftruncate", (someone(), high(), Event::Truncate(truncate))),
        ("mmap", native, "mmap", (someone(), high(), Event::Mmap(mmap))),
        ("mount", native, "mount", (someone(), high(), Event::Mount(mount))),
        ("login", native, "write", (Some(sshd), log(), Event::Login(login))),
        ("module", native, "finit_module", (someone(), high(), Event::Module(module))),
        ("bpf", native, "bpf", (Some(container()), high(), Event::Bpf(bpf))),
        ("tamper", v1::Entry::Compat, "kill", (someone(), high(), Event::Tamper(tamper))),
    ]
}

/// What the agent says of its own sensor.
fn of_the_sensor() -> Vec<Named> {
    let critical = |reason: &str| alert(v1::Severity::Critical, "", reason);
    let (no_call, since) = (v1::Entry::Unspecified, BOOT_TIME - 24_000_000_000);
    let silent = v1::ProbeSilent {
        hook: "sys_exit".into(),
        reason: "its link is closed".into(),
        attached_again: true,
        since,
    };
    let changed = v1::MapChanged {
        map: "MARKS".into(),
        change: "2 marks of the policy's places were missing, added or altered".into(),
        since,
        restored: true,
    };
    let start = v1::Start {
        hooks: vec![v1::Hook {
            name: "sys_exit".into(),
            attached: true,
            canary: v1::Canary::Ran.into(),
            ..v1::Hook::default()
        }],
        witness: "inode-time tracepoints".into(),
        preemption: "PREEMPT_DYNAMIC".into(),
        sensor_hash: vec![0x77; 32],
        late: 17,
        stays: true,
        ..v1::Start::default()
    };
    let paused = v1::Paused { since, lasted: 12_345_678_901 };
    let stopped =
        alert(v1::Severity::High, "", "what found no room in the rings meanwhile is counted as lost");
    let silence = critical("what happened meanwhile may not be in the log");
    vec![
        ("probe_silent", no_call, "", (None, silence, Event::ProbeSilent(silent))),
        (
            "map_changed",
            no_call,
            "",
            (
                None,
                critical("what was left out meanwhile was not for the policy to decide"),
                Event::MapChanged(changed),
            ),
        ),
        ("start-canary", no_call, "", (None, log(), Event::Start(start))),
        ("paused", no_call, "", (None, stopped, Event::Paused(paused))),
    ]
}

/// Later fields of the kinds that were there.
fn changes() -> Vec<Named> {
    let (native, success) = (v1::Entry::Native, i32::from(v1::Outcome::Success));
    let someone = || Some(subject());
    let high = || alert(v1::Severity::High, "system", "only the image's update may change it");
    let named = |path: &[u8]| {
        let path_source = v1::PathSource::Argument.into();
        Some(v1::File { path: path.into(), path_source, ..v1::File::default() })
    };
    let refused =
        v1::Unlink { file: named(b"/usr/bin/sudo"), outcome: v1::Outcome::Refused.into(), folded: 12 };
    let symlink = v1::Create {
        file: Some(v1::File { mode: 0o120_777, ..file(b"/etc/cron.d/job") }),
        outcome: v1::Outcome::Reported.into(),
        kind: v1::CreateKind::Symlink.into(),
        target: b"../../tmp/\xfe job".into(),
        ..v1::Create::default()
    };
    let link = v1::Create {
        file: Some(v1::File { links: 2, ..file(b"/srv/passwords") }),
        outcome: success,
        kind: v1::CreateKind::Link.into(),
        from: Some(v1::File { links: 2, ..file(b"/etc/shadow") }),
        ..v1::Create::default()
    };
    let xattr = v1::Attr {
        file: Some(v1::File { mode: 0o100_755, ..file(b"/usr/bin/vim.basic") }),
        outcome: success,
        kind: v1::AttrKind::Xattr.into(),
        name: b"security.capability".into(),
        ..v1::Attr::default()
    };
    let flags = v1::Attr {
        file: Some(file(b"/etc/cron.d/job")),
        outcome: success,
        kind: v1::AttrKind::Flags.into(),
        flags: 0x10,
        ..v1::Attr::default()
    };
    let script = v1::Exec {
        file: Some(v1::File { mode: 0o100_755, ..file(b"/usr/bin/python3.11") }),
        called_as: b"./install.py".into(),
        before: Some(v1::ExecId { pid: 4242, start: BOOT_TIME - 5_758_000_000, exec: 6 }),
        cwd: b"/tmp/.x".into(),
        script: b"/tmp/.x/install.py".into(),
        ..v1::Exec::default()
    };
    let lost = v1::Lost {
        kind: "protected".into(),
        count: 4711,
        since: BOOT_TIME - 1_000_000_000,
        directory: b"/usr/lib/python3".into(),
        first: BOOT_TIME - 900_000_000,
        last: BOOT_TIME - 100_000_000,
        event: "create".into(),
        ..v1::Lost::default()
    };
    let loss = || alert(v1::Severity::Medium, "", "4711 events were lost: the sensor's ring was full");
    let unknown = v1::Uncovered { entry: v1::Entry::UnknownCall.into(), number: 470 };
    vec![
        ("unlink-folded", native, "unlinkat", (someone(), high(), Event::Unlink(refused))),
        (
            "create-symlink",
            v1::Entry::IoUring,
            "io_uring symlinkat",
            (someone(), high(), Event::Create(symlink)),
        ),
        ("create-link", v1::Entry::X32, "link", (someone(), high(), Event::Create(link))),
        ("attr-xattr", native, "setxattr", (someone(), high(), Event::Attr(xattr))),
        ("attr-flags", native, "ioctl", (someone(), high(), Event::Attr(flags))),
        ("exec-script", native, "execve", (someone(), log(), Event::Exec(script))),
        ("lost-place", v1::Entry::Unspecified, "", (someone(), loss(), Event::Lost(lost))),
        ("uncovered-call", native, "", (someone(), log(), Event::Uncovered(unknown))),
    ]
}
