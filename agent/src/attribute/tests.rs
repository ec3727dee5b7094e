#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::HashMap;
use std::path::Path;

use graven_record::v1::record::Event as Sealed;
use graven_record::v1::{CreateKind, Origin, Outcome, PathSource, Ring};
use proptest::prelude::*;

use super::*;
use crate::decode::observed::{DentryPath, ExecId, Task};

const ROOT: u64 = 254 << 20;
const TICK: u64 = 10_000_000;
const SECOND: u64 = 1_000_000_000;

#[derive(Default)]
struct FakeHost {
    facts: HashMap<u32, Facts>,
    files: HashMap<Vec<u8>, (u64, u64)>,
    inodes: HashMap<String, u64>,
    asked: std::cell::Cell<u32>,
}

impl Host for FakeHost {
    fn processes(&self) -> std::io::Result<Vec<u32>> {
        Ok(self.facts.keys().copied().collect())
    }
    fn facts(&self, pid: u32) -> Option<Facts> {
        self.asked.set(self.asked.get() + 1);
        self.facts.get(&pid).cloned()
    }
    fn cgroup(&self, pid: u32, start: u64) -> Option<Vec<u8>> {
        self.facts.get(&pid).filter(|facts| facts.start == start).map(|facts| facts.cgroup.clone())
    }
    fn inode(&self, path: &Path) -> Option<u64> {
        self.inodes.get(path.to_str()?).copied()
    }
    fn is(&self, path: &[u8], device: u64, inode: u64) -> bool {
        self.files.get(path) == Some(&(device, inode))
    }
    fn mountinfo(&self) -> std::io::Result<Vec<u8>> {
        Ok(b"27 1 254:0 / / rw - ext4 /dev/vda rw\n31 27 0:30 / /sys/fs/cgroup rw - cgroup2 c rw\n".to_vec())
    }
    fn passwd(&mut self) -> Option<Vec<u8>> {
        Some(b"root:x:0:0::/:/bin/sh\nbob:x:1000:1000::/:/bin/sh\n".to_vec())
    }
}

impl FakeHost {
    /// init (1), sshd (50) and a shell (60), as `/proc` shows them.
    fn usual() -> Self {
        let mut host = Self::default();
        host.process(1, 0, 1, "/usr/lib/systemd/systemd", "0::/init.scope");
        host.process(50, 1, 100, "/usr/sbin/sshd", "0::/system.slice/ssh.service");
        host.process(60, 50, 200, "/usr/bin/bash", "0::/user.slice/user-1000.slice/session-4.scope");
        host.group("/system.slice/ssh.service", 7);
        host.group("/user.slice/user-1000.slice/session-4.scope", 8);
        host
    }

    fn process(&mut self, pid: u32, parent: u32, start: u64, exe: &str, cgroup: &str) {
        let inode = u64::from(pid) + 1000;
        self.files.insert(exe.into(), (ROOT, inode));
        let exe = Exe { link: exe.into(), device: ROOT, inode, deleted: false, here: true };
        let comm = Path::new(std::str::from_utf8(&exe.link).unwrap())
            .file_name()
            .unwrap()
            .as_encoded_bytes()
            .to_vec();
        let cgroup = cgroup.as_bytes().to_vec();
        let facts = Facts {
            start,
            parent,
            comm,
            arguments: b"x\0--token=abc".to_vec(),
            exe: Some(exe),
            cgroup,
            ..Facts::default()
        };
        self.facts.insert(pid, facts);
    }

    fn group(&mut self, path: &str, id: u64) {
        self.inodes.insert(format!("/sys/fs/cgroup{path}"), id);
    }

    fn start(self) -> Attribution<Self> {
        Attribution::of(self, [1; 32]).unwrap()
    }
}

fn id(pid: u32, start_ticks: u64, exec: u32) -> ExecId {
    ExecId { pid, start: start_ticks * TICK + 123, exec }
}

