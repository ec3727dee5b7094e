//! A record as `--json` shows it, and what must be true of it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use graven_record::text;
use serde_json::Value;

use crate::actor::Acted;
use crate::missing::{self, Missing};
use crate::sight;

/// OCSF's File System Activity.
pub const FILE: u64 = 1001;
/// OCSF's Process Activity.
pub const PROCESS: u64 = 1007;
/// OCSF's number for high.
const HIGH: u64 = 4;
/// The name of the entry in the suites' policy.
const RULE: &str = "watched";

/// One OCSF object.
#[derive(Clone, Debug)]
pub struct Record(pub Value);

/// Numbers of OCSF's activities of a file.
pub mod activity {
    /// Create
    pub const CREATE: u64 = 1;
    /// Update
    pub const UPDATE: u64 = 3;
    /// Delete
    pub const DELETE: u64 = 4;
    /// Rename
    pub const RENAME: u64 = 5;
    /// Set Attributes
    pub const ATTRIBUTES: u64 = 6;
    /// Set Security
    pub const SECURITY: u64 = 7;
    /// Mount
    pub const MOUNT: u64 = 12;
    /// Unmount
    pub const UNMOUNT: u64 = 13;
}

impl Record {
    /// One line of output.
    pub fn parse(line: &str) -> Result<Self> {
        Ok(Self(serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?))
    }

    /// The string at a JSON pointer; "" when there is none.
    pub fn text(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// The number at a JSON pointer.
    pub fn number(&self, pointer: &str) -> Option<u64> {
        self.0.pointer(pointer).and_then(Value::as_u64)
    }

    /// The list at a JSON pointer; empty when there is none.
    pub fn list(&self, pointer: &str) -> &[Value] {
        self.0.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    /// `open`, `exec`, …
    pub fn kind(&self) -> &str {
        self.text("/unmapped/kind")
    }

    /// The class of OCSF.
    pub fn class(&self) -> u64 {
        self.number("/class_uid").unwrap_or_default()
    }

    /// The process that did it: of a start or an end the process itself.
    pub fn pid(&self) -> Option<u64> {
        self.number(&format!("{}/pid", self.doer()))
    }

    fn doer(&self) -> &'static str {
        if ["exec", "exit"].contains(&self.kind()) { "/process" } else { "/actor/process" }
    }

    /// The file's path as the kernel has it: bytes.
    pub fn path(&self) -> PathBuf {
        self.bytes(if self.class() == PROCESS { "process.file.path" } else { "file.path" })
    }

    /// The other path of a rename.
    pub fn result(&self) -> PathBuf {
        self.bytes("file_result.path")
    }

    /// A string that may have been escaped because it is not UTF-8; `place` as in `unmapped.escaped`.
    fn bytes(&self, place: &str) -> PathBuf {
        let shown = self.text(&format!("/{}", place.replace('.', "/")));
        let escaped = self.list("/unmapped/escaped").iter().any(|listed| listed == place);
        match escaped.then(|| text::unescape(shown)).flatten() {
            Some(bytes) => OsString::from_vec(bytes).into(),
            None => shown.into(),
        }
    }

    /// It tells of one of these places, or of a directory of theirs, only that it has changed.
    pub fn is_left_of<'p>(&self, mut places: impl Iterator<Item = &'p PathBuf>) -> bool {
        let path = self.path();
        let is_seen = self.kind() == "modify" && self.text("/unmapped/outcome") != "reported";
        is_seen && places.any(|place| *place == path || place.parent() == Some(&path))
    }

    /// The sequence in its lane.
    pub fn sequence(&self) -> Option<u64> {
        self.number("/metadata/sequence")
    }

    /// `protected` or `activity`.
    pub fn lane(&self) -> &str {
        self.text("/metadata/log_name")
    }

