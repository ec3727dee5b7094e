//! What each kind of event says of itself: one file per kind, named as in the schema.
//!
//! In: the event of a record. Out: its OCSF class and activity, the attributes that OCSF has for it, those it
//! has not, and its words for people. Always: total; a field that a hostile or newer host filled with nonsense
//! is shown as it is or as unknown. Never: a name of a file or person that is not in the record. It cannot
//! fail.

use crate::ocsf::{Activity, Envelope, Object, Scene, class};
use crate::text::who;
use crate::v1::{File, Outcome, Record, record::Event};

pub(crate) mod file;

mod open;
mod modify;
mod create;
mod unlink;
mod rename;
mod attr;
mod exec;
mod exit;
mod uncovered;
mod lost;
mod epoch_start;
mod start;
mod stop;
mod clock;
mod policy_change;
mod truncate;
mod mmap;
mod mount;
mod login;
mod module;
mod bpf;
mod tamper;
mod probe_silent;
mod map_changed;
mod paused;

/// What a kind of event knows of itself.
pub(crate) trait View {
    /// OCSF's class and activity.
    fn activity(&self) -> Activity;
    /// A word or two for a line.
    fn verb(&self) -> &'static str;
    /// How sure it is that it happened. What has no doubt says success.
    fn outcome(&self) -> Outcome {
        Outcome::Success
    }
    /// How many more refusals of the same kind in the same directory this record stands for.
    fn folded(&self) -> u32 {
        0
    }
    /// The files that it is about, in the order in which people read them.
    fn files(&self) -> Vec<&File> {
        Vec::new()
    }
    /// The paths by which people look for it: those of its files, and others that it names.
    fn paths(&self) -> Vec<&[u8]> {
        self.files().into_iter().map(|file| file.path.as_slice()).collect()
    }
    /// What a line says behind the verb and the files, in a few words; empty when they say it all.
    fn detail(&self) -> String {
        String::new()
    }
    /// One sentence without an end; `who` did it.
    fn sentence(&self, who: &str, scene: &Scene<'_>) -> String;
    /// Attributes that the OCSF class has for it.
    fn attributes(&self, _scene: &Scene<'_>, _out: &mut Object) {}
    /// What OCSF has no place for.
    fn unmapped(&self, _scene: &Scene<'_>, _out: &mut Object) {}
}

/// The event's word in the schema; `unknown` for a kind of a newer release.
pub fn word(record: &Record) -> &'static str {
    match &record.event {
        Some(Event::Open(_)) => "open",
        Some(Event::Modify(_)) => "modify",
        Some(Event::Create(_)) => "create",
        Some(Event::Unlink(_)) => "unlink",
        Some(Event::Rename(_)) => "rename",
        Some(Event::Attr(_)) => "attr",
        Some(Event::Exec(_)) => "exec",
        Some(Event::Exit(_)) => "exit",
        Some(Event::Uncovered(_)) => "uncovered",
        Some(Event::Lost(_)) => "lost",
        Some(Event::EpochStart(_)) => "epoch_start",
        Some(Event::Start(_)) => "start",
        Some(Event::Stop(_)) => "stop",
        Some(Event::Clock(_)) => "clock",
        Some(Event::PolicyChange(_)) => "policy_change",
        Some(Event::Truncate(_)) => "truncate",
        Some(Event::Mmap(_)) => "mmap",
        Some(Event::Mount(_)) => "mount",
        Some(Event::Login(_)) => "login",
        Some(Event::Module(_)) => "module",
        Some(Event::Bpf(_)) => "bpf",
        Some(Event::Tamper(_)) => "tamper",
        Some(Event::ProbeSilent(_)) => "probe_silent",
        Some(Event::MapChanged(_)) => "map_changed",
        Some(Event::Paused(_)) => "paused",
        None => "unknown",
    }
}

/// The files that a record is about, the acted-on first; none for the logger's own.
pub fn files(record: &Record) -> Vec<&File> {
    view(record).files()
}

/// The paths that a record is looked for by, those of its files first.
pub fn paths(record: &Record) -> Vec<&[u8]> {
    view(record).paths()
}

pub(crate) fn view(record: &Record) -> &dyn View {
    match &record.event {
        Some(Event::Open(event)) => event,
        Some(Event::Modify(event)) => event,
        Some(Event::Create(event)) => event,
        Some(Event::Unlink(event)) => event,
        Some(Event::Rename(event)) => event,
        Some(Event::Attr(event)) => event,
        Some(Event::Exec(event)) => event,
        Some(Event::Exit(event)) => event,
        Some(Event::Uncovered(event)) => event,
        Some(Event::Lost(event)) => event,
        Some(Event::EpochStart(event)) => event,
        Some(Event::Start(event)) => event,
        Some(Event::Stop(event)) => event,
        Some(Event::Clock(event)) => event,
        Some(Event::PolicyChange(event)) => event,
        Some(Event::Truncate(event)) => event,
        Some(Event::Mmap(event)) => event,
        Some(Event::Mount(event)) => event,
        Some(Event::Login(event)) => event,
        Some(Event::Module(event)) => event,
        Some(Event::Bpf(event)) => event,
        Some(Event::Tamper(event)) => event,
        Some(Event::ProbeSilent(event)) => event,
        Some(Event::MapChanged(event)) => event,
        Some(Event::Paused(event)) => event,
        None => &Newer,
    }
}

/// The record as one plain sentence, with the policy's reason behind it.
pub(crate) fn message(envelope: &Envelope<'_>, record: &Record) -> String {
    let view = view(record);
    let sentence = view.sentence(&who(record), &Scene::new(envelope, record));
    let sentence = match view.folded() {
        0 => sentence,
        more => format!("{sentence}, and {more} more like it in the same directory"),
    };
    match record.verdict.as_ref().map(|v| v.reason.as_str()) {
        None | Some("") => sentence,
        Some(reason) if restates(record, &sentence, reason) => sentence,
        Some(reason) => format!("{sentence}; {}", crate::text::escape(reason.as_bytes())),
    }
}

/// The agent's own reason to alert on a loss is the loss, which the sentence tells.
fn restates(record: &Record, sentence: &str, reason: &str) -> bool {
    let loss = match &record.event {
        Some(Event::Lost(lost)) => reason.starts_with(&format!("{} events were lost", lost.count)),
        _ => false,
    };
    loss || sentence.starts_with(reason)
}

/// A kind that this release does not know.
struct Newer;

impl View for Newer {
    fn activity(&self) -> Activity {
        class::BASE.activity(0, "Unknown")
    }

    fn verb(&self) -> &'static str {
        "unknown"
    }

    fn outcome(&self) -> Outcome {
        Outcome::Unspecified
    }

    fn sentence(&self, who: &str, _scene: &Scene<'_>) -> String {
        format!("{who} did something that this release does not know: the agent is newer")
    }
}
