#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
//! Hand-made records, and what a person must read from them.

use std::sync::Arc;

use graven_record::id::{HostId, Lane, RunId};
use graven_record::v1::{self, Context, Exec, ExecId, Exit, PrivateEntry, Record, Subject, Verdict};
use proptest::prelude::*;

use super::*;
use crate::fixture::{START, file, modify};
use crate::show::{Look, replay as show};

const MS: u64 = 1_000_000;

fn process(pid: u32, exec: u32, exe: &str) -> v1::Process {
    let comm = exe.rsplit('/').next().unwrap().as_bytes().to_vec();
    let id = Some(ExecId { pid, start: u64::from(pid) * MS, exec });
    v1::Process { id, exe: exe.as_bytes().to_vec().into(), comm: comm.into(), ..v1::Process::default() }
}

fn found(sequence: u64, at: u64, subject: Option<Subject>, record: Record) -> Found {
    Found {
        host: HostId([1; 32]),
        boot: BootId([1; 16]),
        run: RunId([1; 16]),
        lane: Lane::Protected,
        received: 0,
        frame: [0; 32],
        context: Arc::new(Context { hostname: "web".to_owned(), ..Context::default() }),
        record: Record {
            sequence,
            time: START + at * MS,
            boot_time: at * MS,
            subject: subject.map(Into::into),
            ..record
        },
        private: Arc::new(vec![PrivateEntry {
            salt: Vec::new(),
            value: b"cp\0/bin/true\0/etc/true".to_vec(),
        }]),
    }
}

fn by(process: v1::Process, ancestors: &[v1::Process]) -> Option<Subject> {
    let user = "root".to_owned();
    Some(Subject { process: Some(process), ancestors: ancestors.to_vec(), user, ..Subject::default() })
}

fn started(exe: &str) -> Record {
    Record {
        event: Some(Event::Exec(Exec { file: Some(file(exe)), ..Exec::default() })),
        ..Record::default()
    }
}

fn ended(status: i32) -> Record {
    Record { event: Some(Event::Exit(Exit { status, ..Exit::default() })), ..Record::default() }
}

fn alert(path: &str) -> Record {
    let (decision, severity) = (v1::Decision::Alert.into(), v1::Severity::High.into());
    let verdict = Verdict { decision, severity, rule: "demo".to_owned(), reason: "protected".to_owned() };
    Record { verdict: Some(verdict.into()), ..modify(path) }
}

fn story() -> Vec<Found> {
    let (systemd, bash) = (process(1, 1, "/usr/lib/systemd/systemd"), process(400, 3, "/usr/bin/bash"));
    let sshd = process(300, 2, "/usr/sbin/sshd");
    let above = [bash.clone(), sshd.clone(), systemd.clone()];
    let cp = v1::Process { arguments: 1, ..process(500, 4, "/usr/bin/cp") };
    vec![
        found(1, 490, by(bash.clone(), &above[1..]), alert("/etc/motd")),
        found(2, 500, by(cp.clone(), &above), started("/usr/bin/cp")),
        found(3, 501, by(cp.clone(), &above), alert("/etc/true")),
        found(4, 502, by(cp, &above), ended(0)),
        found(5, 510, by(bash, &above[1..]), modify("/tmp/\x1b[31mred")),
        found(6, 511, None, Record { event: Some(Event::Stop(v1::Stop::default())), ..Record::default() }),
    ]
}

