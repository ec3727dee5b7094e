//! `[[allow.write]]` and `[exec]`: who may do what, as far as this release can tell who it is.

use graven_record::v1::{Severity, Subject};

use super::document::{AllowWrite, Exec, ExecAllow, Writer};
use super::host::Host;
use super::pattern::{Pattern, glob_fits, names};
use super::places::{Index, variants};

/// All `[[allow.write]]` entries.
#[derive(Clone, Debug, Default)]
pub(super) struct Allowed {
    entries: Vec<AllowedWriter>,
    paths: Vec<(Pattern, usize)>,
    index: Index,
}

#[derive(Clone, Debug)]
struct AllowedWriter {
    name: String,
    writer: Writer,
}

impl Allowed {
    pub(super) fn new(entries: Vec<AllowWrite>, host: &dyn Host) -> Self {
        let mut allowed = Self::default();
        for entry in entries {
            for pattern in entry.paths.iter().flat_map(|pattern| variants(pattern, host)) {
                allowed.index.insert(&pattern, allowed.paths.len());
                allowed.paths.push((pattern, allowed.entries.len()));
            }
            let writer = entry.writer.with_links(host);
            allowed.entries.push(AllowedWriter { name: entry.name, writer });
        }
        allowed
    }

    /// The entry that allows `subject` to change `path`. A plain path is that path only, not what is below.
    pub(super) fn entry(&self, path: &[u8], subject: &Subject) -> Option<&str> {
        if self.paths.is_empty() {
            return None;
        }
        let parts = names(path);
        let entries = self.index.candidates(path).filter_map(|id| self.paths.get(id));
        entries
            .filter(|(pattern, _)| pattern.matches(&parts))
            .filter_map(|(_, entry)| self.entries.get(*entry))
            .find(|entry| entry.writer.is(subject))
            .map(|entry| entry.name.as_str())
    }
}

impl Writer {
    /// Every key that is there must match; what is not known of a subject matches nothing.
    fn is(&self, subject: &Subject) -> bool {
        let exe = subject.process.as_ref().map_or(&[][..], |process| &process.exe);
        let parent = subject.ancestors.first().map_or(&[][..], |process| &process.exe);
        let path = |patterns: &Option<Vec<Pattern>>, path: &[u8]| {
            patterns.as_ref().is_none_or(|patterns| one_of(patterns, path))
        };
        let word = |words: &Option<Vec<String>>, word: &str| {
            words.as_ref().is_none_or(|words| !word.is_empty() && words.iter().any(|own| own == word))
        };
        let unit = self.unit.as_ref().is_none_or(|globs| {
            !subject.unit.is_empty()
                && globs.iter().any(|glob| glob_fits(glob.as_bytes(), subject.unit.as_bytes()))
        });
        unit && path(&self.exe, exe)
            && path(&self.parent, parent)
            && word(&self.user, &subject.user)
            && word(&self.login_user, &subject.login_user)
    }

    fn with_links(self, host: &dyn Host) -> Self {
        let follow = |patterns: Option<Vec<Pattern>>| patterns.map(|patterns| all_variants(&patterns, host));
        Self { exe: follow(self.exe), parent: follow(self.parent), ..self }
    }
}

/// `[exec]`, with links followed.
#[derive(Clone, Debug)]
pub(super) struct ExecRules {
    pub(super) otherwise: Severity,
    pub(super) deny_memfd: bool,
    pub(super) deny_deleted: bool,
    /// As written, and as it is on the host.
    deny_from: Vec<(String, Vec<Pattern>)>,
    allow: Vec<ExecAllow>,
}

impl ExecRules {
    pub(super) fn new(exec: Exec, host: &dyn Host) -> Self {
        let deny_from =
            exec.deny_from.iter().map(|pattern| (pattern.to_string(), variants(pattern, host))).collect();
        let allow = exec
            .allow
            .into_iter()
            .map(|entry| ExecAllow {
                exe: all_variants(&entry.exe, host),
                parent: entry.parent.map(|patterns| all_variants(&patterns, host)),
                ..entry
            })
            .collect();
        Self {
            otherwise: exec.otherwise,
            deny_memfd: exec.deny_memfd,
            deny_deleted: exec.deny_deleted,
            deny_from,
            allow,
        }
    }

    /// The `deny_from` that a path lies in, as it is written in the policy.
    pub(super) fn denied(&self, path: &[u8]) -> Option<&str> {
        let parts = names(path);
        let denied = self.deny_from.iter().filter(|_| path.starts_with(b"/"));
        denied
            .filter(|(_, patterns)| patterns.iter().any(|pattern| pattern.covers(&parts)))
            .map(|(written, _)| written.as_str())
            .next()
    }

    /// The `[[exec.allow]]` that names this program and this parent.
    pub(super) fn allowed(&self, exe: &[u8], subject: &Subject) -> Option<(&str, Severity)> {
        let parent = subject.ancestors.first().map_or(&[][..], |process| &process.exe);
        let entry = self.allow.iter().find(|entry| {
            one_of(&entry.exe, exe) && entry.parent.as_ref().is_none_or(|patterns| one_of(patterns, parent))
        })?;
        Some((&entry.name, entry.severity))
    }
}

fn all_variants(patterns: &[Pattern], host: &dyn Host) -> Vec<Pattern> {
    patterns.iter().flat_map(|pattern| variants(pattern, host)).collect()
}

fn one_of(patterns: &[Pattern], path: &[u8]) -> bool {
    let parts = names(path);
    path.starts_with(b"/") && patterns.iter().any(|pattern| pattern.matches(&parts))
}
