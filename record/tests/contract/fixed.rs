//! Inputs that never change: one record of each kind of the first schema, and what a frame needs.

use ed25519_dalek::SigningKey;
use graven_record::epoch;
use graven_record::event;
use graven_record::frame::{Draft, Frame};
use graven_record::id::{BootId, HostId, Lane, RunId};
use graven_record::ocsf::{self, Envelope};
use graven_record::text::{self, Line};
use graven_record::v1::{self, record::Event};
use serde_json::Value;

use crate::grown;

/// The moment of the first record, by both clocks.
pub(crate) const WALL: u64 = 1_795_305_601_123_456_789;
pub(crate) const BOOT_TIME: u64 = 81_234_567_890;
pub(crate) const BOOT: BootId =
    BootId([0x0d, 0x4c, 0x1c, 0x0e, 0x2f, 0x8b, 0x4a, 0x1d, 0x8d, 0x3e, 0x3f, 0x1f, 0x3f, 0x6a, 0x2b, 0x11]);
pub(crate) const RUN: RunId = RunId([0x33; 16]);
const DEVICE: u64 = 259 << 20 | 1;

pub(crate) fn start_key() -> SigningKey {
    SigningKey::from_bytes(&[0x11; 32])
}

pub(crate) fn epoch_key() -> SigningKey {
    SigningKey::from_bytes(&[0x22; 32])
}

pub(crate) fn host() -> HostId {
    HostId::of_key(&start_key().verifying_key().to_bytes())
}

pub(crate) fn context() -> v1::Context {
    v1::Context {
        hostname: "web-7f3a".into(),
        kernel: "6.1.0-18-cloud-amd64".into(),
        agent_version: "0.1.0".into(),
        mode: v1::Mode::Syscall.into(),
        image: Some(v1::Image {
            id: "web-golden".into(),
            version: "2026.11.2".into(),
            commit: "9f2c1e7".into(),
        }),
        policy: Some(policy("2026.11.2")),
        machine_id: "3e4d7e7622076540a54d51f92ce9299a".into(),
        os_name: "Debian GNU/Linux 12 (bookworm)".into(),
    }
}

fn policy(version: &str) -> v1::Policy {
    v1::Policy {
        name: "golden-debian-web".into(),
        version: version.into(),
        commit: "4be1c90".into(),
        hash: vec![0x77; 32],
        trust: v1::Trust::Image.into(),
    }
}

pub(crate) fn process(pid: u32, exec: u32, exe: &[u8], comm: &[u8]) -> v1::Process {
    v1::Process {
        id: Some(v1::ExecId { pid, start: BOOT_TIME - u64::from(10_000 - pid) * 1_000_000, exec }),
        exe: exe.to_vec().into(),
        comm: comm.to_vec().into(),
        exe_device: DEVICE,
        exe_inode: 1000 + u64::from(pid),
        kernel_thread: false,
        arguments: 0,
        arguments_cut: false,
    }
}

pub(crate) fn subject() -> v1::Subject {
    v1::Subject {
        process: Some(v1::Process { arguments: 1, ..process(4242, 7, b"/usr/bin/vim.basic", b"vim.basic") }),
        thread: 4242,
        ancestors: vec![
            process(4200, 6, b"/usr/bin/sudo", b"sudo"),
            process(4100, 5, b"/usr/bin/bash", b"bash"),
            process(800, 2, b"/usr/sbin/sshd", b"sshd"),
            process(1, 1, b"/usr/lib/systemd/systemd", b"systemd"),
        ],
        uid: 0,
        gid: 0,
        euid: 0,
        egid: 0,
        user: "root".into(),
        effective_user: "root".into(),
        loginuid: Some(1001),
        login_user: "alice".into(),
        session: Some(17),
        tty: "pts/0".into(),
        cgroup: "/user.slice/user-1001.slice/session-17.scope".into(),
        session_scope: "session-17.scope".into(),
        origin: v1::Origin::Ssh.into(),
        person: Some(v1::Person {
            name: "alice".into(),
            evidence: v1::Evidence::Loginuid.into(),
            forgeable: false,
            reason: "loginuid 1001, set by sshd".into(),
        }),
        ..v1::Subject::default()
    }
}

pub(crate) fn container() -> v1::Subject {
    v1::Subject {
        process: Some(v1::Process {
            arguments: 3,
            arguments_cut: true,
            ..process(5000, 2, b"/app/server", b"server")
        }),
        thread: 5001,
        ancestors: vec![process(4900, 1, b"/usr/bin/containerd-shim-runc-v2", b"containerd-shim")],
        uid: 33,
        gid: 33,
        euid: 33,
        egid: 33,
        user: "www-data".into(),
        effective_user: "www-data".into(),
        cgroup: "/system.slice/docker-7c5e.scope".into(),
        unit: "docker-7c5e.scope".into(),
        container: "7c5e0123456789ab7c5e0123456789ab7c5e0123456789ab7c5e0123456789ab".into(),
        container_runtime: "docker".into(),
        origin: v1::Origin::Container.into(),
        person: Some(v1::Person {
            reason: "no person: container 7c5e".into(),
            evidence: v1::Evidence::None.into(),
            ..v1::Person::default()
        }),
        ..v1::Subject::default()
    }
}

