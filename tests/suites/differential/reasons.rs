//! Why the two may differ.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use graven_tests::sight;

use crate::changes::{ALIAS, FIRST, Made, TEXT};
use crate::facts::{Ended, Fact};

/// Who tells more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Only audit tells it.
    Audit,
    /// Only Graven tells it.
    Graven,
    /// Both tell it, with other names.
    Names,
}

/// One difference, with what stands around it.
pub(crate) struct Difference<'a> {
    pub(crate) side: Side,
    /// Audit's, if it tells it at all.
    pub(crate) fact: &'a Fact,
    /// Graven's, when both tell it.
    pub(crate) other: Option<&'a Fact>,
    pub(crate) index: usize,
    /// All changes.
    pub(crate) made: &'a [Made],
    /// What audit tells of all changes.
    pub(crate) before: &'a [Vec<Fact>],
}

/// One row.
pub(crate) struct Reason {
    pub(crate) why: &'static str,
    /// On this kernel.
    pub(crate) is_there: fn() -> bool,
    holds: fn(&Difference<'_>) -> bool,
}

impl Reason {
    pub(crate) fn is_why(&self, difference: &Difference<'_>) -> bool {
        (self.is_there)() && (self.holds)(difference)
    }
}

const fn reason(why: &'static str, holds: fn(&Difference<'_>) -> bool) -> Reason {
    reason_where(|| true, why, holds)
}

const fn reason_where(
    is_there: fn() -> bool,
    why: &'static str,
    holds: fn(&Difference<'_>) -> bool,
) -> Reason {
    Reason { why, is_there, holds }
}

/// So long refusals are folded, in nanoseconds.
const REFUSALS: u64 = 10_000_000_000;
/// So long writes of one process to one file are.
const WRITES: u64 = 1_000_000_000;
/// O_ACCMODE | O_TRUNC
const CHANGES: u64 = 0o1003;

/// At most twenty.
pub(crate) static REASONS: &[Reason] = &[
    reason(
        "a call that failed for want of a file, or because there is one, changed nothing and was not forbidden",
        |this| this.side == Side::Audit && this.fact.ended == Ended::Failed,
    ),
    reason("an open that only reads what is there changes nothing", |this| {
        let flags = this.fact.arguments[if this.fact.call == "openat" { 2 } else { 1 }];
        let reads = this.fact.call.starts_with("open") && flags & CHANGES == 0;
        this.side == Side::Audit && reads && !this.fact.makes
    }),
    reason("audit has the caller's name; Graven has the one behind the symbolic links on the way", |this| {
        this.side == Side::Names
            && this.graven().is_some_and(|graven| lead_to(&this.fact.call, &this.fact.names, &graven.names))
            // Where nothing tells of changes, only what was opened has a name behind them.
            && (sight::of_changes() || work(this.fact) == "open")
    }),
    reason("audit lists the text of a new symbolic link as a name", |this| {
        this.side == Side::Names
            && this.fact.call.starts_with("symlink")
            && this.fact.names.contains(Path::new(TEXT))
    }),
    reason("audit names no file for a call on a descriptor", |this| {
        let descriptor = ["write", "ftruncate", "fchmod"].contains(&this.fact.call.as_str());
        this.side == Side::Names && descriptor && this.fact.names.is_empty()
    }),
    reason(
        "an open makes what a symbolic link leads to: the caller has no such name, and audit none",
        |this| {
            let is_behind = |fact: &Fact| fact.names.iter().all(|name| name.ends_with(TEXT));
            this.side == Side::Names
                && work(this.fact) == "open"
                && this.fact.makes
                && this.fact.names.is_empty()
                && this.graven().is_some_and(is_behind)
        },
    ),
    reason(
        "what is refused at its first name, or before it was made, is named by audit no further",
        |this| this.side == Side::Names && this.fact.ended == Ended::Refused && this.has_more_names(),
    ),
    reason_where(
        sight::of_inodes_alone,
        "the file has several names, and Graven has another one that is in memory",
        |this| {
            let names_what_went = |fact: &Fact| ["unlink", "rename"].contains(&fact.kind.as_str());
            let other = this.graven().filter(|fact| fact.links > 1 && !names_what_went(fact));
            this.side == Side::Names && other.is_some()
        },
    ),
    reason(
        "writes of one process to one file within a second, or after its open has made it, are one record",
        |this| {
            this.side == Side::Audit
                && this.fact.call == "write"
                && this.fact.ended == Ended::Done
                && this.is_soon_after(WRITES, |_, before| {
                    let changes = before.call == "write" || before.makes || before.cuts();
                    before.ended == Ended::Done && changes && this.is_of(&before.inodes)
                })
        },
    ),
    reason(
        "a rename of a file to itself changes nothing: audit names nothing, Graven what was asked for",
        |this| {
            let reported = this.graven().is_some_and(|fact| fact.outcome == "reported");
            this.side == Side::Names
                && this.fact.call.starts_with("rename")
                && this.fact.names.is_empty()
                && reported
        },
    ),
    reason("refusals of one kind in one directory are one record for a while, with their number", |this| {
        this.side == Side::Audit
            && this.fact.ended == Ended::Refused
            && this.is_soon_after(REFUSALS, |made, before| {
                before.ended == Ended::Refused
                    && work(before) == work(this.fact)
                    && !made.folders().is_disjoint(&this.made[this.index].folders())
            })
    }),
];

/// The kind of the record of a call that was refused.
fn work(fact: &Fact) -> &'static str {
    match fact.call.as_str() {
        "open" | "openat" | "creat" => "open",
        "mkdir" | "mkdirat" | "link" | "linkat" | "symlink" | "symlinkat" | "mknod" => "create",
        "unlink" | "unlinkat" | "rmdir" => "unlink",
        "rename" | "renameat2" => "rename",
        "truncate" | "ftruncate" => "truncate",
        "write" => "write",
        _ => "attr",
    }
}

