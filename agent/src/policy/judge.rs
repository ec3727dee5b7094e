//! The verdict on one event: a pure function of the policy and the event.

use graven_record::id::Lane;
use graven_record::shared::Shared;
use graven_record::v1::record::Event;
use graven_record::v1::{self, Decision, Entry, File, Outcome, PathSource, Ring, Severity, Subject, Verdict};

use super::document::Mode;
use super::places::{Class, Place};
use super::{Judged, Policy, kernel, program};
use crate::attribute::Attributed;

/// S_IFMT and S_IFDIR of `st_mode`.
const TYPE: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;

/// Judges what a process did.
pub fn judge(policy: &Policy, seen: Attributed) -> Judged {
    let (verdict, lane) = decide(policy, &seen);
    let (verdict, lane) = by_inode(policy, &seen, verdict, lane);
    let record = v1::Record {
        boot_time: seen.at,
        subject: Some(seen.subject),
        verdict: Some(verdict),
        source: Some(seen.source),
        event: Some(seen.event),
        ..v1::Record::default()
    };
    Judged { record: Box::new(record), lane, private: seen.private }
}

/// Judges a record of the logger itself: it has no subject, and always goes into the protected lane.
pub fn own(policy: &Policy, at: u64, event: Event) -> Judged {
    let record = v1::Record {
        boot_time: at,
        verdict: Some(decide_own(policy, &event).into()),
        event: Some(event),
        ..v1::Record::default()
    };
    Judged { record: Box::new(record), lane: Lane::Protected, private: Vec::new() }
}

/// What the agent itself does to try its sensor out.
pub fn expected() -> Shared<Verdict> {
    verdict(Decision::Ignore, Severity::Info, "", "the agent tries its sensor out".to_owned()).into()
}

/// A name is not everything: what the kernel found to be a protected inode is never ignored, wherever its name
/// lies (a directory that was moved away, another hard link, a layer of an overlay); and a name that only the
/// caller gave may lead anywhere.
fn by_inode(
    policy: &Policy,
    seen: &Attributed,
    verdict: Shared<Verdict>,
    lane: Lane,
) -> (Shared<Verdict>, Lane) {
    if verdict.decision() != Decision::Ignore {
        return (verdict, lane);
    }
    if let Some(reason) = policy.disks.reason(&seen.event) {
        return (log(&verdict.rule, reason).into(), Lane::Protected);
    }
    if seen.source.ring() == Ring::Protected {
        let reason = "the inode is protected, though this name of it lies in a mutable place".to_owned();
        return (alert(policy, Severity::High, &verdict.rule, reason).into(), Lane::Protected);
    }
    let argument = |file: &&File| file.path_source() == PathSource::Argument;
    let by_caller = |change: Change<'_>| change.files.iter().flatten().any(argument);
    if !is_told_otherwise(seen) && change(&seen.event).is_some_and(by_caller) {
        let reason = "only the caller named the place, which may be another one";
        return (log(&verdict.rule, reason).into(), Lane::Activity);
    }
    (verdict, lane)
}

/// A name that leads elsewhere would be seen: what was refused changed nothing, and what a request of io_uring asks
/// for is told by the inodes as well, where the kernel tells of them. An open alone changes none, and what is written to
/// a disk then is told by nothing.
fn is_told_otherwise(seen: &Attributed) -> bool {
    let refused = change(&seen.event).is_some_and(|change| change.outcome == Outcome::Refused);
    let is_open = matches!(seen.event, Event::Open(_));
    refused || (seen.witnessed && !is_open && seen.source.entry() == Entry::IoUring)
}

fn decide(policy: &Policy, seen: &Attributed) -> (Shared<Verdict>, Lane) {
    let subject = &seen.subject;
    let sure = |outcome| certainty(outcome, &seen.source);
    let (verdict, lane) = match &seen.event {
        Event::Exec(exec) => program::decide(policy, subject, exec),
        Event::Exit(_) => (log("", ""), Lane::Activity),
        Event::Mount(mount) => (kernel::mount(policy, mount, sure(mount.outcome())), Lane::Protected),
        Event::Tamper(tamper) => {
            (kernel::tamper(policy, subject, tamper, sure(tamper.outcome())), Lane::Protected)
        }
        Event::Module(module) => (kernel::module(policy, module, sure(module.outcome())), Lane::Protected),
        Event::Login(login) if login.forgeable => {
            let reason = "a login user was set by a program that logs nobody in".to_owned();
            (alert(policy, Severity::Medium, "", reason), Lane::Protected)
        }
        event => match change(event) {
            Some(change) => return decide_change(policy, subject, &change, sure(change.outcome)),
            None => (decide_own(policy, event), Lane::Protected),
        },
    };
    (verdict.into(), lane)
}

