//! Why the two may differ.

use std::path::Path;

use crate::changes::{ALIAS, Made, TEXT};
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
    pub(crate) holds: fn(&Difference<'_>) -> bool,
}

const fn reason(why: &'static str, holds: fn(&Difference<'_>) -> bool) -> Reason {
    Reason { why, holds }
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
        let alias = this.fact.names.iter().any(|name| has(name, ALIAS));
        let followed = this.graven().iter().any(|fact| fact.names.iter().any(|name| has(name, TEXT)));
        this.side == Side::Names && (alias || followed)
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
    reason("the file has several names, and Graven has another one that is in memory", |this| {
        let names_what_went = |fact: &Fact| ["unlink", "rename"].contains(&fact.kind.as_str());
        let other = this.graven().filter(|fact| fact.links > 1 && !names_what_went(fact));
        this.side == Side::Names && other.is_some()
    }),
    reason(
        "writes of one process to one file within a second, or after its open has made it, are one record",
        |this| {
            this.side == Side::Audit
                && this.fact.call == "write"
                && this.fact.ended == Ended::Done
                && this.is_soon_after(WRITES, |before| {
                    before.ended == Ended::Done && (before.call == "write" || before.makes || before.cuts())
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
            && this.is_soon_after(REFUSALS, |before| before.is_of_the_same_call(this.fact))
    }),
];

fn has(path: &Path, name: &str) -> bool {
    path.components().any(|part| part.as_os_str() == name)
}

impl<'a> Difference<'a> {
    /// The same process has done such a thing not that long before.
    fn is_soon_after(&self, window: u64, is_such: impl Fn(&Fact) -> bool) -> bool {
        let this = &self.made[self.index];
        self.made[..self.index].iter().zip(self.before).any(|(before, facts)| {
            before.pid == this.pid
                && this.when.0.saturating_sub(before.when.1) < window
                && facts.iter().any(&is_such)
        })
    }

    fn graven(&self) -> Option<&'a Fact> {
        if self.side == Side::Graven { Some(self.fact) } else { self.other }
    }
}
