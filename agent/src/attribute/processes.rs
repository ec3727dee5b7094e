//! Keeps the process table: from events, and from `/proc` where an event is missing.

use std::sync::Arc;

use bytes::Bytes;

use super::Counters;
use super::groups::Groups;
use super::host::{Exe, Facts, Host};
use super::mounts::Mounts;
use super::place;
use super::redact::Redactor;
use super::table::{Key, Parent, Program, Run, Table, ticks};
use crate::decode::observed::{DentryPath, Event, ExecId, Inode, Observed, Task};

/// Bytes of a command line kept with its run, for later records of it: 32 MiB for a full table at worst.
const HEAD: usize = 512;
/// Look-ups of unknown processes in `/proc` per second: some 30 ms of it.
const LOOKUPS: u32 = 500;
/// ns in which so many are made.
const INTERVAL: u64 = 1_000_000_000;
/// Parents looked up for one unknown process: as many as a record shows.
const PARENTS: usize = 32;

/// The run that did it, and the whole command line where the event brought one.
pub(super) struct Followed {
    pub(super) key: Key,
    pub(super) arguments: Option<Vec<u8>>,
}

/// The processes of the host.
#[derive(Debug)]
pub(super) struct Processes {
    table: Table,
    groups: Groups,
    redactor: Redactor,
    seeded: u64,
    unannounced: u64,
    refused: u64,
    budget: (u64, u32),
}

impl Processes {
    pub(super) fn new(redactor: Redactor) -> Self {
        Self {
            table: Table::default(),
            groups: Groups::default(),
            redactor,
            seeded: 0,
            unannounced: 0,
            refused: 0,
            budget: (0, 0),
        }
    }

    /// Reads every process that runs.
    pub(super) fn seed(&mut self, host: &impl Host, mounts: &Mounts) -> std::io::Result<()> {
        let mut found = Vec::new();
        for pid in host.processes()? {
            // None: it ended since it was listed.
            found.extend(host.facts(pid).map(|facts| (pid, facts)));
        }
        self.groups.decide(found.iter().map(|(_, facts)| facts.cgroup.as_slice()));
        let mut keys = Vec::new();
        for (pid, facts) in &found {
            keys.push(self.add_seed(host, mounts, *pid, facts));
            self.seeded += 1;
        }
        for (key, (_, facts)) in keys.into_iter().zip(&found) {
            let parent = match facts.parent {
                0 => Parent::Kernel,
                pid => self.table.latest(pid).map_or(Parent::Unknown, Parent::Run),
            };
            self.table.set_parent(key, parent);
        }
        Ok(())
    }

    /// Takes the event into the table. None for a fork, and for the end of a process nobody asked about.
    pub(super) fn follow(&mut self, host: &impl Host, mounts: &Mounts, seen: &Observed) -> Option<Followed> {
        self.table.expire(seen.at);
        let task = &seen.task;
        match &seen.event {
            Event::Fork { child } => {
                let parent = self.run_of(host, mounts, task, seen.at);
                self.table.fork(parent, *child, seen.at);
                None
            }
            Event::Exit { .. } => {
                let key = self.table.find(&task.id)?;
                if self.table.run(key)?.referred {
                    return Some(Followed { key, arguments: None });
                }
                self.table.end(key, seen.at);
                None
            }
            Event::Exec { file, arguments, arguments_cut, before, .. } => {
                let safe = self.redactor.redact(arguments);
                let program = program(mounts, task, file, &safe, *arguments_cut);
                let key = self.exec(host, mounts, seen, before, program);
                Some(Followed { key, arguments: Some(safe) })
            }
            _ => Some(Followed { key: self.run_of(host, mounts, task, seen.at), arguments: None }),
        }
    }

    pub(super) fn run(&self, key: Key) -> Option<&Run> {
        self.table.run(key)
    }

    pub(super) fn ancestors(&self, key: Key, most: usize) -> (Vec<&Run>, bool) {
        self.table.ancestors(key, most)
    }

    pub(super) fn climb<'a>(&'a self, key: Key, most: usize, see: impl FnMut(&'a Run)) -> bool {
        self.table.climb(key, most, see)
    }

    pub(super) fn end(&mut self, key: Key, at: u64) {
        self.table.end(key, at);
    }

    pub(super) fn refer(&mut self, id: &ExecId) {
        self.table.refer(id);
    }

    pub(super) fn counters(&self) -> Counters {
        Counters {
            seeded: self.seeded,
            runs: self.table.len() as u64,
            evicted_live: self.table.evicted_live,
            evicted_early: self.table.evicted_early,
            unannounced: self.unannounced,
            lookups_refused: self.refused,
            no_cgroup: self.groups.unknown,
            cgroups_forgotten: self.groups.forgotten,
            mounts_unread: 0,
            remounts_untold: 0,
            links_untold: 0,
        }
    }