/// How sure it is that something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Certainty {
    /// The kernel's own objects show it.
    Sure,
    /// A call returned success.
    Reported,
    /// A request of io_uring was taken.
    Requested,
    /// It did not.
    Refused,
}

fn certainty(outcome: Outcome, source: &v1::Source) -> Certainty {
    match outcome {
        Outcome::Refused => Certainty::Refused,
        Outcome::Reported if source.entry() == Entry::IoUring => Certainty::Requested,
        Outcome::Reported => Certainty::Reported,
        Outcome::Success | Outcome::Unspecified => Certainty::Sure,
    }
}

/// The reason, and how sure it is that it happened.
pub(super) fn with_certainty(certainty: Certainty, mut reason: String) -> String {
    reason += match certainty {
        Certainty::Sure => "",
        Certainty::Reported => "; the call reported success and nothing else confirms it",
        Certainty::Requested => {
            "; it was asked for by a request of io_uring, and nothing says what came of it"
        }
        Certainty::Refused => "; the kernel refused the attempt",
    };
    reason
}

/// What a change touched.
struct Change<'a> {
    files: [Option<&'a File>; 3],
    outcome: Outcome,
    /// Whole directories move with it.
    moves: bool,
}

fn change(event: &Event) -> Option<Change<'_>> {
    let (files, outcome, moves) = match event {
        Event::Open(open) => ([&open.file, &None, &None], open.outcome(), false),
        Event::Modify(modify) => ([&modify.file, &None, &None], modify.outcome(), false),
        // A new name of a protected file is one more way to change it.
        Event::Create(create) => ([&create.file, &create.from, &None], create.outcome(), false),
        Event::Unlink(unlink) => ([&unlink.file, &None, &None], unlink.outcome(), false),
        Event::Rename(rename) => ([&rename.from, &rename.to, &rename.replaced], rename.outcome(), true),
        Event::Attr(attr) => ([&attr.file, &None, &None], attr.outcome(), false),
        Event::Truncate(truncate) => ([&truncate.file, &None, &None], truncate.outcome(), false),
        Event::Mmap(mmap) => ([&mmap.file, &None, &None], mmap.outcome(), false),
        _ => return None,
    };
    Some(Change { files: files.map(Option::as_ref), outcome, moves })
}

/// What the worst side of a change came to, weakest first.
enum Side<'a> {
    Mutable(&'a Place),
    Elsewhere,
    Allowed(&'a str),
    /// The beginning of the path is missing, so nobody can say where it is.
    Unknown,
    Protected {
        place: &'a Place,
        above: bool,
    },
}

fn decide_change(
    policy: &Policy,
    subject: &Subject,
    change: &Change<'_>,
    certainty: Certainty,
) -> (Shared<Verdict>, Lane) {
    let sides = change.files.iter().flatten().map(|file| side(policy, subject, file, change.moves));
    let worst = sides.max_by_key(weight).unwrap_or(Side::Elsewhere);
    let (verdict, lane) = match worst {
        Side::Mutable(place) => {
            let ignored =
                || verdict(Decision::Ignore, Severity::Info, &place.rule, "changes by design".to_owned());
            return (place.says(Certainty::Sure, ignored), Lane::Activity);
        }
        Side::Elsewhere if certainty == Certainty::Refused => {
            let reason = "refused, and not in a protected place".to_owned();
            (verdict(Decision::Ignore, Severity::Info, "", reason), Lane::Activity)
        }
        Side::Elsewhere => (log("", "neither protected nor mutable"), Lane::Activity),
        Side::Allowed(rule) => {
            (log(rule, "a protected place, and this writer may change it"), Lane::Protected)
        }
        Side::Unknown => {
            let reason = "the path is too deep to be read whole, so its place is unknown".to_owned();
            (alert(policy, Severity::Medium, "", reason), Lane::Protected)
        }
        Side::Protected { place, above } => {
            let Class::Protect(severity) = place.class else { return (log("", "").into(), Lane::Activity) };
            let changed = |reason| alert(policy, severity, &place.rule, with_certainty(certainty, reason));
            if !above {
                let said = place.says(certainty, || changed(place.reason()));
                return (said, Lane::Protected);
            }
            let reason = format!("{} is protected and moves with its directory", place.pattern);
            (changed(reason), Lane::Protected)
        }
    };
    (verdict.into(), lane)
}

fn weight(side: &Side<'_>) -> (u8, i32) {
    match side {
        Side::Mutable(_) => (0, 0),
        Side::Elsewhere => (1, 0),
        Side::Allowed(_) => (2, 0),
        Side::Unknown => (3, Severity::Medium as i32),
        Side::Protected { place, .. } => match place.class {
            Class::Protect(severity) => (3, severity as i32),
            Class::Mutable => (0, 0),
        },
    }
}

/// Every name of a file counts: a bind mount must not hide a protected one.
fn side<'a>(policy: &'a Policy, subject: &Subject, file: &File, moves: bool) -> Side<'a> {
    if file.cut {
        return Side::Unknown;
    }
    let names = std::iter::once(&file.path).chain(&file.aliases);
    let sides = names.map(|name| side_of_name(policy, subject, name, moves && may_be_directory(file)));
    sides.max_by_key(weight).unwrap_or(Side::Elsewhere)
}

