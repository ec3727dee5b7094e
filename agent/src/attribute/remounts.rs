//! What the mount table says has changed, whatever name for it a call gave: through a symbolic link, relative to a directory,
//! or in another mount namespace from which it propagated.
//!
//! In: the table before and after, which places matter, and the calls of the time between. Out: each change of the initial mount
//! namespace at such a place that no call named, nor a place above it; with the program run that called, if one alone did in
//! that time. Always: bounded; what is left out is counted.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use graven_record::shared::Shared;
use graven_record::v1::record::Event;
use graven_record::v1::{self, Outcome};

use super::Attributed;
use super::mounts::{Changed, Mounts};

/// Calls that are remembered: more than a look at the table is apart.
const CALLS: usize = 256;
/// For this long, ns: the table is looked at each second, and at once when a call was seen.
const REMEMBERED: u64 = 5_000_000_000;
/// A call's record may come later than the table is read, by the time for which the rings are held back, ns: and where the
/// stages lag behind, not before a later one.
const SETTLED: u64 = 500_000_000;
/// Where nothing else happens: long after that.
const QUIET: u64 = 3_000_000_000;
/// Changes that wait: moving a tree of mounts changes all below it.
const CHANGES: usize = 1024;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Remounts {
    calls: VecDeque<Call>,
    changes: VecDeque<Change>,
    /// When the last event happened that was looked at.
    seen: u64,
    /// Changes beyond the bound.
    pub(super) untold: u64,
}

#[derive(Debug)]
struct Call {
    at: u64,
    subject: Shared<v1::Subject>,
    source: v1::Source,
    private: Vec<Bytes>,
    target: Vec<u8>,
    /// In the initial mount namespace.
    here: bool,
}

/// One that may yet be named by a call.
#[derive(Debug)]
struct Change {
    at: u64,
    mount: v1::Mount,
}

impl Remounts {
    /// An event was seen: perhaps a call that changes mounts, or says that it did.
    pub(super) fn saw(&mut self, seen: &Attributed) {
        self.seen = self.seen.max(seen.at);
        let Event::Mount(mount) = &seen.event else { return };
        if mount.outcome() == Outcome::Refused {
            return;
        }
        if self.calls.len() >= CALLS {
            self.calls.pop_front();
        }
        self.calls.push_back(Call {
            at: seen.at,
            subject: seen.subject.clone(),
            source: seen.source.clone(),
            private: seen.private.clone(),
            target: target(mount).to_vec(),
            here: mount.initial_namespace,
        });
    }

    /// The table was read again.
    pub(super) fn compare(
        &mut self,
        (before, after): (&Mounts, &Mounts),
        matters: impl Fn(&[u8]) -> bool,
        namespace: u32,
        now: u64,
    ) {
        for changed in after.changes_since(before).into_iter().filter(|changed| matters(changed.point)) {
            if self.changes.len() >= CHANGES {
                self.untold += 1;
                continue;
            }
            self.changes.push_back(Change { at: now, mount: changed.told(namespace) });
        }
    }

    /// What no call has named.
    pub(super) fn take(&mut self, now: u64) -> Vec<Attributed> {
        self.calls.retain(|call| call.at.saturating_add(REMEMBERED) >= now);
        let (mut found, seen) = (Vec::new(), self.seen);
        let is_due = |change: &mut Change| {
            let settled = change.at.saturating_add(SETTLED) <= now && seen >= change.at;
            settled || change.at.saturating_add(QUIET) <= now
        };
        while let Some(change) = self.changes.pop_front_if(is_due) {
            let point = target(&change.mount);
            if !self.calls.iter().any(|call| call.here && is_at_or_above(&call.target, point)) {
                found.push(self.told(change));
            }
        }
        found
    }

    /// Who did it is known where all calls of the time are one program run's.
    fn told(&self, change: Change) -> Attributed {
        let who = |call: &Call| {
            let id = call.subject.process.as_ref().and_then(|process| process.id);
            id.map(|id| (id.pid, id.start, id.exec))
        };
        let alone = self.calls.iter().map(who).collect::<BTreeSet<_>>().len() == 1;
        let call = self.calls.back().filter(|_| alone);
        Attributed {
            at: call.map_or(change.at, |call| call.at),
            subject: call.map(|call| call.subject.clone()).unwrap_or_default(),
            source: call.map(|call| call.source.clone()).unwrap_or_default(),
            event: Event::Mount(change.mount),
            witnessed: false,
            private: call.map(|call| call.private.clone()).unwrap_or_default(),
        }
    }
}