/// A task of the shell's session; its program is that of the fake process of the same pid.
fn task(id: ExecId, parent: ExecId) -> Task {
    Task {
        id,
        parent,
        tid: id.pid,
        loginuid: Some(1000),
        comm: b"bash".to_vec(),
        exe_device: ROOT,
        exe_inode: u64::from(id.pid) + 1000,
        cgroup: 8,
        ..Task::default()
    }
}

fn shell() -> Task {
    task(id(60, 200, 5), id(50, 100, 2))
}

fn inode(path: &str, number: u64) -> Inode {
    let names = path.trim_end_matches('/').into();
    Inode {
        place: Place::Dentry {
            path: DentryPath { device: ROOT, names, ..DentryPath::default() },
            source: PathSource::File,
        },
        device: ROOT,
        inode: number,
        generation: 0,
        mode: 0,
        uid: 0,
        gid: 0,
        size: 0,
        links: 1,
    }
}

fn seen(at: u64, task: Task, event: Event) -> Observed {
    Observed {
        at: at * SECOND,
        cpu: 1,
        ring: Ring::Activity,
        sequence: 9,
        cause: Cause::default(),
        task,
        event,
    }
}

fn create(path: &str) -> Event {
    Event::Create {
        file: inode(path, 1),
        outcome: Outcome::Success,
        kind: CreateKind::Directory,
        from: None,
        target: Vec::new(),
    }
}

fn exec(path: &str, number: u64, before: ExecId, arguments: &[u8]) -> Event {
    Event::Exec {
        file: inode(path, number),
        called_as: path.as_bytes().to_vec(),
        cwd: DentryPath::default(),
        interpreter: Vec::new(),
        arguments: arguments.to_vec(),
        arguments_cut: false,
        before,
    }
}

fn exes(attributed: &Attributed) -> Vec<String> {
    let process = attributed.subject.process.iter();
    process
        .chain(&attributed.subject.ancestors)
        .map(|process| String::from_utf8(process.exe.to_vec()).unwrap())
        .collect()
}

#[test]
fn a_process_older_than_the_agent_is_named_with_its_ancestors_and_its_person() {
    let mut attribution = FakeHost::usual().start();
    let found = attribution.attribute(&seen(5, shell(), create("/etc/motd"))).unwrap();
    assert_eq!(exes(&found), ["/usr/bin/bash", "/usr/sbin/sshd", "/usr/lib/systemd/systemd"]);
    let subject = &found.subject;
    assert!(!subject.ancestors_cut);
    assert_eq!((subject.user.as_str(), subject.login_user.as_str()), ("root", "bob"));
    assert_eq!((subject.session_scope.as_str(), subject.origin()), ("session-4.scope", Origin::Ssh));
    assert_eq!(subject.person.as_ref().unwrap().name, "bob");
    assert_eq!(subject.process.as_ref().unwrap().id, Some(event::exec_id(&shell().id)));
    let Sealed::Create(made) = &found.event else { unreachable!() };
    assert_eq!(made.file.as_ref().unwrap().path, b"/etc/motd");
    assert_eq!(attribution.counters().seeded, 3);
    assert_eq!(attribution.counters().unannounced, 0);
}

#[test]
fn a_fork_and_its_exec_are_followed_and_secrets_stay_here() {
    let mut attribution = FakeHost::usual().start();
    let child = id(70, 300, 5);
    assert_eq!(attribution.attribute(&seen(5, shell(), Event::Fork { child })), None);
    let mut ran = task(id(70, 300, 6), shell().id);
    ran.comm = b"mysql".to_vec();
    let event = exec("/usr/bin/mysql", 1070, child, b"mysql\0-phunter2\0db");
    let found = attribution.attribute(&seen(6, ran.clone(), event)).unwrap();
    assert_eq!(exes(&found)[..2], ["/usr/bin/mysql", "/usr/bin/bash"]);
    assert_eq!(found.subject.process.as_ref().unwrap().arguments, 1);
    let arguments = String::from_utf8(found.private[0].to_vec()).unwrap();
    assert!(arguments.starts_with("mysql\0-p‹redacted 7 ") && arguments.ends_with("›\0db"), "{arguments}");
    assert_eq!(found.subject.session_scope, "session-4.scope", "inherited: nobody could read its cgroup");
    let later = attribution.attribute(&seen(7, ran, create("/tmp/x"))).unwrap();
    assert_eq!(later.private, found.private);
}