    /// A new program in the same process: its parent stays that of the process.
    fn exec(
        &mut self,
        host: &impl Host,
        mounts: &Mounts,
        seen: &Observed,
        before: &ExecId,
        program: Program,
    ) -> Key {
        let task = &seen.task;
        let before = self.table.find(before).or_else(|| self.table.sibling(&task.id));
        let before = before.and_then(|key| self.table.run(key)).cloned();
        let mut run = match &before {
            Some(before) => Run::new(task.id, before.parent),
            None => {
                self.unannounced += 1;
                Run::new(task.id, self.parent(host, mounts, &task.parent, seen.at))
            }
        };
        run.referred = before.as_ref().is_some_and(|before| before.referred);
        let known = before.map(|before| (before.group, before.group_id));
        (run.group, run.group_id) = self.groups.of_task(host, mounts, task, known);
        run.program = Arc::new(program);
        run.comm = Bytes::copy_from_slice(&task.comm);
        run.kernel_thread = task.kernel_thread;
        run.looked_up = true;
        self.table.add(run, seen.at)
    }

    /// The run of a task, met now if its life events were lost.
    fn run_of(&mut self, host: &impl Host, mounts: &Mounts, task: &Task, at: u64) -> Key {
        let key = match self.table.find(&task.id) {
            Some(key) => key,
            None => self.meet(host, mounts, task, at),
        };
        self.agree(host, mounts, key, task, at);
        key
    }

    fn meet(&mut self, host: &impl Host, mounts: &Mounts, task: &Task, at: u64) -> Key {
        self.unannounced += 1;
        let sibling = self.table.sibling(&task.id).and_then(|key| self.table.run(key)).cloned();
        let mut run = match &sibling {
            Some(sibling) => Run::new(task.id, sibling.parent),
            None => Run::new(task.id, self.parent(host, mounts, &task.parent, at)),
        };
        run.referred = sibling.as_ref().is_some_and(|sibling| sibling.referred);
        let group =
            sibling.map(|sibling| (sibling.group, sibling.group_id)).or_else(|| self.group_of(run.parent));
        (run.group, run.group_id) = self.groups.of_task(host, mounts, task, group);
        run.program = Arc::new(Program::unknown(task));
        self.table.add(run, at)
    }

    fn group_of(&self, parent: Parent) -> Option<super::groups::Found> {
        let Parent::Run(key) = parent else { return None };
        self.table.run(key).map(|run| (run.group.clone(), run.group_id))
    }

    /// Makes the run say what the kernel says now: its name, its cgroup, and no other program than it runs.
    fn agree(&mut self, host: &impl Host, mounts: &Mounts, key: Key, task: &Task, at: u64) {
        let Some(run) = self.table.run_mut(key) else { return };
        if run.comm != task.comm {
            run.comm = Bytes::copy_from_slice(&task.comm);
        }
        run.kernel_thread = task.kernel_thread;
        if run.program.contradicts(task) {
            run.program = Arc::new(Program::unknown(task));
            run.looked_up = false;
        } else if !run.program.by_kernel && task.exe_inode != 0 {
            let program = Arc::make_mut(&mut run.program);
            (program.device, program.inode, program.by_kernel) = (task.exe_device, task.exe_inode, true);
        }
        let look = run.program.exe.is_empty() && !run.looked_up && !task.kernel_thread;
        let (group, id) = (run.group.clone(), run.group_id);
        if self.groups.moved(task, id) {
            let found = self.groups.of_task(host, mounts, task, Some((group, id)));
            if let Some(run) = self.table.run_mut(key) {
                (run.group, run.group_id) = found;
            }
        }
        if look {
            self.look_up(host, mounts, key, task, at);
        }
    }

    /// Asks `/proc` for the program of a run, once.
    fn look_up(&mut self, host: &impl Host, mounts: &Mounts, key: Key, task: &Task, at: u64) {
        if !self.may_look_up(at) {
            return;
        }
        let facts = host.facts(task.id.pid).filter(|facts| facts.start == ticks(&task.id));
        let program =
            facts.filter(|facts| is_of(facts, task)).map(|facts| self.program_of(host, mounts, &facts));
        let Some(run) = self.table.run_mut(key) else { return };
        run.looked_up = true;
        if let Some(program) = program {
            run.program = Arc::new(Program {
                device: task.exe_device,
                inode: task.exe_inode,
                by_kernel: true,
                ..program
            });
        }
    }

    /// The run of a parent that is only known by its id.
    fn parent(&mut self, host: &impl Host, mounts: &Mounts, id: &ExecId, at: u64) -> Parent {
        if id.pid == 0 {
            return Parent::Kernel;
        }
        if let Some(key) = self.table.find(id) {
            return Parent::Run(key);
        }
        let sibling = self.table.sibling(id).and_then(|key| self.table.run(key)).cloned();
        if let Some(sibling) = sibling {
            // The same process ran another program before or since.
            let mut run = Run::new(*id, sibling.parent);
            (run.group, run.group_id) = (sibling.group, sibling.group_id);
            return Parent::Run(self.table.add(run, at));
        }
        if !self.may_look_up(at) {
            return Parent::Run(self.table.add(Run::new(*id, Parent::Unknown), at));
        }
        match host.facts(id.pid).filter(|facts| facts.start == ticks(id)) {
            Some(facts) => {
                let key = self.add_seed(host, mounts, id.pid, &facts);
                self.link_parents(host, mounts, key, facts.parent, at);
                Parent::Run(self.table.find(id).unwrap_or(key))
            }
            None => Parent::Run(self.table.add(Run::new(*id, Parent::Unknown), at)),
        }
    }

