//! A record as `--json` shows it, and what must be true of it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use graven_record::text;
use serde_json::Value;

use crate::actor::Acted;

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
    /// Set Security
    pub const SECURITY: u64 = 7;
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

    /// The process that did it: of a process event the process itself.
    pub fn pid(&self) -> Option<u64> {
        let place = if self.class() == PROCESS { "/process/pid" } else { "/actor/process/pid" };
        self.number(place)
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
        self.is_by(acted)?;
        let said = &self.0;
        ensure!(said["is_alert"] == true, "not an alert: {said:#}");
        ensure!(self.number("/severity_id") == Some(HIGH), "not high: {said:#}");
        ensure!(self.text("/unmapped/verdict/decision") == "alert", "no alert: {said:#}");
        ensure!(self.text("/unmapped/verdict/rule") == rule, "not by rule {rule}: {said:#}");
        ensure!(!self.text("/unmapped/verdict/reason").is_empty(), "without a reason: {said:#}");
        ensure!(self.text("/policy/name") == "tests", "of another policy: {said:#}");
        Ok(())
    }

    /// Pid, user, program and ancestors.
    pub fn is_by(&self, acted: &Acted) -> Result<()> {
        let said = &self.0;
        let at = if self.class() == PROCESS { "/process" } else { "/actor/process" };
        ensure!(self.pid() == Some(acted.pid.into()), "not by process {}: {said:#}", acted.pid);
        let user = self.text(&format!("{at}/user/uid"));
        ensure!(user == acted.user.to_string(), "not by user {}: {said:#}", acted.user);
        let program = self.text(&format!("{at}/path"));
        ensure!(Path::new(program) == acted.program, "not by {}: {said:#}", acted.program.display());
        let parent = self.number(&format!("{at}/parent_process/pid"));
        let own = u64::from(std::process::id());
        ensure!(parent == Some(own), "the parent is not this test ({own}): {said:#}");
        let ancestors = self.list(&format!("{at}/ancestry"));
        ensure!(ancestors.first().is_some_and(|first| first["pid"] == own), "wrong ancestors: {said:#}");
        ensure!(
            ancestors.last().is_some_and(|last| last["pid"] == 1 || last["pid"] == 2),
            "no first ancestor: {said:#}"
        );
        Ok(())
    }
}

/// What a change of a file must be recorded as.
#[derive(Clone, Debug)]
pub struct Expected {
    /// `unlink`, …
    pub kind: &'static str,
    /// OCSF's number.
    pub activity: u64,
    /// What it was done to.
    pub path: PathBuf,
    /// The other path of a rename.
    pub result: Option<PathBuf>,
}

impl Expected {
    /// On one path.
    pub fn new(kind: &'static str, activity: u64, path: impl Into<PathBuf>) -> Self {
        Self { kind, activity, path: path.into(), result: None }
    }

    /// A rename.
    pub fn rename(from: impl Into<PathBuf>, to: impl Into<PathBuf>) -> Self {
        let result = Some(to.into());
        Self { kind: "rename", activity: activity::RENAME, path: from.into(), result }
    }

    /// Everything that must be true of the record of a successful change.
    pub fn is(&self, record: &Record, acted: &Acted) -> Result<()> {
        let said = &record.0;
        ensure!(record.kind() == self.kind, "{}: not {}: {said:#}", acted.said, self.kind);
        ensure!(record.class() == FILE, "not of class {FILE}: {said:#}");
        let activity = record.number("/activity_id");
        ensure!(activity == Some(self.activity), "{}: not activity {}: {said:#}", acted.said, self.activity);
        ensure!(record.number("/type_uid") == Some(FILE * 100 + self.activity), "wrong type_uid: {said:#}");
        ensure!(record.path() == self.path, "{}: not of {}: {said:#}", acted.said, self.path.display());
        if let Some(result) = &self.result {
            ensure!(record.result() == *result, "{}: not to {}: {said:#}", acted.said, result.display());
        }
        ensure!(record.text("/unmapped/outcome") == "success", "{}: not a success: {said:#}", acted.said);
        record.is_violation_by(acted, RULE)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn a_path_that_was_escaped_comes_back_as_its_bytes() -> Result<()> {
        let line =
            r#"{"class_uid":1001,"file":{"path":"/a\\xff\\\\b"},"unmapped":{"escaped":["file.path"]}}"#;
        let bytes = Record::parse(line)?.path().into_os_string().into_vec();
        ensure!(bytes == b"/a\xff\\b", "{bytes:?}");
        Ok(())
    }
}