#[test]
fn an_exit_is_reported_only_when_a_record_referred_to_the_process() {
    let mut attribution = FakeHost::usual().start();
    let exit = || seen(8, shell(), Event::Exit { status: 256 });
    attribution.attribute(&seen(5, shell(), create("/etc/motd"))).unwrap();
    assert_eq!(attribution.attribute(&exit()), None);
    let mut attribution = FakeHost::usual().start();
    let made = attribution.attribute(&seen(5, shell(), create("/etc/motd"))).unwrap();
    attribution.refer(made.subject.process.as_ref().unwrap().id.as_ref().unwrap());
    let found = attribution.attribute(&exit()).unwrap();
    let Sealed::Exit(exit) = &found.event else { unreachable!() };
    assert_eq!((exit.status, exit.lived), (256, 8 * SECOND - shell().id.start));
}

#[test]
fn a_process_whose_life_events_were_lost_is_met_with_what_proc_still_knows() {
    let mut attribution = FakeHost::usual().start();
    attribution.host.process(80, 60, 400, "/usr/bin/vim", "0::/user.slice/user-1000.slice/session-4.scope");
    let stranger = task(id(80, 400, 6), shell().id);
    let found = attribution.attribute(&seen(9, stranger, create("/etc/motd"))).unwrap();
    assert_eq!(exes(&found)[..2], ["/usr/bin/vim", "/usr/bin/bash"]);
    assert_eq!(attribution.counters().unannounced, 1);
}

#[test]
fn a_process_that_is_gone_is_named_by_what_travelled_in_the_event_and_nothing_else() {
    let mut attribution = FakeHost::usual().start();
    let gone = task(id(81, 400, 6), shell().id);
    let found = attribution.attribute(&seen(9, gone.clone(), create("/etc/motd"))).unwrap();
    assert_eq!(exes(&found)[..2], ["", "/usr/bin/bash"]);
    assert_eq!(found.subject.process.as_ref().unwrap().exe_inode, gone.exe_inode);
    // The pid is used again by a younger process: its facts are not those of the one that is gone.
    attribution.host.process(82, 1, 999, "/usr/bin/other", "0::/init.scope");
    let reused = task(id(82, 400, 6), shell().id);
    assert_eq!(exes(&attribution.attribute(&seen(9, reused, create("/x"))).unwrap())[0], "");
}

#[test]
fn proc_is_not_believed_when_the_program_there_is_another_one_by_now() {
    let mut attribution = FakeHost::usual().start();
    attribution.host.process(80, 60, 400, "/usr/bin/vim", "0::/init.scope");
    let mut before = task(id(80, 400, 5), shell().id);
    before.exe_inode = 555;
    let found = attribution.attribute(&seen(9, before, create("/x"))).unwrap();
    assert_eq!(exes(&found)[0], "");
    let mut shell = shell();
    shell.exe_inode = 556;
    assert_eq!(exes(&attribution.attribute(&seen(9, shell, create("/x"))).unwrap())[0], "", "a seed neither");
}

#[test]
fn a_move_to_another_cgroup_is_seen_and_a_group_read_too_late_is_not_taken() {
    let mut host = FakeHost::usual();
    host.group("/system.slice/cron.service", 9);
    let mut attribution = host.start();
    let facts = attribution.host.facts.get_mut(&60).unwrap();
    facts.cgroup = b"0::/system.slice/cron.service".to_vec();
    let mut moved = shell();
    moved.cgroup = 9;
    let found = attribution.attribute(&seen(5, moved.clone(), create("/x"))).unwrap();
    assert_eq!(found.subject.unit, "cron.service");
    moved.cgroup = 77;
    let unknown = attribution.attribute(&seen(5, moved, create("/x"))).unwrap();
    assert_eq!((unknown.subject.unit.as_str(), unknown.subject.cgroup.as_str()), ("", ""));
    assert_eq!(attribution.counters().no_cgroup, 1);
}

