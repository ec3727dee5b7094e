#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::Path;

use graven_record::v1::Process;
use proptest::prelude::*;

use super::super::host::fake::FakeHost;
use super::*;

const POLICY: &str = r#"
schema = 1
[policy]
name = "t"
version = "1"
[image]
id = "os-release:ID"
match = { id = "debian" }
[[protect]]
name = "system"
paths = ["/usr", "/bin"]
severity = "critical"
[[protect]]
name = "configuration"
paths = ["/etc", "/srv/www", "/home/*/.ssh"]
severity = "high"
[[mutable]]
name = "state"
paths = ["/tmp", "/var", "/home"]
[[allow.write]]
name = "certificates"
paths = ["/etc/letsencrypt/**"]
writer = { exe = "/bin/certbot", unit = ["certbot*.service"], user = "root", parent = "/usr/lib/systemd/systemd" }
[exec]
otherwise = "medium"
[exec.image]
deny_from = ["memfd", "deleted", "/tmp", "/var/run"]
[[exec.allow]]
name = "plug-ins"
exe = ["/tmp/plugins/*"]
parent = "/usr/bin/containerd"
severity = "low"
"#;

fn policy_of(text: &str) -> Policy {
    let host =
        FakeHost::new(&["/usr/bin/certbot", "/bin -> /usr/bin", "/run", "/var/run -> /run", "/etc", "/tmp"])
            .file("/etc/os-release", b"ID=debian\n");
    Policy::parse(text.as_bytes(), Path::new("t.toml"), v1::Trust::Explicit, &host).unwrap()
}

fn policy() -> Policy {
    policy_of(POLICY)
}

fn file(path: &str) -> Option<File> {
    Some(File { path: path.into(), ..File::default() })
}

fn seen(event: Event) -> Attributed {
    Attributed {
        witnessed: true,
        at: 7,
        subject: Subject::default().into(),
        source: v1::Source::default(),
        event,
        private: vec![b"argv"[..].into()],
    }
}

fn open(path: &str) -> Event {
    Event::Open(v1::Open {
        file: file(path),
        outcome: Outcome::Success.into(),
        writable: true,
        ..v1::Open::default()
    })
}

fn rename(from: &str, to: &str) -> Event {
    Event::Rename(v1::Rename { from: file(from), to: file(to), ..v1::Rename::default() })
}

fn exec(path: &str) -> v1::Exec {
    v1::Exec { file: file(path), ..v1::Exec::default() }
}

/// "alert high configuration protected", without the reason.
fn said(event: Event) -> String {
    say(&judge(&policy(), seen(event)))
}

fn say(judged: &Judged) -> String {
    let verdict = judged.record.verdict.as_ref().unwrap();
    let decision = verdict.decision().as_str_name().trim_start_matches("DECISION_").to_lowercase();
    let severity = verdict.severity().as_str_name().trim_start_matches("SEVERITY_").to_lowercase();
    format!("{decision} {severity} [{}] {}", verdict.rule, judged.lane.name())
}

#[test]
fn a_change_is_judged_by_its_place() {
    for (path, expected) in [
        ("/etc/motd", "alert high [configuration] protected"),
        ("/etc", "alert high [configuration] protected"),
        ("/usr/bin/ls", "alert critical [system] protected"),
        ("/bin", "alert critical [system] protected"),
        ("/home/bob/.ssh/authorized_keys", "alert high [configuration] protected"),
        ("/home/bob/notes", "ignore info [state] activity"),
        ("/tmp/x", "ignore info [state] activity"),
        ("/opt/x", "log info [] activity"),
        ("fs:8:1:/etc/motd", "log info [] activity"),
        ("etc/motd", "log info [] activity"),
    ] {
        assert_eq!(said(open(path)), expected, "{path}");
    }
}

#[test]
fn every_kind_of_change_of_a_protected_place_is_an_alert() {
    let file = file("/etc/motd");
    for event in [
        Event::Open(v1::Open { file: file.clone(), ..v1::Open::default() }),
        Event::Modify(v1::Modify { file: file.clone(), ..v1::Modify::default() }),
        Event::Create(v1::Create { file: file.clone(), ..v1::Create::default() }),
        Event::Unlink(v1::Unlink { file: file.clone(), ..v1::Unlink::default() }),
        Event::Attr(v1::Attr { file, ..v1::Attr::default() }),
        rename("/etc/motd", "/tmp/motd"),
        rename("/tmp/motd", "/etc/motd"),
    ] {
        assert_eq!(said(event), "alert high [configuration] protected");
    }
}