    /// What `graven violations` is about: who did it, by which program, from where, and that the policy's entry
    /// makes it an alert.
    pub fn is_violation_by(&self, acted: &Acted, rule: &str) -> Result<()> {
        let said = &self.0;
        ensure!(said["is_alert"] == true, "not an alert: {said:#}");
        ensure!(self.number("/severity_id") == Some(HIGH), "not high: {said:#}");
        ensure!(self.text("/unmapped/verdict/decision") == "alert", "no alert: {said:#}");
        ensure!(self.text("/unmapped/verdict/rule") == rule, "not by rule {rule}: {said:#}");
        ensure!(!self.text("/unmapped/verdict/reason").is_empty(), "without a reason: {said:#}");
        ensure!(self.text("/policy/name") == "tests", "of another policy: {said:#}");
        self.is_by(acted)
    }

    /// Pid, user, program and ancestors.
    pub fn is_by(&self, acted: &Acted) -> Result<()> {
        let said = &self.0;
        let at = self.doer();
        ensure!(self.pid() == Some(acted.pid.into()), "not by process {}: {said:#}", acted.pid);
        let user = self.text(&format!("{at}/user/uid"));
        ensure!(user == acted.user.to_string(), "not by user {}: {said:#}", acted.user);
        let program = self.text(&format!("{at}/path"));
        let is_known = !program.is_empty();
        ensure!(
            !is_known || Path::new(program) == acted.program,
            "not by {}: {said:#}",
            acted.program.display()
        );
        let parent = self.number(&format!("{at}/parent_process/pid"));
        let own = u64::from(std::process::id());
        ensure!(parent == Some(own), "the parent is not this test ({own}): {said:#}");
        let ancestors = self.list(&format!("{at}/ancestry"));
        ensure!(ancestors.first().is_some_and(|first| first["pid"] == own), "wrong ancestors: {said:#}");
        ensure!(
            ancestors.last().is_some_and(|last| last["pid"] == 1 || last["pid"] == 2),
            "no first ancestor: {said:#}"
        );
        // Of a process whose start was not seen nobody says a program that it may not have run.
        missing::found(format_args!("the program of process {}", acted.pid), is_known.then_some(()))
    }
}