fn kernel() -> v1::Subject {
    let thread = v1::Process {
        kernel_thread: true,
        exe_device: 0,
        exe_inode: 0,
        ..process(35, 0, b"", b"kworker/u4:2")
    };
    v1::Subject {
        process: Some(thread),
        thread: 35,
        user: "root".into(),
        origin: v1::Origin::Kernel.into(),
        ..v1::Subject::default()
    }
}

pub(crate) fn file(path: &[u8]) -> v1::File {
    v1::File {
        path: path.into(),
        path_source: v1::PathSource::Inode.into(),
        device: DEVICE,
        inode: 131_077,
        generation: 42,
        mode: 0o100_644,
        uid: 0,
        gid: 0,
        size: 2412,
        links: 1,
        aliases: Vec::new(),
        cut: false,
        filesystem: "ext4".into(),
    }
}

fn counters() -> v1::Counters {
    v1::Counters { seen: 120, stored: 15, lost: 42, ignored: 7, unrecorded: 63, ..v1::Counters::default() }
}

fn epoch_start() -> v1::EpochStart {
    let statement = v1::EpochStatement {
        host: host().0.into(),
        boot: BOOT.0.into(),
        run: RUN.0.into(),
        epoch: 1,
        key: epoch_key().verifying_key().to_bytes().into(),
        reason: "start".into(),
        wall_time: WALL,
        boot_time: BOOT_TIME,
        protected_head: vec![0; 32],
        activity_head: vec![0; 32],
        ..v1::EpochStatement::default()
    };
    epoch::certify(&statement, &start_key())
}

pub(crate) fn alert(severity: v1::Severity, rule: &str, reason: &str) -> Option<v1::Verdict> {
    Some(v1::Verdict {
        decision: v1::Decision::Alert.into(),
        severity: severity.into(),
        rule: rule.into(),
        reason: reason.into(),
    })
}

pub(crate) fn log() -> Option<v1::Verdict> {
    Some(v1::Verdict {
        decision: v1::Decision::Log.into(),
        severity: v1::Severity::Info.into(),
        rule: String::new(),
        reason: String::new(),
    })
}

/// One record of each kind of the first schema, in its order behind the epoch's start, which stands first in a run.
pub(crate) fn records() -> Vec<v1::Record> {
    let success = i32::from(v1::Outcome::Success);
    let etc = || alert(v1::Severity::High, "configuration", "only cloud-init at boot may change it");
    let open = v1::Open {
        file: Some(file(b"/etc/nginx/nginx.conf")),
        outcome: success,
        truncated: true,
        flags: 0o1001,
        writable: true,
        ..v1::Open::default()
    };
    let modify = v1::Modify {
        file: Some(file(b"/etc/motd")),
        operation: "unknown".into(),
        syscall: -1,
        via_kernel: true,
        // As in the first releases.
        outcome: v1::Outcome::Unspecified.into(),
    };
    let create = v1::Create {
        file: Some(v1::File { mode: 0o040_755, ..file(b"/etc/nginx/snippets \xff\\") }),
        outcome: success,
        ..v1::Create::default()
    };
    let unlink = v1::Unlink {
        file: Some(file(b"/etc/\x1b]0;owned\x07\xe2\x80\xaehosts")),
        outcome: v1::Outcome::Refused.into(),
        ..v1::Unlink::default()
    };
    let rename = v1::Rename {
        from: Some(file(b"/etc/.motd.swp")),
        to: Some(file(b"/etc/motd")),
        replaced: Some(v1::File { inode: 9, aliases: vec![b"/srv/etc/motd".into()], ..file(b"/etc/motd") }),
        outcome: success,
        ..v1::Rename::default()
    };
    let attr = v1::Attr {
        file: Some(v1::File { path_source: v1::PathSource::Argument.into(), ..file(b"/usr/bin/find") }),
        outcome: v1::Outcome::Reported.into(),
        kind: v1::AttrKind::Mode.into(),
        mode: Some(0o4755),
        ..v1::Attr::default()
    };
    let exec = v1::Exec {
        file: Some(v1::File { mode: 0o100_755, ..file(b"/tmp/.x/kd") }),
        called_as: b"./kd".into(),
        deleted: true,
        before: Some(v1::ExecId { pid: 4242, start: BOOT_TIME - 5_758_000_000, exec: 6 }),
        ..v1::Exec::default()
    };
    let exec_subject = v1::Subject {
        process: Some(v1::Process { arguments: 2, ..process(4242, 7, b"/tmp/.x/kd", b"kd") }),
        ..subject()
    };
    let start = v1::Start {
        hooks: vec![
            v1::Hook { name: "sys_exit".into(), attached: true, ..v1::Hook::default() },
            v1::Hook {
                name: "inode_set_ctime_to_ts".into(),
                attached: false,
                reason: "this kernel has no such tracepoint".into(),
                ..v1::Hook::default()
            },
        ],
        uncovered: vec!["writes through a shared mapping are seen as modify, without their size".into()],
        agent_hash: vec![0x66; 32],
        processes_seeded: 214,
        ..v1::Start::default()
    };
    let someone = Some(subject());
    let plain = [
        (None, log(), Event::EpochStart(epoch_start())),
        (someone.clone(), etc(), Event::Open(open)),
        (Some(kernel()), etc(), Event::Modify(modify)),
        (someone.clone(), log(), Event::Create(create)),
        (Some(container()), alert(v1::Severity::Medium, "configuration", ""), Event::Unlink(unlink)),
        (someone.clone(), etc(), Event::Rename(rename)),
        (someone.clone(), alert(v1::Severity::Critical, "", "a set-uid bit"), Event::Attr(attr)),
        (
            Some(exec_subject),
            alert(v1::Severity::Critical, "exec", "it is not in image web-golden 2026.11.2"),
            Event::Exec(exec),
        ),
        (someone.clone(), log(), Event::Exit(v1::Exit { status: 0x100, lived: 2_500_000_000 })),
        (
            someone,
            alert(v1::Severity::Medium, "", "what it does is not seen"),
            Event::Uncovered(v1::Uncovered { entry: v1::Entry::Compat.into(), ..v1::Uncovered::default() }),
        ),
        (
            None,
            alert(v1::Severity::High, "", "events are lost"),
            Event::Lost(v1::Lost {
                kind: "protected".into(),
                count: 42,
                since: BOOT_TIME - 1_000_000_000,
                ..v1::Lost::default()
            }),
        ),
        (None, log(), Event::Start(start)),
        (None, log(), Event::Stop(v1::Stop { reason: "SIGTERM".into(), counters: Some(counters()) })),
        (None, alert(v1::Severity::Low, "", ""), Event::Clock(v1::Clock { step: -1_500_000_000 })),
        (
            None,
            None,
            Event::PolicyChange(v1::PolicyChange {
                before: Some(policy("2026.11.1")),
                after: Some(policy("2026.11.2")),
                refused: "its key is not one of the image's signers".into(),
            }),
        ),
    ];
    plain.into_iter().zip(1..).map(|(plain, sequence)| whole(sequence, plain)).collect()
}