#[test]
fn the_worse_side_of_a_rename_decides_and_what_it_replaced_counts() {
    assert_eq!(said(rename("/etc/x", "/usr/x")), "alert critical [system] protected");
    assert_eq!(said(rename("/tmp/x", "/opt/x")), "log info [] activity");
    let over = v1::Rename {
        from: file("/tmp/a"),
        to: file("/tmp/b"),
        replaced: file("/usr/b"),
        ..v1::Rename::default()
    };
    assert_eq!(said(Event::Rename(over)), "alert critical [system] protected");
}

#[test]
fn moving_a_directory_moves_the_protected_places_in_it() {
    assert_eq!(said(rename("/srv", "/srv.old")), "alert high [configuration] protected");
    assert_eq!(said(rename("/home/bob", "/tmp/bob")), "alert high [configuration] protected");
    let plain_file = |path: &str| Some(File { path: path.into(), mode: 0o100_644, ..File::default() });
    let event =
        v1::Rename { from: plain_file("/home/a"), to: plain_file("/home/b"), ..v1::Rename::default() };
    assert_eq!(said(Event::Rename(event)), "ignore info [state] activity");
}

#[test]
fn a_bind_mount_hides_nothing() {
    let aliased =
        File { path: b"/tmp/m/motd".to_vec(), aliases: vec![b"/etc/motd".to_vec()], ..File::default() };
    let event = Event::Open(v1::Open { file: Some(aliased), ..v1::Open::default() });
    assert_eq!(said(event), "alert high [configuration] protected");
}

#[test]
fn a_path_without_its_beginning_is_never_taken_for_mutable() {
    for source in [PathSource::File, PathSource::Argument] {
        let cut = File { path: b"/tmp/x".to_vec(), cut: true, path_source: source.into(), ..File::default() };
        let event = Event::Open(v1::Open { file: Some(cut), ..v1::Open::default() });
        assert_eq!(said(event), "alert medium [] protected");
    }
}

#[test]
fn a_refused_attempt_is_an_alert_that_says_so() {
    let event = Event::Unlink(v1::Unlink {
        file: file("/etc/motd"),
        outcome: Outcome::Refused.into(),
        ..v1::Unlink::default()
    });
    let judged = judge(&policy(), seen(event));
    assert_eq!(say(&judged), "alert high [configuration] protected");
    assert!(judged.record.verdict.unwrap().reason.contains("refused"));
}

fn certbot() -> Subject {
    Subject {
        process: Some(Process { exe: bytes::Bytes::from_static(b"/usr/bin/certbot"), ..Process::default() }),
        ancestors: vec![Process {
            exe: bytes::Bytes::from_static(b"/usr/lib/systemd/systemd"),
            ..Process::default()
        }],
        unit: "certbot-renew.service".to_owned(),
        user: "root".to_owned(),
        ..Subject::default()
    }
}

fn said_of(subject: Subject, event: Event) -> String {
    say(&judge(&policy(), Attributed { subject: subject.into(), ..seen(event) }))
}

#[test]
fn an_allowed_writer_is_logged_and_only_when_every_key_matches() {
    let key = || open("/etc/letsencrypt/live/key.pem");
    assert_eq!(said_of(certbot(), key()), "log info [certificates] protected");
    assert_eq!(said_of(certbot(), open("/etc/letsencrypt")), "alert high [configuration] protected");
    assert_eq!(
        said_of(certbot(), rename("/etc/letsencrypt/a", "/etc/b")),
        "alert high [configuration] protected"
    );
    let others = [
        Subject { unit: "nginx.service".to_owned(), ..certbot() },
        Subject { unit: String::new(), ..certbot() },
        Subject { user: "bob".to_owned(), ..certbot() },
        Subject { process: None, ..certbot() },
        Subject { ancestors: Vec::new(), ..certbot() },
    ];
    for subject in others {
        assert_eq!(said_of(subject, key()), "alert high [configuration] protected");
    }
}