/// What a change must be recorded as.
#[derive(Clone, Debug)]
pub struct Expected {
    kind: &'static str,
    class: u64,
    activity: u64,
    path: Option<PathBuf>,
    result: Option<PathBuf>,
    outcome: &'static str,
    /// The way into the kernel and the call, as the record has them.
    call: Option<(&'static str, String)>,
    details: Vec<(&'static str, Value)>,
    /// What is read from what changed.
    seen: Vec<(&'static str, Value)>,
    is_violation: bool,
    /// Seen by what changed, not by the call.
    is_witnessed: bool,
}

/// OCSF's number for an activity that it has no number for.
const OTHER: u64 = 99;

impl Expected {
    /// Of a file, by its path.
    pub fn new(kind: &'static str, activity: u64, path: impl Into<PathBuf>) -> Self {
        let mut expected = Self::of_process(kind);
        expected.class = FILE;
        expected.activity = activity;
        expected.path = Some(path.into());
        expected.is_violation = true;
        expected
    }

    /// Of a file under a name that nobody can foretell.
    pub fn somewhere(kind: &'static str, activity: u64) -> Self {
        Self { path: None, ..Self::new(kind, activity, "") }
    }

    /// A rename.
    pub fn rename(from: impl Into<PathBuf>, to: impl Into<PathBuf>) -> Self {
        let result = Some(to.into());
        Self { result, ..Self::new("rename", activity::RENAME, from) }
    }

    /// A change that the record names by its inode and not by a kind of its own.
    pub fn modify(path: impl Into<PathBuf>) -> Self {
        Self::new("modify", activity::UPDATE, path)
    }

    /// What a process did that is about no file.
    pub fn of_process(kind: &'static str) -> Self {
        Self {
            kind,
            class: PROCESS,
            activity: OTHER,
            path: None,
            result: None,
            outcome: "success",
            call: None,
            details: Vec::new(),
            seen: Vec::new(),
            is_violation: false,
            is_witnessed: false,
        }
    }

    /// By this call.
    pub fn by(mut self, entry: &'static str, call: impl Into<String>) -> Self {
        self.call = Some((entry, call.into()));
        self
    }

    /// By no call that the sensor looks at: only what changed tells of it.
    pub fn witnessed(mut self) -> Self {
        self.is_witnessed = true;
        self
    }

    /// With this at a place of the record; null: there is nothing.
    pub fn with(mut self, pointer: &'static str, value: impl Into<Value>) -> Self {
        self.details.push((pointer, value.into()));
        self
    }

    /// The same where changes are seen by inode: what the caller says does not tell it.
    pub fn seen_with(mut self, pointer: &'static str, value: impl Into<Value>) -> Self {
        if sight::of_changes() {
            self.seen.push((pointer, value.into()));
        }
        self
    }

    /// The call said so and nothing confirms it.
    pub fn reported(mut self) -> Self {
        self.outcome = "reported";
        self
    }

    /// The kernel refused it.
    pub fn refused(mut self) -> Self {
        self.outcome = "refused";
        self
    }

    /// It is recorded, and no violation.
    pub fn recorded(mut self) -> Self {
        self.is_violation = false;
        self
    }

    /// It is a violation.
    pub fn violation(mut self) -> Self {
        self.is_violation = true;
        self
    }

    /// A kernel whose changes are not seen gives it too.
    pub fn by_call(&self) -> bool {
        !self.is_witnessed
    }

    /// Everything that must be true of the record.
    pub fn is(&self, record: &Record, acted: &Acted) -> Result<()> {
        let said = &record.0;
        self.is_of_this_kind(record, acted)?;
        let is_claimed = self.outcome == "success" && record.text("/unmapped/outcome") == "reported";
        if is_claimed && sight::of_changes() {
            // The name, what is read from the inode and the verdict are of what the caller said.
            let confirms = missing::found(format_args!("{}: what confirms {said:#}", acted.said), None);
            return missing::all([record.is_by(acted), confirms]);
        }
        if let Some(path) = &self.path {
            ensure!(record.path() == *path, "{}: not of {}: {said:#}", acted.said, path.display());
        }
        if let Some(result) = &self.result {
            ensure!(record.result() == *result, "{}: not to {}: {said:#}", acted.said, result.display());
        }
        self.is_as_sure(record, acted)?;
        for (pointer, value) in &self.details {
            let found = said.pointer(pointer).unwrap_or(&Value::Null);
            ensure!(found == value, "{}: {pointer} is not {value}: {said:#}", acted.said);
        }
        let compared = match self.is_violation {
            true => record.is_violation_by(acted, RULE),
            false => record.is_by(acted),
        };
        let seen = self.seen.iter().map(|(pointer, value)| self.is_seen(record, acted, pointer, value));
        missing::all(seen.chain([compared]))
    }

    /// What is read from what changed, of which only the directory may have been seen: then the rest is the caller's word.
    fn is_seen(&self, record: &Record, acted: &Acted, pointer: &str, value: &Value) -> Result<()> {
        let said = &record.0;
        let is_so = said.pointer(pointer) == Some(value);
        let is_seen = self.class != FILE || record.number("/unmapped/file/inode").is_some();
        ensure!(is_so || !is_seen, "{}: {pointer} is not {value}: {said:#}", acted.said);
        missing::found(format_args!("{}: {pointer} is {value}: {said:#}", acted.said), is_so.then_some(()))
    }

    /// What is true whoever's word the name is.
    fn is_of_this_kind(&self, record: &Record, acted: &Acted) -> Result<()> {
        let said = &record.0;
        ensure!(record.kind() == self.kind, "{}: not {}: {said:#}", acted.said, self.kind);
        ensure!(record.class() == self.class, "{}: not of class {}: {said:#}", acted.said, self.class);
        let activity = record.number("/activity_id");
        ensure!(activity == Some(self.activity), "{}: not activity {}: {said:#}", acted.said, self.activity);
        ensure!(
            record.number("/type_uid") == Some(self.class * 100 + self.activity),
            "wrong type_uid: {said:#}"
        );
        if let Some((entry, call)) = &self.call {
            let by = (record.text("/unmapped/entry"), record.text("/unmapped/call"));
            ensure!(by == (*entry, call.as_str()), "{}: not by {entry} {call}: {said:#}", acted.said);
        }
        Ok(())
    }

    /// The outcome, and whose word the name is.
    fn is_as_sure(&self, record: &Record, acted: &Acted) -> Result<()> {
        let said = &record.0;
        let outcome = record.text("/unmapped/outcome");
        // Where changes are not seen, a file object may confirm the call, and nothing else can.
        let is_reported = self.outcome == "success" && !sight::of_changes() && outcome == "reported";
        ensure!(outcome == self.outcome || is_reported, "{}: not {}: {said:#}", acted.said, self.outcome);
        // A name that is not asked for may be anybody's word.
        if self.class == FILE && outcome != "success" && self.path.is_some() {
            let source = record.text("/unmapped/file/path_source");
            // Of a descriptor the file object says what it is, and nothing whether it changed.
            // So it does for a `modify`, which has the inode's own name.
            let is_object =
                (!sight::of_changes() && source == "file") || (self.kind == "modify" && source == "inode");
            ensure!(source == "argument" || is_object, "{}: whose word is the name? {said:#}", acted.said);
        }
        Ok(())
    }
}

/// Exactly these records are of what a process did. Where some are missing, it is not known which: those that are there
/// are among what is expected, in its order. What a call left to the next record is no record too many, but its own is
/// missing.
pub fn alike(records: &[&Record], acted: &Acted, expected: &[&Expected]) -> Result<()> {
    let shown = || records.iter().map(|record| format!("{:#}", record.0)).collect::<Vec<_>>().join("\n");
    let said =
        || format!("{}: {} records and not {}:\n{}", acted.said, records.len(), expected.len(), shown());
    let (own, left): (Vec<&Record>, Vec<&Record>) =
        records.iter().copied().partition(|record| !is_left(record, expected));
    let (count, wanted) = (own.len(), expected.len());
    ensure!(count <= wanted, "{}", said());
    let untold = (wanted - count).max(usize::from(!left.is_empty()));
    if untold == 0 {
        return missing::all(own.iter().zip(expected).map(|(record, expected)| expected.is(record, acted)));
    }
    let mut expected = expected.iter();
    let present = own.iter().map(|record| {
        let mut compared = expected.by_ref().map(|expected| expected.is(record, acted));
        let found =
            compared.find(|compared| compared.as_ref().err().is_none_or(|error| error.is::<Missing>()));
        found.with_context(|| format!("{}: none of what is expected here: {:#}", acted.said, record.0))?
    });
    missing::all(present.chain([Err(Missing::new(said(), untold).into())]))
}

/// What a call whose end was not seen leaves to the next record of its thread: a file or directory has changed.
fn is_left(record: &Record, expected: &[&Expected]) -> bool {
    let places = || expected.iter().flat_map(|one| one.path.iter().chain(&one.result));
    expected.iter().all(|one| one.kind != record.kind()) && record.is_left_of(places())
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use serde_json::json;

    use super::*;

    #[test]
    fn where_records_are_missing_the_others_are_compared_all_the_same() -> Result<()> {
        let acted = Acted { pid: 7, user: 0, program: "/a".into(), said: String::new(), told: Vec::new() };
        let own = std::process::id();
        let record = |kind: &str| {
            Record(json!({
                "class_uid": PROCESS, "activity_id": OTHER, "type_uid": PROCESS * 100 + OTHER,
                "actor": {"process": {
                    "pid": 7, "user": {"uid": "0"}, "path": "/a",
                    "parent_process": {"pid": own}, "ancestry": [{"pid": own}, {"pid": 1}],
                }},
                "unmapped": {"kind": kind, "outcome": "refused"},
            }))
        };
        let expected = ["a", "b", "c"].map(|kind| Expected::of_process(kind).refused());
        let compared = |kinds: &[&str]| {
            let records: Vec<Record> = kinds.iter().map(|kind| record(kind)).collect();
            alike(&records.iter().collect::<Vec<_>>(), &acted, &expected.each_ref())
        };
        compared(&["a", "b", "c"])?;
        for (kinds, count) in [(&["a", "c"][..], 1), (&["b"], 2), (&[], 3)] {
            let missing = compared(kinds).err().and_then(|error| error.downcast::<Missing>().ok());
            ensure!(missing.is_some_and(|missing| missing.count() == count), "{kinds:?}");
        }
        for kinds in [&["c", "a"][..], &["a", "x"], &["b", "b"], &["a", "b", "x"], &["a", "b", "c", "c"]] {
            ensure!(compared(kinds).is_err_and(|error| !error.is::<Missing>()), "{kinds:?}");
        }
        Ok(())
    }

    #[test]
    fn what_is_read_from_an_inode_that_was_not_seen_is_missing_and_not_false() {
        let acted = Acted { pid: 7, user: 0, program: "/a".into(), said: String::new(), told: Vec::new() };
        let expected = Expected::new("create", activity::CREATE, "/made");
        let compared = |inode: Value, kind: &str| {
            let record = Record(json!({"unmapped": {"file": {"inode": inode}, "create": {"kind": kind}}}));
            let compared = expected.is_seen(&record, &acted, "/unmapped/create/kind", &"file".into());
            compared.map_err(|error| error.is::<Missing>())
        };
        assert_eq!(compared(5.into(), "file"), Ok(()));
        assert_eq!(compared(5.into(), "link"), Err(false));
        assert_eq!(compared(Value::Null, "link"), Err(true));
    }

    #[test]
    fn what_a_call_left_to_the_next_is_true_and_its_own_record_is_missing() -> Result<()> {
        let acted = Acted { pid: 7, user: 0, program: "/a".into(), said: String::new(), told: Vec::new() };
        let changed = |path: &str| {
            Record(json!({"class_uid": FILE, "file": {"path": path}, "unmapped": {"kind": "modify"}}))
        };
        let gone = Expected::new("unlink", activity::DELETE, "/place/gone");
        for (paths, is_true) in [
            (&["/place/gone", "/place"][..], true),
            (&["/place"], true),
            (&["/", "/place"], false),
            (&["/place/x"], false),
        ] {
            let records: Vec<Record> = paths.iter().map(|path| changed(path)).collect();
            let error = alike(&records.iter().collect::<Vec<_>>(), &acted, &[&gone]).err();
            let missing = error.and_then(|error| error.downcast::<Missing>().ok());
            ensure!(missing.map(|missing| missing.count()) == is_true.then_some(1), "{paths:?}");
        }
        let expected = Expected::modify("/place/gone");
        let twice = [&changed("/place/gone"), &changed("/place/gone")];
        let compared = alike(&twice, &acted, &[&expected]);
        ensure!(compared.is_err_and(|error| !error.is::<Missing>()), "a record that is there twice");
        Ok(())
    }

    #[test]
    fn a_path_that_was_escaped_comes_back_as_its_bytes() -> Result<()> {
        let line =
            r#"{"class_uid":1001,"file":{"path":"/a\\xff\\\\b"},"unmapped":{"escaped":["file.path"]}}"#;
        let bytes = Record::parse(line)?.path().into_os_string().into_vec();
        ensure!(bytes == b"/a\xff\\b", "{bytes:?}");
        Ok(())
    }
}
