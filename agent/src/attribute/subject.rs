//! The subject of a record, from the run and the task.

use std::sync::Arc;

use bytes::Bytes;
use graven_record::shared::Shared;
use graven_record::v1;

use super::event::exec_id;
use super::origin::{Traces, origin, person};
use super::processes::{Followed, Processes};
use super::table::{Key, Run};
use super::users::Users;
use crate::decode::observed::{Event, Observed, Task};

/// Ancestors of a record: the schema's bound.
const ANCESTORS: usize = 32;

/// A subject, and the values that go into the private part.
pub(super) type Told = (Shared<v1::Subject>, Vec<Bytes>);

/// The last subject, and what it was made of: a process does many things one after another.
#[derive(Debug)]
pub(super) struct Last {
    key: Key,
    task: Task,
    /// The run, then its ancestors.
    runs: Vec<Run>,
    whole: bool,
    told: Told,
}

impl Last {
    /// The last one if all that it was made of is as it was, else a new one.
    pub(super) fn told(
        last: &mut Option<Self>,
        processes: &Processes,
        users: &Users,
        followed: Followed,
        seen: &Observed,
    ) -> Told {
        if followed.arguments.is_some() {
            return subject(processes, users, followed, seen);
        }
        if let Some(last) = last
            && last.holds(processes, followed.key, &seen.task)
        {
            return last.told.clone();
        }
        let key = followed.key;
        let told = subject(processes, users, followed, seen);
        *last = processes.run(key).map(|run| {
            let (ancestors, whole) = processes.ancestors(key, ANCESTORS);
            let runs = std::iter::once(run).chain(ancestors).cloned().collect();
            Self { key, task: seen.task.clone(), runs, whole, told: told.clone() }
        });
        told
    }

    fn holds(&self, processes: &Processes, key: Key, task: &Task) -> bool {
        if self.key != key || self.task != *task {
            return false;
        }
        let mut then = self.runs.iter();
        let mut is_next = |now: &Run| then.next().is_some_and(|then| is_as_it_was(now, then));
        let mut same = processes.run(key).is_some_and(&mut is_next);
        let whole = processes.climb(key, ANCESTORS, |run| same = same && is_next(run));
        same && whole == self.whole && then.next().is_none()
    }
}

/// Does a run say of itself what it said then?
fn is_as_it_was(now: &Run, then: &Run) -> bool {
    now.id == then.id
        && Arc::ptr_eq(&now.program, &then.program)
        && Arc::ptr_eq(&now.group, &then.group)
        && now.comm == then.comm
        && now.kernel_thread == then.kernel_thread
}

/// The subject, and the values that go into the private part.
pub(super) fn subject(processes: &Processes, users: &Users, followed: Followed, seen: &Observed) -> Told {
    let task = &seen.task;
    let Some(run) = processes.run(followed.key) else { return Told::default() };
    let (ancestors, whole) = processes.ancestors(followed.key, ANCESTORS);
    let traces = Traces {
        kernel_thread: task.kernel_thread,
        group: &run.group,
        ancestors: ancestors.iter().map(|run| run.program.exe.as_ref()).collect(),
        tty: &task.tty,
    };
    let mut private = Vec::new();
    let mut own = process(run);
    if own.comm != task.comm {
        own.comm = Bytes::copy_from_slice(&task.comm);
    }
    own.kernel_thread = task.kernel_thread;
    if let Some((arguments, cut)) = arguments(followed, run, &seen.event) {
        private.push(arguments);
        own.arguments = 1;
        own.arguments_cut = cut;
    }
    let login_user = task.loginuid.map_or("", |uid| users.name(uid));
    let subject = v1::Subject {
        process: Some(own),
        thread: task.tid,
        ancestors: ancestors.iter().map(|run| process(run)).collect(),
        ancestors_cut: !whole,
        uid: task.uid,
        gid: task.gid,
        euid: task.euid,
        egid: task.egid,
        fsuid: task.fsuid,
        user: users.name(task.uid).to_owned(),
        effective_user: users.name(task.euid).to_owned(),
        loginuid: task.loginuid,
        login_user: login_user.to_owned(),
        session: task.session,
        tty: task.tty.clone(),
        cgroup: run.group.path.clone(),
        unit: run.group.unit.clone(),
        session_scope: run.group.session.clone(),
        container: run.group.container.clone(),
        container_runtime: run.group.runtime.clone(),
        origin: origin(&traces).into(),
        person: Some(person(&traces, task.loginuid, login_user)),
    };
    (subject.into(), private)
}

/// The whole command line with an exec, its kept head with everything else.
fn arguments(followed: Followed, run: &Run, event: &Event) -> Option<(Bytes, bool)> {
    let (arguments, cut) = match (followed.arguments, event) {
        (Some(whole), Event::Exec { arguments_cut, .. }) => (whole.into(), *arguments_cut),
        _ => (run.program.arguments.clone(), run.program.arguments_cut),
    };
    (!arguments.is_empty()).then_some((arguments, cut))
}

fn process(run: &Run) -> v1::Process {
    v1::Process {
        id: Some(exec_id(&run.id)),
        exe: run.program.exe.clone(),
        comm: run.comm.clone(),
        exe_device: run.program.device,
        exe_inode: run.program.inode,
        kernel_thread: run.kernel_thread,
        arguments: 0,
        arguments_cut: false,
    }
}