#[test]
fn on_a_hybrid_host_the_unified_id_is_not_trusted() {
    let mut host = FakeHost::usual();
    for (pid, unit) in [(1, "init.scope"), (50, "ssh.service"), (60, "cron.service")] {
        host.facts.get_mut(&pid).unwrap().cgroup =
            format!("1:name=systemd:/system.slice/{unit}\n0::/\n").into_bytes();
    }
    let mut attribution = host.start();
    let found = attribution.attribute(&seen(5, Task { cgroup: 1, ..shell() }, create("/x"))).unwrap();
    assert_eq!(found.subject.unit, "cron.service");
    let other = task(id(50, 100, 2), id(1, 1, 1));
    let found = attribution.attribute(&seen(5, Task { cgroup: 1, ..other }, create("/x"))).unwrap();
    assert_eq!(found.subject.unit, "ssh.service");
}

#[test]
fn a_memfd_and_a_deleted_program_are_marked() {
    let mut attribution = FakeHost::usual().start();
    let mut run = |device, name: &str| {
        let mut file = inode(name, 5);
        let Place::Dentry { path, .. } = &mut file.place else { unreachable!() };
        (path.device, path.unhashed, file.device) = (device, true, device);
        // As the kernel's own mounts are.
        path.internal = device == 1;
        let event = Event::Exec {
            file,
            called_as: b"/proc/self/fd/3".to_vec(),
            cwd: DentryPath::default(),
            interpreter: Vec::new(),
            arguments: Vec::new(),
            arguments_cut: false,
            before: shell().id,
        };
        let found = attribution.attribute(&seen(5, task(id(60, 200, 6), id(50, 100, 2)), event)).unwrap();
        let Sealed::Exec(exec) = &found.event else { unreachable!() };
        (exec.memfd, exec.deleted, exes(&found)[0].clone())
    };
    assert_eq!(run(1, "/memfd:x"), (true, false, "fs:0:1:/memfd:x".to_owned()));
    assert_eq!(run(ROOT, "/usr/bin/x"), (false, true, "/usr/bin/x (deleted)".to_owned()));
}

#[test]
fn look_ups_in_proc_are_bounded_and_counted() {
    let mut attribution = FakeHost::usual().start();
    attribution.host.asked.set(0);
    for pid in 1000..3000 {
        let stranger = task(id(pid, 900, 0), id(50, 100, 2));
        attribution.attribute(&seen(9, stranger, create("/x"))).unwrap();
    }
    assert!(attribution.host.asked.get() <= 500);
    assert_eq!(attribution.counters().lookups_refused, 1500);
}

#[test]
fn this_host_can_be_read() {
    let attribution = Attribution::start().unwrap();
    let counters = attribution.counters();
    assert!(counters.seeded > 1);
    assert_eq!((counters.mounts_unread, counters.evicted_live), (0, 0));
}

proptest! {
    #[test]
    fn any_order_of_events_is_survived(
        steps in prop::collection::vec((0..6u8, 50..56u32, 98..102u64, 0..3u32, 50..56u32, any::<bool>()), 0..80),
    ) {
        let mut attribution = FakeHost::usual().start();
        for (at, (kind, pid, start, run, parent, refer)) in steps.into_iter().enumerate() {
            let who = task(id(pid, start, run), id(parent, start, run));
            let event = match kind {
                0 => Event::Fork { child: id(parent, start + 1, run) },
                1 => Event::Exit { status: 0 },
                2 => exec("/usr/bin/x", 1, id(pid, start, run.saturating_sub(1)), b"x"),
                _ => create("/etc/x"),
            };
            let found = attribution.attribute(&seen(at as u64 * 20, who.clone(), event));
            if let Some(found) = found {
                let process = found.subject.process.clone().unwrap();
                prop_assert_eq!(process.id, Some(event::exec_id(&who.id)));
                prop_assert!(found.subject.ancestors.len() <= 32);
                if refer {
                    attribution.refer(&event::exec_id(&who.id));
                }
            }
        }
    }
}