fn side_of_name<'a>(policy: &'a Policy, subject: &Subject, name: &[u8], moves: bool) -> Side<'a> {
    let nearest = policy.places.nearest(name);
    match nearest.map(|place| (place, place.class)) {
        Some((place, Class::Protect(_))) => match policy.allowed.entry(name, subject) {
            Some(rule) => Side::Allowed(rule),
            None => Side::Protected { place, above: false },
        },
        other => match moves.then(|| policy.places.protected_below(name)).flatten() {
            Some(place) => Side::Protected { place, above: true },
            None => other.map_or(Side::Elsewhere, |(place, _)| Side::Mutable(place)),
        },
    }
}

fn may_be_directory(file: &File) -> bool {
    file.mode == 0 || file.mode & TYPE == DIRECTORY
}

/// The logger's own state: not the policy's to soften, so `learn` does not apply.
fn decide_own(policy: &Policy, event: &Event) -> Verdict {
    match event {
        Event::Lost(lost) => {
            let reason = format!("{} events were lost", lost.count);
            verdict(Decision::Alert, Severity::Medium, "", reason)
        }
        Event::PolicyChange(change) if !change.refused.is_empty() => {
            let reason = "a new policy was refused and the old one stays".to_owned();
            verdict(Decision::Alert, Severity::High, "", reason)
        }
        Event::Start(_) | Event::PolicyChange(_) => match &policy.mismatch {
            Some(differs) => {
                verdict(Decision::Alert, Severity::High, "image.policy_mismatch", differs.clone())
            }
            None => log("", ""),
        },
        Event::ProbeSilent(_) => {
            let reason = "what happened meanwhile may not be in the log".to_owned();
            verdict(Decision::Alert, Severity::Critical, "", reason)
        }
        Event::MapChanged(_) => {
            let reason = "what was left out meanwhile was not for the policy to decide".to_owned();
            verdict(Decision::Alert, Severity::Critical, "", reason)
        }
        Event::Paused(_) => {
            let reason = "what found no room in the rings meanwhile is counted as lost".to_owned();
            verdict(Decision::Alert, Severity::High, "", reason)
        }
        Event::Uncovered(_) => log("", "what this process does from here on is not decoded"),
        _ => log("", ""),
    }
}

pub(super) fn alert(policy: &Policy, severity: Severity, rule: &str, reason: String) -> Verdict {
    match policy.mode {
        Mode::Alert => verdict(Decision::Alert, severity, rule, reason),
        Mode::Learn => verdict(Decision::Log, severity, rule, format!("learning, so no alert: {reason}")),
    }
}

pub(super) fn log(rule: &str, reason: &str) -> Verdict {
    verdict(Decision::Log, Severity::Info, rule, reason.to_owned())
}

pub(super) fn verdict(decision: Decision, severity: Severity, rule: &str, reason: String) -> Verdict {
    Verdict { decision: decision.into(), severity: severity.into(), rule: rule.to_owned(), reason }
}

#[cfg(test)]
mod tests {
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
        let host = FakeHost::new(&[
            "/usr/bin/certbot",
            "/bin -> /usr/bin",
            "/run",
            "/var/run -> /run",
            "/etc",
            "/tmp",
        ])
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
            let cut =
                File { path: b"/tmp/x".to_vec(), cut: true, path_source: source.into(), ..File::default() };
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
            process: Some(Process {
                exe: bytes::Bytes::from_static(b"/usr/bin/certbot"),
                ..Process::default()
            }),
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
            let unlink =
                v1::Unlink { file: file("/etc/a"), outcome: outcome.into(), ..v1::Unlink::default() };
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
                Event::Unlink(v1::Unlink {
                    file: file(path),
                    outcome: outcome.into(),
                    ..v1::Unlink::default()
                })
            })
        };
        let mut events =
            [changes("/etc/a"), changes("/usr/b"), changes("/tmp/c"), changes("/opt/d")].concat();
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
}