/// Who did it, what came of it, what it is.
pub(crate) type Plain = (Option<v1::Subject>, Option<v1::Verdict>, Event);

/// With the numbers and times of its place.
pub(crate) fn whole(sequence: u64, (subject, verdict, event): Plain) -> v1::Record {
    let source = subject.is_some().then(|| v1::Source {
        cpu: 3,
        ring: v1::Ring::Protected.into(),
        ring_sequence: 100 + sequence,
        ..v1::Source::default()
    });
    let at = sequence * 1_000_000_007;
    v1::Record {
        sequence,
        time: WALL + at,
        boot_time: BOOT_TIME + at,
        subject: subject.map(Into::into),
        verdict: verdict.map(Into::into),
        source,
        event: Some(event),
    }
}

/// Those records, and the ones that the schema grew by.
pub(crate) fn all() -> Vec<v1::Record> {
    records().into_iter().chain(grown::records()).collect()
}

pub(crate) fn batch() -> v1::Batch {
    v1::Batch { context: Some(context()), records: records() }
}

pub(crate) fn private() -> Vec<v1::PrivateEntry> {
    let values: [&[u8]; 3] = [b"vim\0/etc/nginx/nginx.conf\0", b"./kd\0-d\0it's\0\0", b"server\0\xff\xfe"];
    values
        .iter()
        .zip(1_u8..)
        .map(|(value, salt)| v1::PrivateEntry { salt: vec![salt; 16], value: value.to_vec() })
        .collect()
}

pub(crate) fn draft(lane: Lane) -> Draft {
    Draft {
        lane,
        starts_run: true,
        host: host(),
        boot: BOOT,
        run: RUN,
        epoch: 1,
        lost: [0, 42, 0, 0, 0, 0, 0, 0],
        previous: [0; 32],
        sealed_at: WALL + 1,
    }
}

pub(crate) fn frame(lane: Lane) -> Frame {
    Frame::seal(&draft(lane), &batch(), &private(), &epoch_key()).unwrap()
}

fn with_envelope<T>(then: impl FnOnce(&Envelope<'_>) -> T) -> T {
    let (context, private) = (context(), private());
    then(&Envelope {
        host: host(),
        boot: BOOT,
        lane: Some(Lane::Protected),
        context: &context,
        private: &private,
        frame_hash: Some([0x55; 32]),
    })
}

pub(crate) fn render(record: &v1::Record) -> Value {
    with_envelope(|envelope| ocsf::render(envelope, record))
}

pub(crate) fn line(record: &v1::Record) -> Line {
    with_envelope(|envelope| text::line(envelope, record))
}

/// The fixed record of a kind.
pub(crate) fn record(kind: &str) -> v1::Record {
    all().into_iter().find(|record| event::word(record) == kind).unwrap()
}

pub(crate) fn rendered(kind: &str) -> Value {
    render(&record(kind))
}