    /// Follows parents as they are now, up to one that is known.
    fn link_parents(&mut self, host: &impl Host, mounts: &Mounts, mut child: Key, mut pid: u32, at: u64) {
        for _ in 0..PARENTS {
            if pid == 0 {
                return self.table.set_parent(child, Parent::Kernel);
            }
            if !self.may_look_up(at) {
                return;
            }
            let Some(facts) = host.facts(pid) else { return };
            let known = self
                .table
                .latest(pid)
                .filter(|key| self.table.run(*key).is_some_and(|run| ticks(&run.id) == facts.start));
            if let Some(known) = known {
                return self.table.set_parent(child, Parent::Run(known));
            }
            let key = self.add_seed(host, mounts, pid, &facts);
            self.table.set_parent(child, Parent::Run(key));
            (child, pid) = (key, facts.parent);
        }
    }

    fn add_seed(&mut self, host: &impl Host, mounts: &Mounts, pid: u32, facts: &Facts) -> Key {
        let mut run = Run::seeded(pid, facts.start);
        run.comm = Bytes::copy_from_slice(&facts.comm);
        run.kernel_thread = facts.kernel_thread;
        run.program = Arc::new(self.program_of(host, mounts, facts));
        (run.group, run.group_id) = self.groups.of_text(host, mounts, &facts.cgroup);
        self.table.add(run, 0)
    }

    fn program_of(&self, host: &impl Host, mounts: &Mounts, facts: &Facts) -> Program {
        let exe = facts.exe.as_ref();
        let (arguments, cut) = head(&self.redactor.redact(&facts.arguments));
        Program {
            exe: exe.map(|exe| exe_path(host, mounts, exe)).unwrap_or_default().into(),
            device: exe.map_or(0, |exe| exe.device),
            inode: exe.map_or(0, |exe| exe.inode),
            by_kernel: false,
            arguments: arguments.into(),
            arguments_cut: cut || facts.arguments_cut,
        }
    }

    fn may_look_up(&mut self, at: u64) -> bool {
        let (since, made) = &mut self.budget;
        if at >= since.saturating_add(INTERVAL) {
            (*since, *made) = (at, 0);
        }
        *made += 1;
        let may = *made <= LOOKUPS;
        self.refused += u64::from(!may);
        may
    }
}

/// The program that an exec started.
fn program(mounts: &Mounts, task: &Task, file: &Inode, arguments: &[u8], cut: bool) -> Program {
    let mut exe = place::file(mounts, file).path;
    let (_, deleted) = place::is_nameless(mounts, file);
    if deleted {
        exe.extend_from_slice(b" (deleted)");
    }
    let (arguments, shortened) = head(arguments);
    let (device, inode) = match task.exe_inode {
        0 => (place::device(file), file.inode),
        inode => (task.exe_device, inode),
    };
    Program {
        exe: exe.into(),
        device,
        inode,
        by_kernel: true,
        arguments: arguments.into(),
        arguments_cut: cut || shortened,
    }
}

/// Whether facts of a pid are of the program that the kernel names. Where stat's device is not the kernel's
/// (overlay, btrfs) inodes cannot be compared, and the name has to do.
fn is_of(facts: &Facts, task: &Task) -> bool {
    facts.exe.as_ref().is_some_and(|exe| match exe.device == task.exe_device {
        true => exe.inode == task.exe_inode,
        false => facts.comm == task.comm,
    })
}

/// The host path of a program from `/proc/PID/exe`, whose text is true in the mount namespace of the process
/// only: a path is taken if it leads to that very file from here.
fn exe_path(host: &impl Host, mounts: &Mounts, exe: &Exe) -> Vec<u8> {
    if host.is(&exe.link, exe.device, exe.inode) || (exe.deleted && exe.here) {
        return exe.link.clone();
    }
    let names = exe.link.clone();
    let names = mounts.resolve(&DentryPath { device: exe.device, names, ..DentryPath::default() });
    let mut candidates = std::iter::once(names.path).chain(names.aliases);
    candidates.find(|path| host.is(path, exe.device, exe.inode)).unwrap_or_default()
}

/// The beginning of a command line, cut between characters.
fn head(arguments: &[u8]) -> (Vec<u8>, bool) {
    if arguments.len() <= HEAD {
        return (arguments.to_vec(), false);
    }
    let mut end = HEAD;
    while end > HEAD - 4 && arguments[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    (arguments[..end].to_vec(), true)
}