#[test]
fn a_program_is_judged_by_where_it_lies() {
    assert_eq!(said(Event::Exec(exec("/usr/bin/ls"))), "log info [] activity");
    assert_eq!(said(Event::Exec(exec("/tmp/x"))), "alert medium [exec.deny_from \"/tmp\"] protected");
    assert_eq!(said(Event::Exec(exec("/run/x"))), "alert medium [exec.deny_from \"/var/run\"] protected");
    let memfd = v1::Exec { memfd: true, ..exec("fs:0:1:/memfd:x") };
    assert_eq!(said(Event::Exec(memfd)), "alert medium [exec.deny_from \"memfd\"] protected");
    let deleted = v1::Exec { deleted: true, ..exec("/usr/bin/x") };
    assert_eq!(said(Event::Exec(deleted)), "alert medium [exec.deny_from \"deleted\"] protected");
}

#[test]
fn an_exec_allow_is_an_exception_for_one_program_of_one_parent() {
    let child_of = |parent: &str| Subject {
        ancestors: vec![Process { exe: parent.to_owned().into(), ..Process::default() }],
        ..Subject::default()
    };
    let plugin = || Event::Exec(exec("/tmp/plugins/bridge"));
    assert_eq!(said_of(child_of("/usr/bin/containerd"), plugin()), "log low [plug-ins] activity");
    assert_eq!(
        said_of(child_of("/usr/bin/bash"), plugin()),
        "alert medium [exec.deny_from \"/tmp\"] protected"
    );
    let deleted = Event::Exec(v1::Exec { deleted: true, ..exec("/tmp/plugins/bridge") });
    assert!(said_of(child_of("/usr/bin/containerd"), deleted).starts_with("alert"));
}

#[test]
fn learning_turns_the_policys_alerts_into_logs_that_say_so() {
    let learn = policy_of(&POLICY.replace("version = \"1\"", "version = \"1\"\nmode = \"learn\""));
    let judged = judge(&learn, seen(open("/etc/motd")));
    assert_eq!(say(&judged), "log high [configuration] protected");
    assert!(judged.record.verdict.unwrap().reason.starts_with("learning"));
    let lost = own(&learn, 1, Event::Lost(v1::Lost { count: 3, ..v1::Lost::default() }));
    assert_eq!(say(&lost), "alert medium [] protected");
}

#[test]
fn what_a_request_asked_for_is_not_called_success() {
    let reason = |outcome: Outcome, entry: Entry| {
        let unlink = v1::Unlink { file: file("/etc/a"), outcome: outcome.into(), ..v1::Unlink::default() };
        let source = v1::Source { entry: entry.into(), ..v1::Source::default() };
        judge(&policy(), Attributed { source, ..seen(Event::Unlink(unlink)) })
            .record
            .verdict
            .unwrap()
            .reason
            .clone()
    };
    assert!(reason(Outcome::Reported, Entry::IoUring).ends_with("nothing says what came of it"));
    assert!(reason(Outcome::Reported, Entry::Unspecified).contains("reported success"));
    assert!(reason(Outcome::Success, Entry::IoUring).ends_with("path and writer"));
    assert!(reason(Outcome::Refused, Entry::IoUring).contains("refused"));
}

/// One policy judges all that happens as a new one would each time, and says the same of the same place only once.
#[test]
fn what_is_said_of_a_place_is_said_again() {
    let outcomes = [Outcome::Success, Outcome::Reported, Outcome::Refused];
    let changes = |path: &'static str| {
        outcomes.map(|outcome| {
            Event::Unlink(v1::Unlink { file: file(path), outcome: outcome.into(), ..v1::Unlink::default() })
        })
    };
    let mut events = [changes("/etc/a"), changes("/usr/b"), changes("/tmp/c"), changes("/opt/d")].concat();
    events.extend([rename("/etc/a", "/srv/x"), rename("/srv", "/opt"), rename("/tmp/a", "/home/b/.ssh")]);
    let learning = POLICY.replace("version = \"1\"", "version = \"1\"\nmode = \"learn\"");
    for text in [POLICY, &learning] {
        let kept = policy_of(text);
        for event in events.iter().chain(events.iter().rev()) {
            let judged = judge(&kept, seen(event.clone()));
            assert_eq!(judged, judge(&policy_of(text), seen(event.clone())));
        }
        let [first, second] = [0; 2].map(|_| judge(&kept, seen(open("/etc/a"))).record.verdict.unwrap());
        assert!(first.is(&second));
    }
}

