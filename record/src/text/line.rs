//! The parts of one line.

use std::fmt;

use crate::event::{self, file};
use crate::ocsf::Envelope;
use crate::text::{escape, quoted, utc, who};
use crate::v1::{Decision, Outcome, Process, Record, Severity};

/// Most ancestors in a line; the record holds up to 32 and the rest is said by `…`.
const MAX_ANCESTORS: usize = 8;
/// Letters of a host's id that stand for a host without a name.
const SHORT_HOST: usize = 12;

/// One record for a person. Every string is escaped already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// ns since the Unix epoch.
    pub time: u64,
    /// The host's name, or the beginning of its id.
    pub host: String,
    /// The event's word in the schema: `open`, `exec`, …
    pub kind: &'static str,
    /// `info`, `low`, `medium`, `high`, `critical`; `unknown` without a verdict.
    pub severity: &'static str,
    /// `ignore`, `log`, `alert`; `unjudged` without a verdict.
    pub verdict: &'static str,
    /// What was done, in a word or two.
    pub verb: &'static str,
    /// `refused` or `reported`; empty when it succeeded.
    pub outcome: &'static str,
    /// How many more refusals of the same kind in the same directory it stands for.
    pub folded: u32,
    /// On what; two for a rename. Empty for the logger's own records.
    pub paths: Vec<String>,
    /// What verb and paths do not say, in a few words: a file system, a flag, a signal. Often empty.
    pub detail: String,
    /// `comm[pid]`; empty for the logger's own records.
    pub process: String,
    /// Who, in a few words.
    pub user: String,
    /// `comm[pid]` of the parent, its parent, ….
    pub ancestors: Vec<String>,
    /// More ancestors than are shown.
    pub ancestors_cut: bool,
    /// The policy entry, empty when none decided.
    pub rule: String,
    /// Why, in the policy's words.
    pub reason: String,
    /// The whole as a sentence, which is all there is to a record of the logger's own.
    pub message: String,
}

/// Puts a record into words.
pub fn line(envelope: &Envelope<'_>, record: &Record) -> Line {
    let subject = record.subject.as_ref();
    let verdict = record.verdict.clone().unwrap_or_default();
    let view = event::view(record);
    let ancestors = subject.map(|s| s.ancestors.as_slice()).unwrap_or_default();
    Line {
        time: record.time,
        host: host(envelope),
        kind: event::word(record),
        severity: severity_word(verdict.severity()),
        verdict: decision_word(verdict.decision()),
        verb: view.verb(),
        outcome: match view.outcome() {
            Outcome::Refused => "refused",
            Outcome::Reported => "reported",
            Outcome::Success | Outcome::Unspecified => "",
        },
        folded: view.folded(),
        paths: view.files().into_iter().map(file::shown).collect(),
        detail: view.detail(),
        process: subject.and_then(|s| s.process.as_ref()).map(program).unwrap_or_default(),
        user: who(record),
        ancestors: ancestors.iter().take(MAX_ANCESTORS).map(program).collect(),
        ancestors_cut: ancestors.len() > MAX_ANCESTORS || subject.is_some_and(|s| s.ancestors_cut),
        rule: escape(verdict.rule.as_bytes()),
        reason: escape(verdict.reason.as_bytes()),
        message: event::message(envelope, record),
    }
}

fn host(envelope: &Envelope<'_>) -> String {
    match envelope.context.hostname.as_str() {
        "" => envelope.host.to_string().chars().take(SHORT_HOST).collect(),
        name => quoted(name.as_bytes()),
    }
}

/// `comm[pid]`; a kernel thread's name in brackets, as ps shows it.
fn program(process: &Process) -> String {
    let name = match &*process.comm {
        [] => "?".to_owned(),
        comm => quoted(comm),
    };
    match &process.id {
        Some(id) => format!("{name}[{}]", id.pid),
        None => format!("{name}[?]"),
    }
}

fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Unspecified => "unknown",
        Severity::Info => "info",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

pub(crate) fn decision_word(decision: Decision) -> &'static str {
    match decision {
        Decision::Unspecified => "unjudged",
        Decision::Ignore => "ignore",
        Decision::Log => "log",
        Decision::Alert => "alert",
    }
}

impl fmt::Display for Line {
    /// Time, host, severity, verdict, what, by whom, from where, why: one line without an end of line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:<8} {:<8}", utc(self.time), self.host, self.severity, self.verdict)?;
        if self.paths.is_empty() {
            return self.fmt_message(f);
        }
        write!(f, " {}{} {}", self.verb, self.outcome_words(), self.paths.join(" -> "))?;
        f.write_str(&self.detail_words())?;
        write!(f, " by {} user {}", self.process, self.user)?;
        self.fmt_ancestors(f)?;
        match (self.rule.as_str(), self.reason.as_str()) {
            ("", "") => Ok(()),
            ("", reason) => write!(f, " : {reason}"),
            (rule, "") => write!(f, " rule {rule}"),
            (rule, reason) => write!(f, " rule {rule}: {reason}"),
        }
    }
}

impl Line {
    /// ` (refused)`, ` (refused, 12 more)`; empty when it simply succeeded. Goes behind the verb.
    pub fn outcome_words(&self) -> String {
        match (self.outcome, self.folded) {
            ("", 0) => String::new(),
            (outcome, 0) => format!(" ({outcome})"),
            ("", more) => format!(" ({more} more)"),
            (outcome, more) => format!(" ({outcome}, {more} more)"),
        }
    }

    /// ` (tmpfs)`; empty when there is nothing more to say. Goes behind the paths.
    pub fn detail_words(&self) -> String {
        if self.detail.is_empty() { String::new() } else { format!(" ({})", self.detail) }
    }

    /// What is about no file says it all in its sentence, the reason included.
    fn fmt_message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " {}", self.message)?;
        if !self.process.is_empty() {
            write!(f, " [{}", self.process)?;
            self.fmt_ancestors(f)?;
            write!(f, "]")?;
        }
        if self.rule.is_empty() { Ok(()) } else { write!(f, " rule {}", self.rule) }
    }

    fn fmt_ancestors(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ancestor in &self.ancestors {
            write!(f, " < {ancestor}")?;
        }
        if self.ancestors_cut { write!(f, " < …") } else { Ok(()) }
    }
}
