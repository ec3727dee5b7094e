//! The verdict on one event: a pure function of the policy and the event.

use graven_record::id::Lane;
use graven_record::shared::Shared;
use graven_record::v1::record::Event;
use graven_record::v1::{self, Decision, Entry, File, Outcome, PathSource, Ring, Severity, Subject, Verdict};

use super::certainty::{Certainty, certainty, with_certainty};
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
#[path = "judge_tests.rs"]
mod tests;
