//! The verdict on a started program.

use graven_record::id::Lane;
use graven_record::v1::{self, Decision, Subject, Verdict};

use super::Policy;
use super::judge::{alert, log, verdict};

/// What a started program is: allowed, or from a place where no program of the image lies.
pub(super) fn decide(policy: &Policy, subject: &Subject, exec: &v1::Exec) -> (Verdict, Lane) {
    let rules = &policy.exec;
    let nameless = exec.memfd || exec.deleted;
    let file = exec.file.as_ref();
    let path = file.map_or(&[][..], |file| &file.path);
    if let Some((rule, severity)) = rules.allowed(path, subject).filter(|_| !nameless) {
        let reason = "this program may run here".to_owned();
        return (verdict(Decision::Log, severity, rule, reason), Lane::Activity);
    }
    let mut names =
        std::iter::once(path).chain(file.iter().flat_map(|file| file.aliases.iter().map(Vec::as_slice)));
    let (place, reason) = if exec.memfd && rules.deny_memfd {
        ("memfd", "the program has no file: it was run from memory".to_owned())
    } else if exec.deleted && rules.deny_deleted {
        ("deleted", "the program's file has no name any more".to_owned())
    } else if let Some(place) = names.find_map(|name| rules.denied(name)) {
        (place, format!("programs in {place} are never part of the image"))
    } else if let Some(place) = rules.denied(&exec.loaded).filter(|_| !exec.loaded.is_empty()) {
        (
            place,
            format!("the dynamic loader was given a program in {place}, which is never part of the image"),
        )
    } else if let Some(place) = called_by(exec).and_then(|name| rules.denied(&name)) {
        (place, format!("it was called by a name in {place}, and scripts there are never part of the image"))
    } else {
        return (log("", ""), Lane::Activity);
    };
    (alert(policy, rules.otherwise, &format!("exec.deny_from \"{place}\""), reason), Lane::Protected)
}

/// The name that execve was given, against the current directory, without `.` and `..`: of a script it is the only
/// name there is, for the program that runs is its interpreter.
fn called_by(exec: &v1::Exec) -> Option<Vec<u8>> {
    if !exec.script.is_empty() {
        return Some(exec.script.clone());
    }
    let names = exec.called_as.strip_prefix(b"/")?.split(|byte| *byte == b'/');
    let mut whole: Vec<&[u8]> = Vec::new();
    for name in names {
        match name {
            b"" | b"." => {}
            b".." => drop(whole.pop()),
            _ => whole.push(name),
        }
    }
    Some([b"/", whole.join(&b'/').as_slice()].concat())
}