/// Calls that change what a symbolic link leads to.
const FOLLOWING: [&str; 10] = [
    "open",
    "creat",
    "truncate",
    "chmod",
    "chown",
    "fchmodat",
    "fchownat",
    "setxattr",
    "removexattr",
    "utime",
];

/// Each of Graven's names is behind one of audit's, and they are as many: the alias leads to the first folder, and the
/// last part may be a symbolic link, of a call that follows it.
fn lead_to(call: &str, names: &BTreeSet<PathBuf>, behind: &BTreeSet<PathBuf>) -> bool {
    let follows = FOLLOWING.iter().any(|name| call.starts_with(name));
    let leads = |name: &Path, behind: &Path| {
        let (from, to) = (name.parent().unwrap_or(name), behind.parent().unwrap_or(behind));
        let in_folder = from == to || (from.ends_with(ALIAS) && to.ends_with(FIRST));
        in_folder && (behind.file_name() == name.file_name() || (follows && behind.ends_with(TEXT)))
    };
    names.len() == behind.len() && behind.iter().all(|to| names.iter().any(|from| leads(from, to)))
}

impl<'a> Difference<'a> {
    /// The same process has done such a thing not that long before.
    fn is_soon_after(&self, window: u64, is_such: impl Fn(&Made, &Fact) -> bool) -> bool {
        let this = &self.made[self.index];
        self.made[..self.index].iter().zip(self.before).any(|(before, facts)| {
            before.pid == this.pid
                && this.when.0.saturating_sub(before.when.1) < window
                && facts.iter().any(|fact| is_such(before, fact))
        })
    }

    fn graven(&self) -> Option<&'a Fact> {
        if self.side == Side::Graven { Some(self.fact) } else { self.other }
    }

    /// Graven has all of audit's names, and others.
    fn has_more_names(&self) -> bool {
        self.other.is_some_and(|graven| {
            self.fact.names.len() < graven.names.len() && self.fact.names.is_subset(&graven.names)
        })
    }

    /// One of the files of this change is among these.
    fn is_of(&self, inodes: &BTreeSet<u64>) -> bool {
        self.before[self.index].iter().any(|fact| !fact.inodes.is_disjoint(inodes))
    }

    /// Graven has some of the names, and no other.
    pub(crate) fn lacks_names(&self) -> bool {
        self.other.is_some_and(|graven| {
            graven.names.len() < self.fact.names.len() && graven.names.is_subset(&self.fact.names)
        })
    }

    /// Only that a file or directory of this change, or of the one before by the same process, has changed.
    pub(crate) fn is_left(&self) -> bool {
        let pid = self.made[self.index].pid;
        let own = (0..=self.index).rev().filter(|index| self.made[*index].pid == pid).take(2);
        let mut places = own.flat_map(|index| &self.before[index]).flat_map(|fact| &fact.names);
        let is_seen = self.fact.kind == "modify" && self.fact.outcome != "reported";
        is_seen
            && places
                .any(|place| self.fact.names.iter().any(|name| place == name || place.parent() == Some(name)))
    }
}