#[test]
fn the_loggers_own_records_go_into_the_protected_lane() {
    let policy = policy();
    assert_eq!(say(&own(&policy, 1, Event::Stop(v1::Stop::default()))), "log info [] protected");
    assert_eq!(say(&own(&policy, 1, Event::Start(v1::Start::default()))), "log info [] protected");
    assert_eq!(said(Event::Uncovered(v1::Uncovered::default())), "log info [] protected");
    assert_eq!(own(&policy, 1, Event::Stop(v1::Stop::default())).record.subject, None);
}

#[test]
fn what_is_done_to_the_sensor_is_critical_whatever_the_policy_says() {
    let learn = policy_of(&POLICY.replace("version = \"1\"", "version = \"1\"\nmode = \"learn\""));
    for event in
        [Event::ProbeSilent(v1::ProbeSilent::default()), Event::MapChanged(v1::MapChanged::default())]
    {
        assert_eq!(say(&own(&learn, 1, event)), "alert critical [] protected");
    }
}

#[test]
fn a_policy_for_another_image_starts_with_an_alert() {
    let other = policy_of(&POLICY.replace("{ id = \"debian\" }", "{ id = \"flatcar\" }"));
    let start = own(&other, 1, Event::Start(v1::Start::default()));
    assert_eq!(say(&start), "alert high [image.policy_mismatch] protected");
    assert!(!other.warnings().is_empty());
}

#[test]
fn the_built_in_policy_loads_and_has_no_problem() {
    let policy = Policy::embedded().unwrap();
    assert_eq!(policy.about().name, "default");
    assert_eq!(policy.about().hash.len(), 32);
    assert!(policy.marks().iter().any(|mark| mark.path == Path::new("/etc")));
}

fn any_file() -> impl Strategy<Value = Option<File>> {
    let path = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        "(/(etc|usr|tmp|home|bob|.ssh|\\*|\\.\\.)){0,5}/?".prop_map(String::into_bytes),
    ];
    prop::option::of(
        (path.clone(), prop::collection::vec(path, 0..3), any::<bool>(), any::<u32>())
            .prop_map(|(path, aliases, cut, mode)| File { path, aliases, cut, mode, ..File::default() }),
    )
}

proptest! {
    #[test]
    fn any_event_gets_a_verdict(
        a in any_file(), b in any_file(), c in any_file(),
        outcome in -1i32..5, memfd: bool, deleted: bool, kind in 0..8u8,
    ) {
        let event = match kind {
            0 => Event::Open(v1::Open { file: a, outcome, ..v1::Open::default() }),
            1 => Event::Modify(v1::Modify { file: a, ..v1::Modify::default() }),
            2 => Event::Create(v1::Create { file: a, outcome, ..v1::Create::default() }),
            3 => Event::Unlink(v1::Unlink { file: a, outcome, ..v1::Unlink::default() }),
            4 => Event::Rename(v1::Rename {
                from: a,
                to: b,
                replaced: c,
                exchange: memfd,
                outcome,
                ..v1::Rename::default()
            }),
            5 => Event::Attr(v1::Attr { file: a, outcome, ..v1::Attr::default() }),
            6 => Event::Exec(v1::Exec { file: a, memfd, deleted, ..v1::Exec::default() }),
            _ => Event::Exit(v1::Exit::default()),
        };
        let judged = judge(&policy(), seen(event.clone()));
        let verdict = judged.record.verdict.as_ref().unwrap();
        prop_assert_ne!(verdict.decision(), Decision::Unspecified);
        prop_assert_ne!(verdict.severity(), Severity::Unspecified);
        prop_assert!(verdict.decision() != Decision::Alert || judged.lane == Lane::Protected);
        prop_assert_eq!(judged.record.event, Some(event));
        prop_assert_eq!(judged.private, vec![bytes::Bytes::from_static(b"argv")]);
    }
}