fn text(records: &[Found]) -> String {
    replay(records).iter().flat_map(|boot| show::lines(boot, Look::Plain)).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_person_reads_who_started_whom_and_what_each_did_in_order() {
    let text = text(&story());
    let place = |part: &str| text.find(part).unwrap_or_else(|| unreachable!("{part} is not in\n{text}"));
    let order = [
        "systemd[1]",
        "sshd[300]",
        "bash[400]",
        "write /etc/motd",
        "cp[500]",
        "cp /bin/true /etc/true",
        "write /etc/true",
        r"write /tmp/\x1b[31mred",
    ];
    let places: Vec<usize> = order.iter().map(|part| place(part)).collect();
    assert!(places.is_sorted(), "{text}");
    let indent =
        |part: &str| text.lines().find(|l| l.contains(part)).map(|l| l.len() - l.trim_start().len()).unwrap();
    assert!(indent("systemd[1]") < indent("sshd[300]"));
    assert!(indent("bash[400]") < indent("cp[500]"));
    assert!(indent("cp[500]") < indent("write /etc/true"));
    let motd = text.lines().find(|l| l.contains("/etc/motd")).unwrap();
    assert!(motd.contains("HIGH") && motd.contains("rule \"demo\": protected"), "{motd}");
    assert!(text.contains("exit 0") && text.contains("user root"), "{text}");
    assert!(!text.contains('\x1b'));
}

#[test]
fn the_order_of_the_records_does_not_matter() {
    let mut records = story();
    let first = text(&records);
    records.reverse();
    assert_eq!(text(&records), first);
}

#[test]
fn a_process_that_becomes_another_program_is_one_process() {
    let (sh, cp) = (process(9, 1, "/bin/sh"), process(9, 2, "/bin/cp"));
    let records = [
        found(1, 20, by(sh, &[]), modify("/a")),
        found(2, 21, by(cp.clone(), &[]), started("/bin/cp")),
        found(3, 22, by(cp, &[]), modify("/b")),
    ];
    let boots = replay(&records);
    assert_eq!(boots[0].roots.len(), 1);
    assert_eq!(boots[0].roots[0].programs.len(), 2);
    assert!(text(&records).contains("exec /bin/cp"));
}

#[test]
fn a_pid_used_again_is_another_process() {
    let mut again = process(9, 1, "/bin/sh");
    again.id = Some(ExecId { pid: 9, start: 900 * MS, exec: 1 });
    let records = [
        found(1, 20, by(process(9, 1, "/bin/sh"), &[]), modify("/a")),
        found(2, 21, by(again, &[]), modify("/b")),
    ];
    assert_eq!(replay(&records)[0].roots.len(), 2);
}

#[test]
fn a_process_known_from_proc_and_from_the_kernel_is_one() {
    let seen = |start, exec| {
        let id = Some(ExecId { pid: 9, start, exec });
        v1::Process { id, ..process(9, 1, "/bin/sh") }
    };
    let (child, other) = (process(20, 2, "/bin/a"), process(21, 2, "/bin/b"));
    let records = [
        found(1, 900, by(child, &[seen(430 * MS, 0)]), modify("/a")),
        found(2, 901, by(other, &[seen(430 * MS + 247_611, 3)]), modify("/b")),
    ];
    let boots = replay(&records);
    assert_eq!(boots[0].roots.len(), 1);
    let root = &boots[0].roots[0];
    assert_eq!((root.items.len(), root.start, root.programs.len()), (2, 430 * MS + 247_611, 1));
}

#[test]
fn boots_are_told_one_after_the_other() {
    let mut later = found(1, 5, by(process(9, 1, "/bin/sh"), &[]), modify("/b"));
    later.boot = BootId([0; 16]);
    later.record.time += 1_000_000 * MS;
    let boots_of = |records: &[Found]| replay(records).iter().map(|b| b.boot.0[0]).collect::<Vec<_>>();
    let records = [later, found(1, 900, by(process(9, 1, "/bin/sh"), &[]), modify("/a"))];
    assert_eq!(boots_of(&records), [1, 0]);
}

fn count(processes: &[Process<'_>]) -> usize {
    let below = |p: &Process<'_>| -> usize {
        p.items
            .iter()
            .map(|i| match i {
                Item::Change(_) => 1,
                Item::Child(child) => count(std::slice::from_ref(child)),
            })
            .sum()
    };
    processes.iter().map(below).sum()
}

#[test]
fn a_chain_without_end_is_cut_and_nothing_is_left_out() {
    let records: Vec<Found> = (1..5_000)
        .map(|n| {
            found(
                n.into(),
                10_000 + u64::from(n),
                by(process(n + 1, 1, "/x"), &[process(n, 1, "/x")]),
                modify("/a"),
            )
        })
        .collect();
    let boots = replay(&records);
    assert!(boots[0].roots.len() > 50);
    assert!(boots[0].roots.iter().any(|root| root.cut));
    assert_eq!(count(&boots[0].roots), records.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn whatever_hosts_say_of_their_processes_every_record_is_told_once(
        made in proptest::collection::vec((0_u32..6, proptest::collection::vec(0_u32..6, 0..5), 0_u64..50), 1..40),
    ) {
        let records: Vec<Found> = made.iter().zip(1..).map(|((pid, above, at), n)| {
            let above: Vec<v1::Process> = above.iter().map(|pid| process(*pid, 1, "/x")).collect();
            found(n, *at, by(process(*pid, 1, "/x"), &above), modify("/a"))
        }).collect();
        let boots = replay(&records);
        prop_assert_eq!(count(&boots[0].roots) + boots[0].notes.len(), records.len());
        prop_assert!(show::json(&boots[0]).is_object());
        let mut turned = records.clone();
        turned.reverse();
        prop_assert_eq!(text(&turned), text(&records));
    }
}
