//! The sentences: what the engineer on call reads first.

use graven_record::v1::{self, AttrKind, CreateKind, MountKind, Outcome, record::Event};

use crate::fixed;

/// Without "alice (as root)" and its program in front.
fn said(event: Event) -> String {
    let record = v1::Record { event: Some(event), verdict: None, ..fixed::record("open") };
    let message = fixed::line(&record).message;
    let message = message.strip_prefix("/usr/bin/vim.basic of ").unwrap_or(&message);
    message.strip_prefix("alice (as root) ").unwrap_or(message).to_owned()
}

fn file(path: &str) -> Option<v1::File> {
    Some(fixed::file(path.as_bytes()))
}

fn mount(kind: MountKind, source: &str) -> Event {
    Event::Mount(v1::Mount {
        kind: kind.into(),
        target: file("/usr/lib"),
        source: source.into(),
        filesystem: "ext4".into(),
        namespace: 7,
        initial_namespace: true,
        ..v1::Mount::default()
    })
}

#[test]
fn each_way_to_change_what_stands_at_a_place_has_its_sentence() {
    let expected = [
        (MountKind::Unspecified, "changed the mounts at /usr/lib"),
        (MountKind::Mount, "mounted ext4 of /dev/sdb1 over /usr/lib"),
        (MountKind::Remount, "remounted /usr/lib with other options"),
        (MountKind::Bind, "bound /dev/sdb1 over /usr/lib"),
        (MountKind::Move, "moved the mount of /dev/sdb1 to /usr/lib"),
        (MountKind::Unmount, "unmounted /usr/lib"),
        (MountKind::PivotRoot, "made /usr/lib the root of all paths"),
        (MountKind::Attributes, "changed the attributes of the mount at /usr/lib"),
        (MountKind::Propagation, "changed the propagation of the mount at /usr/lib"),
        (MountKind::Reconfigure, "reconfigured the file system at /usr/lib"),
        (MountKind::SwapOn, "turned on swapping to /usr/lib"),
        (MountKind::SwapOff, "turned off swapping to /usr/lib"),
        (MountKind::Accounting, "turned on process accounting to /usr/lib"),
    ];
    for (kind, sentence) in expected {
        assert_eq!(said(mount(kind, "/dev/sdb1")), sentence);
    }
}

#[test]
fn a_mount_names_what_was_mounted_as_far_as_it_is_known() {
    let mount = |filesystem: &str, source: &str| {
        let mount = v1::Mount {
            kind: MountKind::Mount.into(),
            outcome: Outcome::Refused.into(),
            target: file("/usr/lib"),
            source: source.into(),
            filesystem: filesystem.into(),
            namespace: 4_026_532_200,
            ..v1::Mount::default()
        };
        said(Event::Mount(mount))
    };
    let rest = "over /usr/lib in mount namespace 4026532200";
    assert_eq!(mount("tmpfs", "tmpfs"), format!("was refused: mount tmpfs {rest}"));
    assert_eq!(mount("tmpfs", "none"), format!("was refused: mount tmpfs {rest}"));
    assert_eq!(mount("", "/a b"), format!("was refused: mount \"/a b\" {rest}"));
    assert_eq!(mount("", ""), format!("was refused: mount something that is not named {rest}"));
    let off = v1::Mount { kind: MountKind::Accounting.into(), ..v1::Mount::default() };
    assert_eq!(said(Event::Mount(off)), "turned off process accounting");
}

#[test]
fn each_thing_that_can_be_made_has_its_sentence() {
    let expected = [
        (CreateKind::Unspecified, "created /etc/x"),
        (CreateKind::File, "created file /etc/x"),
        (CreateKind::Directory, "created directory /etc/x"),
        (CreateKind::Node, "created special file /etc/x"),
        (CreateKind::Socket, "created socket /etc/x"),
        (CreateKind::Pin, "pinned a BPF object as /etc/x"),
        (CreateKind::Symlink, "created symbolic link /etc/x to \"/tmp/a b\\x0a\""),
        (CreateKind::Link, "created /etc/x as another name of /etc/shadow"),
    ];
    for (kind, sentence) in expected {
        let (from, target) = (file("/etc/shadow"), b"/tmp/a b\n".to_vec());
        let create =
            v1::Create { file: file("/etc/x"), kind: kind.into(), from, target, ..v1::Create::default() };
        assert_eq!(said(Event::Create(create)), sentence);
    }
}

#[test]
fn each_attribute_has_its_sentence() {
    let expected = [
        (AttrKind::Times, "changed the times of /etc/x"),
        (AttrKind::Xattr, "set extended attribute user.x of /etc/x"),
        (AttrKind::XattrRemoved, "removed extended attribute user.x of /etc/x"),
        (AttrKind::Flags, "changed the flags of /etc/x to immutable and append only"),
        (AttrKind::Unspecified, "changed attributes of /etc/x"),
    ];
    for (kind, sentence) in expected {
        let (name, flags) = (b"user.x".to_vec(), 0x30);
        let attr = v1::Attr { file: file("/etc/x"), kind: kind.into(), name, flags, ..v1::Attr::default() };
        assert_eq!(said(Event::Attr(attr)), sentence);
    }
    let cleared = v1::Attr { file: file("/etc/x"), kind: AttrKind::Flags.into(), ..v1::Attr::default() };
    assert_eq!(said(Event::Attr(cleared.clone())), "changed the flags of /etc/x");
    // FS_NODUMP_FL: nothing that forbids a change.
    let other = v1::Attr { flags: 0x40, ..cleared };
    assert_eq!(said(Event::Attr(other)), "changed the flags of /etc/x to 0x40");
}

