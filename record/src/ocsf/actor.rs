//! OCSF's `actor` and `process`: who did it, by which program, started from where.

use serde_json::Value;

use crate::event::file;
use crate::ocsf::{Object, Scene, word_of};
use crate::shape::MAX_ANCESTORS;
use crate::v1::{Exec, ExecId, Origin, Process, Record, Subject, record::Event};

/// OCSF's type of a program's file, and of users.
const EXECUTABLE: u32 = 8;
const USER: u32 = 1;
const ADMIN: u32 = 2;
const UNKNOWN: u32 = 0;

/// Who did it. For an exec: the program that called it. The logger's own records have the agent.
pub(crate) fn object(scene: &Scene<'_>) -> Object {
    let mut out = Object::new();
    let Some(subject) = &scene.record.subject else {
        out.put("app_name", own(scene));
        return out;
    };
    match &scene.record.event {
        Some(Event::Exec(exec)) => out.object("process", caller(scene, subject, exec)),
        _ => out.object("process", program(scene, "actor.process", subject)),
    };
    out.object("user", user(subject)).object("session", session(subject));
    out
}

/// A record without a subject is the agent's own word, unless it is of a kind that must have one.
fn own(scene: &Scene<'_>) -> &'static str {
    if is_own(scene.record) { "graven-agent" } else { "unknown" }
}

/// Is it of a kind that only the agent itself tells of?
pub(crate) fn is_own(record: &Record) -> bool {
    matches!(
        &record.event,
        Some(
            Event::Lost(_)
                | Event::EpochStart(_)
                | Event::Start(_)
                | Event::Stop(_)
                | Event::Clock(_)
                | Event::PolicyChange(_)
                | Event::ProbeSilent(_)
                | Event::MapChanged(_)
                | Event::Paused(_)
        )
    )
}

/// The process that a process event is about: the subject's.
pub(crate) fn launched(scene: &Scene<'_>) -> Object {
    match &scene.record.subject {
        Some(subject) => program(scene, "process", subject),
        None => out_of_nothing(scene),
    }
}

/// Who called execve: the parent when the caller was a fresh copy of it (fork keeps the count of execs), else
/// the program that ran in this process before, of which nothing but its name is known. The rights it had are
/// not said: those in the record are the new program's.
fn caller(scene: &Scene<'_>, subject: &Subject, exec: &Exec) -> Object {
    let at = "actor.process";
    let parent = subject.ancestors.first();
    let count = |process: &Process| process.id.as_ref().map(|id| id.exec);
    let is_copy = |before: &ExecId| parent.and_then(count) == Some(before.exec);
    let (mut out, above) = match (&exec.before, parent) {
        (Some(before), parent) if !is_copy(before) => (run(scene, before), parent),
        (_, Some(parent)) => (entity(scene, at, parent), subject.ancestors.get(1)),
        (_, None) => return out_of_nothing(scene),
    };
    if let Some(above) = above {
        out.object("parent_process", entity(scene, &format!("{at}.parent_process"), above));
    }
    out
}

/// A program that is not known: nothing is said of it but that.
fn out_of_nothing(scene: &Scene<'_>) -> Object {
    let mut out = Object::new();
    out.put("uid", format!("{}:unknown", scene.envelope.boot));
    out
}

/// The subject's program with all that is known of it.
fn program(scene: &Scene<'_>, at: &str, subject: &Subject) -> Object {
    let mut out = match &subject.process {
        Some(process) => entity(scene, at, process),
        None => out_of_nothing(scene),
    };
    if let Some(process) = &subject.process {
        out.object("file", executable(scene, at, process));
        out.maybe("cmd_line", arguments(scene, at, process));
    }
    out.object("user", account(subject));
    credentials(subject, &mut out);
    out.object("session", session(subject)).object("container", container(subject));
    out.number("ptid", subject.thread);
    parents(scene, at, subject, &mut out);
    out.object("xattributes", extra(subject));
    out
}

/// What OCSF calls a process entity: one program run and its names.
fn entity(scene: &Scene<'_>, at: &str, process: &Process) -> Object {
    let mut out = process.id.as_ref().map_or_else(|| out_of_nothing(scene), |id| run(scene, id));
    let name = if process.comm.is_empty() { file::name(&process.exe) } else { &process.comm };
    out.text("name", &scene.bytes(&format!("{at}.name"), name));
    out.text("path", &scene.bytes(&format!("{at}.path"), &process.exe));
    out
}

fn run(scene: &Scene<'_>, id: &ExecId) -> Object {
    let mut out = Object::new();
    out.put("pid", id.pid).put("uid", scene.run(id).to_string());
    out.maybe("created_time", scene.moment(id.start));
    out
}

fn executable(scene: &Scene<'_>, at: &str, process: &Process) -> Object {
    let mut out = Object::new();
    if process.exe.is_empty() {
        return out;
    }
    out.put("name", scene.bytes(&format!("{at}.file.name"), file::name(&process.exe)));
    out.put("path", scene.bytes(&format!("{at}.file.path"), &process.exe));
    out.put("type_id", EXECUTABLE).put("type", "Executable File");
    out.maybe("uid", file::identity(process.exe_device, process.exe_inode, 0));
    out
}

/// The arguments as one would type them: those that a shell would split or read are in single quotes.
fn arguments(scene: &Scene<'_>, at: &str, process: &Process) -> Option<String> {
    let index = usize::try_from(process.arguments).ok()?.checked_sub(1)?;
    let value = scene.envelope.private.get(index)?.value.as_slice();
    let value = value.strip_suffix(b"\0").unwrap_or(value);
    let typed: Vec<Vec<u8>> = value.split(|byte| *byte == 0).map(typed).collect();
    let line = scene.bytes(&format!("{at}.cmd_line"), &typed.join(&b' '));
    Some(if process.arguments_cut { format!("{line} …") } else { line })
}

fn typed(argument: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"%+,-./:=@_~".contains(byte) || *byte >= 0x80;
    if !argument.is_empty() && argument.iter().all(plain) {
        return argument.to_vec();
    }
    let inner: Vec<&[u8]> = argument.split(|byte| *byte == b'\'').collect();
    [b"'", inner.join(&b"'\\''"[..]).as_slice(), b"'"].concat()
}

/// At most as many as the schema says; a record that holds more is hostile, and is marked as cut.
/// Parent, then the whole chain, then its paths from the oldest to the program itself.
fn parents(scene: &Scene<'_>, at: &str, subject: &Subject, out: &mut Object) {
    let chain = &subject.ancestors[..subject.ancestors.len().min(MAX_ANCESTORS)];
    if let Some(parent) = chain.first() {
        out.object("parent_process", entity(scene, &format!("{at}.parent_process"), parent));
    }
    let entities = chain.iter().enumerate();
    out.list("ancestry", entities.map(|(n, process)| entity(scene, &format!("{at}.ancestry[{n}]"), process)));
    let paths =
        chain.iter().rev().chain(&subject.process).map(|p| p.exe.as_ref()).filter(|exe| !exe.is_empty());
    let paths = paths.enumerate().map(|(n, exe)| scene.bytes(&format!("{at}.lineage[{n}]"), exe));
    out.list("lineage", paths.collect::<Vec<_>>());
}

/// The account under which the process runs: its real uid.
fn account(subject: &Subject) -> Object {
    let mut out = Object::new();
    out.put("uid", subject.uid.to_string()).text("name", &subject.user);
    out.put("type_id", if subject.uid == 0 { ADMIN } else { UNKNOWN });
    out
}

/// The Linux extension's `linux_users` profile.
fn credentials(subject: &Subject, out: &mut Object) {
    out.maybe("auid", subject.loginuid).put("euid", subject.euid).put("egid", subject.egid);
    let mut group = Object::new();
    group.put("uid", subject.gid.to_string());
    out.object("group", group);
}

/// The person; without one the account that logged in; without that the process's account.
fn user(subject: &Subject) -> Object {
    let person = subject.person.as_ref().map(|person| person.name.as_str()).unwrap_or_default();
    let mut login = Object::new();
    login.maybe("uid", subject.loginuid.map(|uid| uid.to_string()));
    login.text("name", &subject.login_user);
    match (person, login.is_empty()) {
        ("", true) => account(subject),
        (person, _) if person.is_empty() || person == subject.login_user => {
            login.put("type_id", USER);
            login
        }
        (person, _) => {
            let mut out = Object::new();
            out.put("name", person).object("account", login).put("type_id", USER);
            out
        }
    }
}

fn session(subject: &Subject) -> Object {
    let mut out = Object::new();
    out.maybe("uid", subject.session.map(|id| id.to_string()));
    out.text("uid_alt", &subject.session_scope).text("terminal", &subject.tty);
    out.maybe(
        "is_remote",
        match subject.origin() {
            Origin::Ssh => Some(true),
            Origin::Console => Some(false),
            _ => None,
        },
    );
    out
}

fn container(subject: &Subject) -> Object {
    let mut out = Object::new();
    if !subject.container.is_empty() {
        out.put("uid", subject.container.as_str()).text("runtime", &subject.container_runtime);
    }
    out
}

/// What belongs to the process and has no attribute of its own.
fn extra(subject: &Subject) -> Object {
    let process = subject.process.as_ref();
    let mut out = Object::new();
    out.text("cgroup", &subject.cgroup).text("unit", &subject.unit);
    out.text("effective_user", &subject.effective_user);
    out.maybe("fsuid", (subject.fsuid != subject.euid).then_some(subject.fsuid));
    out.flag("kernel_thread", process.is_some_and(|process| process.kernel_thread));
    out.flag("arguments_cut", process.is_some_and(|process| process.arguments_cut));
    let cut = subject.ancestors_cut || subject.ancestors.len() > MAX_ANCESTORS;
    out.flag("ancestors_cut", cut);
    out
}

/// Where it came from and how sure the person is.
pub(crate) fn unmapped(scene: &Scene<'_>, out: &mut Object) {
    let Some(subject) = &scene.record.subject else {
        return;
    };
    out.text("origin", &word_of("ORIGIN_", subject.origin().as_str_name()));
    if let Some(person) = &subject.person {
        let mut object = Object::new();
        object.put("name", if person.name.is_empty() { Value::Null } else { person.name.as_str().into() });
        object.text("evidence", &word_of("EVIDENCE_", person.evidence().as_str_name()));
        object.put("forgeable", person.forgeable).text("reason", &person.reason);
        out.object("person", object);
    }
}