/// What happens to a mount happens to what is mounted below it.
fn is_at_or_above(above: &[u8], path: &[u8]) -> bool {
    let rest = path.strip_prefix(above.strip_suffix(b"/").unwrap_or(above));
    !above.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

fn target(mount: &v1::Mount) -> &[u8] {
    mount.target.as_ref().map(|file| file.path.as_slice()).unwrap_or_default()
}

impl Changed<'_> {
    fn told(&self, namespace: u32) -> v1::Mount {
        v1::Mount {
            kind: self.kind.into(),
            outcome: Outcome::Success.into(),
            target: Some(v1::File {
                path: self.point.to_vec(),
                path_source: v1::PathSource::Inode.into(),
                ..v1::File::default()
            }),
            source: self.source.to_vec(),
            filesystem: self.filesystem.to_owned(),
            flags: 0,
            namespace,
            initial_namespace: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use graven_record::v1::MountKind;

    use super::*;

    const BEFORE: &str = "27 1 254:0 / / rw - ext4 /dev/vda rw\n40 27 0:40 / /tmp rw - tmpfs tmpfs rw\n";
    const OVER: &str = "41 27 254:0 /tmp/evil /usr/bin rw - ext4 /dev/vda rw\n";

    fn call(pid: u32, target: &str, here: bool) -> Attributed {
        let process =
            v1::Process { id: Some(v1::ExecId { pid, ..v1::ExecId::default() }), ..v1::Process::default() };
        let target = Some(v1::File { path: target.into(), ..v1::File::default() });
        Attributed {
            at: 10,
            subject: v1::Subject { process: Some(process), ..v1::Subject::default() }.into(),
            source: v1::Source { call: "mount".into(), ..v1::Source::default() },
            event: Event::Mount(v1::Mount { target, initial_namespace: here, ..v1::Mount::default() }),
            witnessed: false,
            private: Vec::new(),
        }
    }

    fn found(calls: &[Attributed], after: &str) -> Vec<Attributed> {
        let mut remounts = Remounts::default();
        let (before, after) = (Mounts::parse(BEFORE.as_bytes()), Mounts::parse(after.as_bytes()));
        remounts.compare((&before, &after), |point| point != b"/mnt", 7, 20);
        assert!(remounts.take(20 + SETTLED).is_empty(), "a call may yet name them");
        calls.iter().for_each(|call| remounts.saw(call));
        assert!(remounts.take(20 + SETTLED).is_empty(), "nothing later was seen");
        remounts.saw(&Attributed { at: 21, event: Event::Exit(v1::Exit::default()), ..call(9, "/", true) });
        remounts.take(20 + SETTLED)
    }

    fn whose(found: &Attributed) -> Option<u32> {
        Some(found.subject.process.as_ref()?.id?.pid)
    }

    #[test]
    fn what_a_call_named_needs_no_other_word() {
        let after = format!("{BEFORE}{OVER}");
        assert!(found(&[call(5, "/usr/bin", true)], &after).is_empty());
        assert!(found(&[call(5, "/usr", true)], &after).is_empty(), "it was moved or bound with its tree");
        assert!(found(&[], BEFORE).is_empty());
        let elsewhere = format!("{BEFORE}{}", OVER.replace("/usr/bin", "/mnt"));
        assert!(found(&[], &elsewhere).is_empty(), "nobody cares for the place");
    }

    #[test]
    fn where_nothing_else_happens_it_is_told_a_while_later() {
        let mut remounts = Remounts::default();
        let after = format!("{BEFORE}{OVER}");
        let (before, after) = (Mounts::parse(BEFORE.as_bytes()), Mounts::parse(after.as_bytes()));
        remounts.compare((&before, &after), |_| true, 7, 20);
        assert!(remounts.take(20 + SETTLED).is_empty());
        assert_eq!(remounts.take(20 + QUIET).len(), 1);
    }

    #[test]
    fn what_was_reached_by_another_name_is_told_by_the_table_with_who_did_it() {
        let found = found(&[call(5, "/tmp/link", true)], &format!("{BEFORE}{OVER}"));
        assert_eq!(found.len(), 1);
        let Event::Mount(mount) = &found[0].event else { unreachable!("{found:?}") };
        assert_eq!(mount.target.as_ref().map(|file| file.path.as_slice()), Some(&b"/usr/bin"[..]));
        assert_eq!((mount.kind(), mount.outcome()), (MountKind::Bind, Outcome::Success));
        assert!(mount.initial_namespace);
        assert_eq!(whose(&found[0]), Some(5));
    }

    #[test]
    fn what_came_from_another_namespace_is_told() {
        let found = found(&[call(5, "/usr/bin", false)], &format!("{BEFORE}{OVER}"));
        assert_eq!(found.iter().map(whose).collect::<Vec<_>>(), [Some(5)]);
    }

    #[test]
    fn of_two_nobody_knows_who_it_was() {
        let calls = [call(5, "/tmp/link", true), call(6, "/tmp/other", true)];
        assert_eq!(found(&calls, &format!("{BEFORE}{OVER}")).iter().map(whose).collect::<Vec<_>>(), [None]);
        assert_eq!(found(&[], &format!("{BEFORE}{OVER}")).iter().map(whose).collect::<Vec<_>>(), [None]);
    }

    #[test]
    fn what_goes_moves_or_becomes_writable_is_a_change_too() {
        let kinds = |after: &str| {
            let found = found(&[], after);
            let kind = |found: &Attributed| match &found.event {
                Event::Mount(mount) => mount.kind(),
                _ => MountKind::Unspecified,
            };
            found.iter().map(kind).collect::<Vec<_>>()
        };
        let root = BEFORE.lines().next().unwrap_or_default();
        assert_eq!(kinds(&format!("{root}\n")), [MountKind::Unmount]);
        assert_eq!(kinds(&BEFORE.replace("/tmp rw", "/opt rw")), [MountKind::Move]);
        assert_eq!(kinds(&BEFORE.replace("/tmp rw", "/tmp ro")), [MountKind::Remount]);
        assert_eq!(kinds(&BEFORE.replace("/dev/vda rw", "/dev/vda ro")), [MountKind::Remount]);
        assert_eq!(
            kinds(&BEFORE.replace("0:40", "0:99")),
            [MountKind::Unmount, MountKind::Mount],
            "its number was used again"
        );
    }
}