#[test]
fn a_refusal_says_what_was_refused_and_how_many_like_it() {
    let refused = Outcome::Refused.into();
    let rename =
        v1::Rename { from: file("/a"), to: file("/b"), outcome: refused, folded: 3, ..v1::Rename::default() };
    assert_eq!(
        said(Event::Rename(rename)),
        "was refused: rename /a to /b, and 3 more like it in the same directory"
    );
    let truncate = v1::Truncate { file: file("/a"), outcome: refused, folded: 0 };
    assert_eq!(said(Event::Truncate(truncate)), "was refused: truncate /a");
    let mmap = v1::Mmap { file: file("/a"), outcome: refused, executable: false };
    assert_eq!(said(Event::Mmap(mmap)), "was refused: map /a into memory for writing");
}

#[test]
fn a_script_is_named_before_what_runs_it() {
    let exec = v1::Exec { file: file("/usr/bin/bash"), ..v1::Exec::default() };
    let script = v1::Exec { script: b"/tmp/x.sh".into(), ..exec.clone() };
    assert_eq!(said(Event::Exec(script)), "ran script /tmp/x.sh by /usr/bin/bash");
    let loader = v1::Exec { file: file("/lib/ld.so"), loaded: b"/tmp/x".into(), ..exec };
    assert_eq!(said(Event::Exec(loader)), "ran program /tmp/x by /lib/ld.so");
}

#[test]
fn a_login_says_from_whom_to_whom() {
    let login = v1::Login { loginuid: 1000, user: "bob".into(), session: 18, ..v1::Login::default() };
    assert_eq!(said(Event::Login(login.clone())), "set its login user to bob (uid 1000, session 18)");
    let again = v1::Login { before: Some(1001), user: String::new(), forgeable: true, ..login.clone() };
    let sentence =
        "set its login user to uid 1000 (session 18), which was uid 1001, and was free to choose any";
    assert_eq!(said(Event::Login(again)), sentence);
    let none = v1::Login { before: Some(u32::MAX), session: u32::MAX, ..login.clone() };
    assert_eq!(said(Event::Login(none)), "set its login user to bob (uid 1000)");
    let removed = v1::Login { before: Some(1001), loginuid: u32::MAX, ..login };
    assert_eq!(said(Event::Login(removed)), "removed its login user, which was uid 1001");
}

#[test]
fn what_goes_into_the_kernel_is_named() {
    let module = |operation: &str, name: &str, from| {
        let outcome = Outcome::Success.into();
        said(Event::Module(v1::Module {
            operation: operation.into(),
            name: name.into(),
            file: from,
            outcome,
        }))
    };
    assert_eq!(module("load", "x", file("/x.ko")), "loaded kernel module x from /x.ko");
    assert_eq!(module("load", "", None), "loaded a kernel module without a name");
    assert_eq!(module("unload", "x", None), "unloaded kernel module x");
    assert_eq!(
        module("kexec", "", file("/boot/k")),
        "loaded another kernel from /boot/k to run instead of this one"
    );
    let bpf = |command: &str, program_type: &str, name: &str| {
        let (command, program_type, name) = (command.into(), program_type.into(), name.into());
        said(Event::Bpf(v1::Bpf { command, number: 5, program_type, name, outcome: 0 }))
    };
    assert_eq!(bpf("prog-load", "tracing", "snoop"), "loaded a BPF program of type tracing named snoop");
    assert_eq!(bpf("link-create", "", ""), "attached a BPF program");
    assert_eq!(bpf("obj-pin", "", "/sys/fs/bpf/x"), "pinned a BPF object named /sys/fs/bpf/x");
    assert_eq!(bpf("map create", "", ""), "gave the kernel BPF command \"map create\"");
    assert_eq!(bpf("", "", ""), "gave the kernel BPF command 5");
}

#[test]
fn what_is_done_to_the_agent_is_named() {
    let tamper = |operation: &str, number, outcome: Outcome| {
        let (operation, outcome) = (operation.into(), outcome.into());
        said(Event::Tamper(v1::Tamper { operation, number, target: 812, outcome }))
    };
    assert_eq!(tamper("signal", 19, Outcome::Success), "sent SIGSTOP to graven's process 812");
    assert_eq!(tamper("signal", 40, Outcome::Refused), "was refused: send signal 40 to graven's process 812");
    assert_eq!(tamper("ptrace", 16, Outcome::Success), "traced graven's process 812 by ptrace request 16");
    assert_eq!(
        tamper("process_vm_writev", 0, Outcome::Success),
        "wrote into the memory of graven's process 812"
    );
    assert_eq!(tamper("x y", 0, Outcome::Success), "acted on graven's process 812 by \"x y\"");
}

#[test]
fn a_loss_says_what_where_and_by_whom_as_far_as_it_is_known() {
    let lost = v1::Lost { kind: "spool".into(), count: 2, ..v1::Lost::default() };
    let place = v1::Lost { count: 1, event: "create".into(), directory: b"/srv/a b".into(), ..lost.clone() };
    let why = "lost: no room in the spool";
    assert_eq!(said(Event::Lost(lost.clone())), format!("2 events by alice (as root) were {why}"));
    assert_eq!(
        said(Event::Lost(place.clone())),
        format!("one create event in \"/srv/a b\" by alice (as root) was {why}")
    );
    let own =
        v1::Record { event: Some(Event::Lost(lost)), subject: None, verdict: None, ..fixed::record("lost") };
    assert_eq!(fixed::line(&own).message, format!("2 events were {why}"));
}
