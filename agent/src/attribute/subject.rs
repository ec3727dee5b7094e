//! The subject of a record, from the run and the task.

use bytes::Bytes;
use graven_record::v1;

use super::event::exec_id;
use super::origin::{Traces, origin, person};
use super::processes::{Followed, Processes};
use super::table::Run;
use super::users::Users;
use crate::decode::observed::{Event, Observed};

/// Ancestors of a record: the schema's bound.
const ANCESTORS: usize = 32;

/// The subject, and the values that go into the private part.
pub(super) fn subject(
    processes: &Processes,
    users: &Users,
    followed: Followed,
    seen: &Observed,
) -> (v1::Subject, Vec<Vec<u8>>) {
    let task = &seen.task;
    let Some(run) = processes.run(followed.key) else { return (v1::Subject::default(), Vec::new()) };
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
    (subject, private)
}

/// The whole command line with an exec, its kept head with everything else.
fn arguments(followed: Followed, run: &Run, event: &Event) -> Option<(Vec<u8>, bool)> {
    let (arguments, cut) = match (followed.arguments, event) {
        (Some(whole), Event::Exec { arguments_cut, .. }) => (whole, *arguments_cut),
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
