//! A record as OCSF 1.8.0 JSON.
//!
//! In: an [`Envelope`] (what is true of the whole frame) and a record. Out: one JSON object of class 1001, 1007
//! or 1008 (0, Base Event, for a kind of a newer release), with keys in a fixed order. Always: every attribute
//! that the class requires is there; nothing is invented to fill one. What OCSF has no place for is under
//! `unmapped`. Never: fails or panics, whatever the record holds.
//!
//! **Bytes that are not UTF-8** (names and arguments are bytes to the kernel): a string that is valid UTF-8 is
//! given as it is. One that is not has each such byte as `\xNN` and each backslash doubled, and its place is
//! listed in `unmapped.escaped`; [`text::unescape`](crate::text::unescape) gives the bytes back. A string
//! that is not listed was not escaped.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::Value;

use crate::event::{self, file};
use crate::id::{BootId, HostId, Lane, ProgramRun};
use crate::v1::{self, Entry, Outcome, Record};

mod json;
pub(crate) mod class;
mod metadata;
mod device;
pub(crate) mod actor;
pub(crate) mod control;

pub(crate) use class::Activity;
pub(crate) use json::Object;
pub use json::compact;

/// The version of OCSF.
pub const VERSION: &str = "1.8.0";
const NS_PER_MS: u64 = 1_000_000;

/// What a record does not say itself: whose it is, where it stood, and what it shares with its frame.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// Whose.
    pub host: HostId,
    /// Of which boot.
    pub boot: BootId,
    /// In which stream; none before it is sealed.
    pub lane: Option<Lane>,
    /// What is true of every record of the frame.
    pub context: &'a v1::Context,
    /// The frame's private entries; empty when they are erased or not for the reader.
    pub private: &'a [v1::PrivateEntry],
    /// Hash of the frame that holds it; none before it is sealed.
    pub frame_hash: Option<[u8; 32]>,
}

/// Renders one record.
pub fn render(envelope: &Envelope<'_>, record: &Record) -> Value {
    let scene = Scene::new(envelope, record);
    let view = event::view(record);
    let activity = view.activity();
    let mut out = Object::new();
    activity.put(&mut out);
    out.put("time", scene.time());
    control::severity(&scene, &mut out);
    status(view.outcome(), &mut out);
    if view.folded() != 0 {
        out.put("count", 1 + u64::from(view.folded()));
    }
    out.put("message", event::message(envelope, record));
    out.object("metadata", metadata::object(&scene));
    out.object("actor", actor::object(&scene));
    out.object("device", device::object(&scene));
    view.attributes(&scene, &mut out);
    control::attributes(&scene, &mut out);
    let mut rest = unmapped(&scene);
    view.unmapped(&scene, &mut rest);
    rest.list("escaped", scene.escaped.take());
    out.object("unmapped", rest);
    out.into()
}

fn status(outcome: Outcome, out: &mut Object) {
    let (id, word, detail) = match outcome {
        Outcome::Success => (1, "Success", ""),
        Outcome::Reported => (99, "Reported", "the call returned success and nothing else confirms it"),
        Outcome::Refused => (2, "Failure", "refused"),
        Outcome::Unspecified => (0, "Unknown", ""),
    };
    out.put("status_id", id).put("status", word).text("status_detail", detail);
}

/// What every kind has and OCSF has no place for.
fn unmapped(scene: &Scene<'_>) -> Object {
    let record = scene.record;
    let mut out = Object::new();
    out.put("kind", event::word(record)).put("time_ns", record.time).number("boot_time_ns", record.boot_time);
    let outcome = event::view(record).outcome();
    out.text("outcome", &word_of("OUTCOME_", outcome.as_str_name()));
    if let Some(first) = event::files(record).first() {
        out.object("file", file::rest(scene, "unmapped.file", first));
    }
    actor::unmapped(scene, &mut out);
    control::unmapped(scene, &mut out);
    if let Some(source) = &record.source {
        let mut object = Object::new();
        object.put("cpu", source.cpu).text("ring", &word_of("RING_", source.ring().as_str_name()));
        object.number("sequence", source.ring_sequence);
        out.object("source", object);
        out.text("entry", entry(source.entry())).text("call", &source.call);
        if source.error != 0 {
            out.put("errno", source.error);
        }
    }
    out.number("folded", event::view(record).folded());
    out.maybe("frame_sha256", scene.envelope.frame_hash.map(hex::encode));
    out
}

/// How the kernel was entered, in the kernel's spelling.
fn entry(entry: Entry) -> &'static str {
    match entry {
        Entry::Unspecified => "",
        Entry::Native => "native",
        Entry::Compat => "compat",
        Entry::X32 => "x32",
        Entry::IoUring => "io_uring",
        Entry::UnknownCall => "unknown_call",
    }
}

/// The schema's enum names are `PREFIX_WORD`; in JSON and text the word stands alone, in small letters.
/// Empty = unspecified.
pub(crate) fn word_of(prefix: &str, name: &str) -> String {
    match name.strip_prefix(prefix).unwrap_or(name) {
        "UNSPECIFIED" => String::new(),
        word => word.to_ascii_lowercase().replace('_', "-"),
    }
}

/// One record being rendered.
pub(crate) struct Scene<'a> {
    pub(crate) envelope: &'a Envelope<'a>,
    pub(crate) record: &'a Record,
    /// Places of strings that had to be escaped.
    escaped: RefCell<BTreeSet<String>>,
}

impl<'a> Scene<'a> {
    pub(crate) fn new(envelope: &'a Envelope<'a>, record: &'a Record) -> Self {
        Self { envelope, record, escaped: RefCell::default() }
    }

    /// A host's bytes as a JSON string; `at` is where it stands.
    pub(crate) fn bytes(&self, at: &str, bytes: &[u8]) -> String {
        if let Ok(text) = std::str::from_utf8(bytes) {
            return text.to_owned();
        }
        self.escaped.borrow_mut().insert(at.to_owned());
        json::escape(bytes)
    }

    /// When it happened, ms since the Unix epoch.
    pub(crate) fn time(&self) -> u64 {
        self.record.time / NS_PER_MS
    }

    /// A moment of this boot as ms since the Unix epoch, by the clock that the record was dated with.
    pub(crate) fn moment(&self, boot_time: u64) -> Option<u64> {
        let before = self.record.boot_time.checked_sub(boot_time).filter(|_| boot_time != 0)?;
        self.record.time.checked_sub(before).map(|ns| ns / NS_PER_MS)
    }

    /// A program run by its full name.
    pub(crate) fn run(&self, id: &v1::ExecId) -> ProgramRun {
        ProgramRun { boot: self.envelope.boot, pid: id.pid, start: id.start, exec: id.exec }
    }

    /// The subject's program in words.
    pub(crate) fn program(&self) -> String {
        let process = self.record.subject.as_ref().and_then(|subject| subject.process.as_ref());
        match process {
            Some(process) if !process.exe.is_empty() => crate::text::quoted(&process.exe),
            Some(process) if !process.comm.is_empty() => crate::text::quoted(&process.comm),
            _ => "a program".into(),
        }
    }
}
