//! What is asked of the store, and what comes back.
//!
//! In: times, names and patterns as an operator types them. Out: a `Query` that every store answers alike,
//! and records in the order in which they happened. Always: a query has a time range and a limit. Never:
//! I/O; the store runs it. Fails by naming the word that is wrong and what may stand there.

pub mod kind;
pub mod time;
pub mod pattern;

use std::sync::Arc;

use graven_record::id::{BootId, HostId, Lane, RunId};
use graven_record::ocsf::Envelope;
use graven_record::v1::{Context, PrivateEntry, Record};

use crate::store::day::{Day, Located};
use crate::store::index::Entry;

pub use kind::Kind;
pub use pattern::PathPattern;

/// Rows that one query may give: they are held in memory while they are put in order.
pub const MAX_LIMIT: usize = 100_000;

/// Which records.
#[derive(Clone, Debug)]
pub struct Query {
    /// Not before, ns since the Unix epoch.
    pub since: i64,
    /// Not after, ns since the Unix epoch.
    pub until: i64,
    /// Of one host: its number in the store.
    pub host: Option<i64>,
    /// Of one kind.
    pub kind: Option<Kind>,
    /// By this user or login user, by name or number.
    pub user: Option<String>,
    /// Of these paths, either one of a rename.
    pub path: Option<PathPattern>,
    /// Only what the policy says to alert on.
    pub alerts_only: bool,
    /// The newest so many.
    pub limit: usize,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            since: i64::MIN,
            until: i64::MAX,
            host: None,
            kind: None,
            user: None,
            path: None,
            alerts_only: false,
            limit: MAX_LIMIT,
        }
    }
}

impl Query {
    /// The part of the query that the database does not decide.
    pub fn admits(&self, entry: &Entry) -> bool {
        let kind = self.kind.is_none_or(|kind| entry.kind == kind);
        let called = |names: &str, word: &str| names.split('\n').any(|name| name == word);
        let user = self.user.as_ref();
        let user = user.is_none_or(|word| called(&entry.user, word) || called(&entry.login_user, word));
        let path = self.path.as_ref().is_none_or(|p| p.matches(&entry.path) || p.matches(&entry.path2));
        kind && user && path
    }
}

/// A row that answers a query, and where its record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The day's file.
    pub day: Day,
    /// In it.
    pub located: Located,
}

impl Row {
    /// The order in which things happened: by the host's wall clock, then by its kernel's clock, then by
    /// receipt. Total, so that the same rows always come in the same order.
    pub fn order(&self) -> impl Ord + use<> {
        let Located { id, host, entry, .. } = &self.located;
        (entry.time, *host, entry.boot_time, self.day, *id)
    }
}

/// A record as it is stored, with what its frame says of it.
#[derive(Clone, Debug)]
pub struct Found {
    /// Whose.
    pub host: HostId,
    /// Which boot.
    pub boot: BootId,
    /// Which run of the agent.
    pub run: RunId,
    /// Which lane.
    pub lane: Lane,
    /// Central clock, ns.
    pub received: i64,
    /// Hash of its frame.
    pub frame: [u8; 32],
    /// What all records of the frame share.
    pub context: Arc<Context>,
    /// The record.
    pub record: Record,
    /// The private entries it may name; empty where they were erased.
    pub private: Arc<Vec<PrivateEntry>>,
}

impl Found {
    /// What the renderers need besides the record.
    pub fn envelope(&self) -> Envelope<'_> {
        Envelope {
            host: self.host,
            boot: self.boot,
            lane: Some(self.lane),
            context: &self.context,
            private: &self.private,
            frame_hash: Some(self.frame),
        }
    }

    /// The arguments of a process of this record, NUL-joined, while the private part is there.
    pub fn arguments(&self, reference: u32) -> Option<&[u8]> {
        let index = usize::try_from(reference.checked_sub(1)?).ok()?;
        self.private.get(index).map(|entry| entry.value.as_slice())
    }
}

/// A stored frame that no longer holds.
#[derive(Clone, Debug, thiserror::Error)]
#[error("frame {frame} received on {day} does not hold: {reason}")]
pub struct Damage {
    /// The day's file.
    pub day: Day,
    /// Row in it.
    pub frame: i64,
    /// Why.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use graven_record::v1::Subject;

    use super::*;
    use crate::fixture::modify;

    #[test]
    fn a_user_is_found_by_name_and_by_number() {
        let subject = Subject {
            uid: 0,
            user: "root".into(),
            loginuid: Some(1000),
            login_user: "ada".into(),
            ..Subject::default()
        };
        let entry = Entry::of(&Record { subject: Some(subject.into()), ..Record::default() }, 0);
        let admits = |word: &str| Query { user: Some(word.into()), ..Query::default() }.admits(&entry);
        assert!(["root", "0", "ada", "1000"].into_iter().all(admits));
        assert!(!["roo", "00", "100", "", "root\n0"].into_iter().any(admits));
    }

    #[test]
    fn all_parts_of_a_query_must_hold() {
        let entry =
            Entry { user: "root".into(), login_user: "ada".into(), ..Entry::of(&modify("/etc/motd"), 0) };
        let mut query = Query { kind: Kind::named("modify"), ..Query::default() };
        assert!(query.admits(&entry));
        query.user = Some("ada".into());
        query.path = Some(PathPattern::new("/etc").unwrap());
        assert!(query.admits(&entry));
        query.kind = Kind::named("unlink");
        assert!(!query.admits(&entry));
        query.kind = None;
        query.user = Some("bob".into());
        assert!(!query.admits(&entry));
    }
}
