//! What each of the two tells of a change, in one form.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Result, ensure};
use graven_tests::audit::Seen;
use graven_tests::record::{FILE, Record};

use crate::changes::{MARK, Made};

/// EPERM, EACCES, ETXTBSY, EROFS: what the kernel forbids.
const REFUSALS: [i64; 4] = [-1, -13, -26, -30];

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Done,
    Refused,
    /// For another reason.
    Failed,
}

/// One call.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) entry: String,
    pub(crate) call: String,
    pub(crate) ended: Ended,
    pub(crate) names: BTreeSet<PathBuf>,
    /// Of audit: the arguments.
    pub(crate) arguments: [u64; 4],
    /// Of audit: the files, of a call on a descriptor those of the open before it.
    pub(crate) inodes: BTreeSet<u64>,
    /// Of audit: a name is new.
    pub(crate) makes: bool,
    /// Of Graven: the kind of the record, how sure it is, and how many names the file has.
    pub(crate) kind: String,
    pub(crate) outcome: String,
    pub(crate) links: u64,
}

impl Fact {
    pub(crate) fn is_of_the_same_call(&self, other: &Self) -> bool {
        (&self.entry, &self.call, self.ended) == (&other.entry, &other.call, other.ended)
    }

    /// An open that cuts the file off: creat, or with O_TRUNC.
    pub(crate) fn cuts(&self) -> bool {
        let flags = self.arguments[if self.call == "openat" { 2 } else { 1 }];
        self.call == "creat" || (self.call.starts_with("open") && flags & 0o1000 != 0)
    }
}

/// Has audit written down the mark behind the last change?
pub(crate) fn is_whole(made: &[Made], seen: &[Seen]) -> bool {
    let last = MARK + made.len();
    let is_last = |seen: &Seen| {
        seen.call.is_some_and(|call| call.name() == "getpgid") && seen.arguments[0] == last as u64
    };
    seen.iter().rev().any(is_last)
}

/// Of each change, by audit: the marks say which is which.
pub(crate) fn of_audit(made: &[Made], seen: &[Seen]) -> Result<Vec<Vec<Fact>>> {
    let mut facts: Vec<Vec<Fact>> = made.iter().map(|_| Vec::new()).collect();
    let mut current = BTreeMap::<u32, usize>::new();
    let mut marks = 0;
    for seen in seen {
        let Some(call) = seen.call else { continue };
        if call.name() == "getpgid" {
            let number = usize::try_from(seen.arguments[0])?.wrapping_sub(MARK);
            if number < made.len() {
                current.insert(seen.pid, number);
                marks += 1;
            }
            continue;
        }
        let Some(index) = current.get(&seen.pid) else { continue };
        // The pipe by which the actor answers.
        if call.name() == "write" && seen.arguments[0] == 1 {
            continue;
        }
        let ended = match seen.answer {
            0.. => Ended::Done,
            error if REFUSALS.contains(&error) => Ended::Refused,
            _ => Ended::Failed,
        };
        let names = seen.names.iter().filter(|(name, kind)| kind != "PARENT" && name.as_os_str() != "");
        let mut inodes = seen.inodes.clone();
        if inodes.is_empty() {
            inodes.extend(facts[*index].last().into_iter().flat_map(|opened| &opened.inodes));
        }
        facts[*index].push(Fact {
            entry: call.entry().name().to_owned(),
            call: call.name().to_owned(),
            ended,
            names: names.map(|(name, _)| name.clone()).collect(),
            arguments: seen.arguments,
            inodes,
            makes: seen.names.iter().any(|(_, kind)| kind == "CREATE"),
            kind: String::new(),
            outcome: String::new(),
            links: 0,
        });
    }
    ensure!(marks == made.len(), "audit saw {marks} of {} changes begin", made.len());
    Ok(facts)
}

/// Of each change, by Graven: the times say which is which.
pub(crate) fn of_graven(made: &[Made], records: &[Record]) -> Result<Vec<Vec<Fact>>> {
    let mut facts: Vec<Vec<Fact>> = made.iter().map(|_| Vec::new()).collect();
    for record in records.iter().filter(|record| record.class() == FILE) {
        let at = record.number("/unmapped/boot_time_ns").unwrap_or_default();
        let of = made.iter().position(|made| {
            record.pid() == Some(made.pid.into()) && (made.when.0..=made.when.1).contains(&at)
        });
        let Some(index) = of else { continue };
        let ended = if record.text("/unmapped/outcome") == "refused" { Ended::Refused } else { Ended::Done };
        let from = record.text("/unmapped/create/from/path");
        let names = [record.path(), record.result(), from.into()];
        facts[index].push(Fact {
            entry: record.text("/unmapped/entry").to_owned(),
            call: record.text("/unmapped/call").to_owned(),
            ended,
            names: names.into_iter().filter(|name| name.as_os_str() != "").collect(),
            arguments: [0; 4],
            inodes: BTreeSet::new(),
            makes: false,
            kind: record.kind().to_owned(),
            outcome: record.text("/unmapped/outcome").to_owned(),
            links: record.number("/unmapped/file/links").unwrap_or_default(),
        });
    }
    Ok(facts)
}
