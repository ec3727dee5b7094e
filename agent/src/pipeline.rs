//! The stages, in order: a ring's bytes become a judged record.
//!
//! ```text
//! sensor (Raw) → decode (Observed) → attribute (Attributed) → policy (Judged) → seal (Frame) → spool ── ship
//! ```
//! [`Pipeline`] is the part without I/O of its own; [`collect`] is the thread that feeds it from the rings;
//! `watch` and `observe` put a sink behind it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use graven_record::shared::Shared;
use graven_record::v1::record::Event;
use graven_record::v1::{Decision, Process, Subject};

use crate::attribute::{Attribution, Host, ThisHost};
use crate::decode::{self, DecodeError, decode};
use crate::policy::{self, Judged, Policy, Refusals, judge};
use crate::sensor::{Drain, Merge, Overflow, Raw, SensorError, Waker};

/// Pieces of what the rings held that wait for the stages behind. When they are all taken the rings themselves are the
/// buffer, and what finds no room there is counted by the kernel, by kind.
const PIECES: usize = 32;
/// Bytes of records in a piece, and at most a record more: 8 MiB wait at most.
const PIECE: usize = 256 << 10;

/// Rounds of a stop while others go on writing: what the rings can hold, and half of that again.
const LAST_ROUNDS: usize = 24;

/// Programs of the agent's own whose beginning may be on its way: two for each round that found something.
const EXPECTED: usize = 8;

/// From bytes to verdicts.
#[derive(Debug)]
pub struct Pipeline<H: Host = ThisHost> {
    attribution: Attribution<H>,
    policy: Policy,
    /// The one before, and until when it held.
    before: Option<(u64, Policy)>,
    refusals: Refusals,
    expected: VecDeque<u32>,
    /// When the last one happened, CLOCK_BOOTTIME, ns.
    reached: u64,
    ignored: u64,
    undecodable: u64,
}

impl<H: Host> Pipeline<H> {
    /// The stages with their state.
    pub fn new(attribution: Attribution<H>, policy: Policy) -> Self {
        let (refusals, expected) = (Refusals::default(), VecDeque::new());
        Self { attribution, policy, before: None, refusals, expected, reached: 0, ignored: 0, undecodable: 0 }
    }

    /// The agent has started itself as this process, to see whether the sensor tells of it: that it begins is counted
    /// and no record.
    pub fn expect(&mut self, pid: u32) {
        self.expected.truncate(EXPECTED - 1);
        self.expected.push_front(pid);
    }

    /// One record through decode, attribute and policy. None for what only feeds the process table.
    pub fn judge(&mut self, raw: &Raw) -> Result<Option<Judged>, DecodeError> {
        self.reached = raw.time();
        let observed = decode(raw).inspect_err(|_| self.undecodable += 1)?;
        let Some(attributed) = self.attribution.attribute(&observed) else { return Ok(None) };
        let mut judged = judge(self.policy_at(attributed.at), attributed);
        if let Some(place) = self.expected.iter().position(|pid| is_by_own_child(&judged, *pid)) {
            self.expected.remove(place);
            judged.record.verdict = Some(policy::expected());
        }
        self.remember(&judged);
        if is_ignored(&judged) {
            return Ok(Some(judged));
        }
        Ok(self.refusals.take(judged))
    }

    /// What the last record brought to light beside itself: a login user that was set before it.
    pub fn aside(&mut self) -> Option<Judged> {
        let login = self.attribution.login()?;
        let judged = judge(self.policy_at(login.at), login);
        self.remember(&judged);
        Some(judged)
    }

    /// Reads the mount table again.
    pub fn refresh(&mut self, now: u64) {
        let policy = &self.policy;
        self.attribution.refresh(now, |path| policy.covers(path));
    }

    /// Mounts over protected places that no call named, by the mount table. `now`: CLOCK_BOOTTIME, ns.
    pub fn remounted(&mut self, now: u64) -> Vec<Judged> {
        let found = self.attribution.remounted(now).into_iter();
        let mut judged: Vec<Judged> =
            found.map(|found| judge(&self.policy, found)).filter(is_of_a_place).collect();
        // Where nobody is known nobody is named.
        let is_nobody = |subject: &Shared<Subject>| subject.process.is_none();
        for judged in &mut judged {
            judged.record.subject.take_if(|subject| is_nobody(subject));
        }
        judged.iter().for_each(|judged| self.remember(judged));
        judged
    }

    /// Refusals that were folded, when their time is over. `now`: CLOCK_BOOTTIME, ns; none: more of what happened before now
    /// waits to be judged; the greatest number = all.
    pub fn folded(&mut self, now: Option<u64>) -> Vec<Judged> {
        self.refusals.due(now.unwrap_or(self.reached))
    }

    /// A row of what found no room, as a record.
    pub fn lost(&mut self, row: &Overflow) -> Result<Judged, DecodeError> {
        let lost = decode::overflow(row).inspect_err(|_| self.undecodable += 1)?;
        let at = lost.last;
        let (subject, lost) = self.attribution.attribute_lost(lost);
        let mut judged = policy::own(&self.policy, at, Event::Lost(lost));
        judged.record.subject = Some(subject);
        Ok(judged)
    }

    /// What a kept record names must stay known until its exit is a record too.
    fn remember(&mut self, judged: &Judged) {
        if is_ignored(judged) {
            self.ignored += 1;
        } else if let Some(subject) = &judged.record.subject
            && !matches!(judged.record.event, Some(Event::Exit(_)))
        {
            let own = subject.process.as_ref().and_then(|run| run.id.as_ref());
            own.into_iter().for_each(|id| self.attribution.refer(id));
        }
    }

    /// Another policy judges what happens from here on. `now`: CLOCK_BOOTTIME, ns.
    pub fn judge_by(&mut self, policy: Policy, now: u64) {
        self.before = Some((now, std::mem::replace(&mut self.policy, policy)));
    }

    /// The policy of the time at which something happened: records may be late.
    fn policy_at(&self, at: u64) -> &Policy {
        match &self.before {
            Some((until, before)) if at < *until => before,
            _ => &self.policy,
        }
    }

    /// The policy that judges.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The table of processes, users and mounts.
    pub fn attribution(&mut self) -> &mut Attribution<H> {
        &mut self.attribution
    }

    /// Events judged `ignore` so far.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Records that were none, so far.
    pub fn undecodable(&self) -> u64 {
        self.undecodable
    }
}

/// Does the policy say something of the place?
fn is_of_a_place(judged: &Judged) -> bool {
    judged.record.verdict.as_ref().is_some_and(|verdict| !verdict.rule.is_empty())
}

/// Does a program begin in this process, which this one has started?
fn is_by_own_child(judged: &Judged, pid: u32) -> bool {
    let pid_of = |process: &Process| process.id.as_ref().map(|id| id.pid);
    let subject = judged.record.subject.as_ref();
    let its = subject.and_then(|subject| subject.process.as_ref()).and_then(pid_of);
    let parent = subject.and_then(|subject| subject.ancestors.first()).and_then(pid_of);
    let begins = matches!(judged.record.event, Some(Event::Exec(_)));
    begins && its == Some(pid) && parent == Some(std::process::id())
}

/// Did the policy say that this is not worth a record?
pub fn is_ignored(judged: &Judged) -> bool {
    judged.record.verdict.as_ref().is_some_and(|verdict| verdict.decision() == Decision::Ignore)
}

/// What the collecting thread hands over.
#[derive(Debug)]
pub enum Collected {
    /// Records in the order in which they happened.
    Records(Vec<Raw>),
    /// The rings cannot be read any more.
    Failed(SensorError),
    /// The agent was asked to read its policy anew.
    Reload,
    /// The agent was asked to stop.
    Stop,
    /// Nothing more comes from the rings.
    Done,
}

/// The thread that empties the rings.
#[derive(Debug)]
pub struct Collector {
    /// What it hands over; [`Collected::Done`] is the last of it, whatever happens.
    pub incoming: Receiver<Collected>,
    /// To ask for a stop from elsewhere.
    pub outgoing: SyncSender<Collected>,
    stop: Arc<AtomicBool>,
    waker: Waker,
}

/// Starts it. `stays`: more may be written while the last of it is read, which is left.
pub fn collect(drain: Drain, stays: bool) -> std::io::Result<Collector> {
    let (outgoing, incoming) = sync_channel(PIECES);
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, stopping, waker) = (outgoing.clone(), Arc::clone(&stop), drain.waker());
    thread::Builder::new().name("rings".to_owned()).spawn(move || {
        let done = Done(sender);
        read_until(drain, &stopping, stays, &done.0);
    })?;
    Ok(Collector { incoming, outgoing, stop, waker })
}

impl Collector {
    /// After the sensor was detached, or left on its hooks: reads what is there and ends. The receiver then has everything, up to
    /// [`Collected::Done`]; it is not closed, for others may hold a sender.
    pub fn finish(self) -> Receiver<Collected> {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
        self.incoming
    }
}

/// Says [`Collected::Done`] when the thread ends, even if it ends by a panic.
struct Done(SyncSender<Collected>);

impl Drop for Done {
    fn drop(&mut self) {
        // A receiver that is gone waits for nothing.
        drop(self.0.send(Collected::Done));
    }
}

/// A receiver that is gone has stopped caring: then the thread ends too.
fn read_until(mut drain: Drain, stop: &AtomicBool, stays: bool, to: &SyncSender<Collected>) {
    let mut merge = Merge::default();
    while !stop.load(Ordering::Acquire) {
        match drain.round(merge.is_empty()) {
            Ok(round) => {
                if !send(merge.add(round), to) {
                    return;
                }
            }
            Err(error) => return drop(to.send(Collected::Failed(error))),
        }
    }
    for round in 1.. {
        let rest = drain.take();
        let is_last = rest.is_empty() || (stays && (!drain.is_behind() || round == LAST_ROUNDS));
        if !send(merge.add(rest), to) || is_last {
            break;
        }
    }
    send(merge.finish(), to);
}

fn send(mut records: Vec<Raw>, to: &SyncSender<Collected>) -> bool {
    while !records.is_empty() {
        let later = records.split_off(piece(&records));
        if to.send(Collected::Records(records)).is_err() {
            return false;
        }
        records = later;
    }
    true
}

/// How many of these make a piece.
fn piece(records: &[Raw]) -> usize {
    let mut bytes = 0;
    let is_full = |raw: &Raw| {
        bytes += raw.0.len();
        bytes >= PIECE
    };
    records.iter().position(is_full).map_or(records.len(), |last| last + 1)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    #[test]
    fn what_is_handed_over_at_once_is_handed_over_in_pieces() {
        let record = |length| Raw(vec![0; length].into());
        let records: Vec<Raw> = [1, PIECE - 1, 7, PIECE, 5].map(record).into();
        let (outgoing, incoming) = sync_channel(PIECES);
        assert!(send(records, &outgoing) && send(Vec::new(), &outgoing));
        drop(outgoing);
        let lengths = |collected| match collected {
            Collected::Records(records) => records.iter().map(|raw| raw.0.len()).collect(),
            _ => Vec::new(),
        };
        let pieces: Vec<Vec<usize>> = incoming.iter().map(lengths).collect();
        assert_eq!(pieces, [vec![1, PIECE - 1], vec![7, PIECE], vec![5]]);
    }

    #[test]
    fn a_thread_that_fails_or_panics_still_says_that_it_is_done() {
        let (outgoing, incoming) = sync_channel(PIECES);
        let sender = outgoing.clone();
        let thread = thread::spawn(move || {
            let done = Done(sender);
            drop(done.0.send(Collected::Failed(SensorError::NotRoot)));
            std::panic::resume_unwind(Box::new("the rings"));
        });
        assert!(thread.join().is_err());
        // As the thread that waits for signals: a sender that stays.
        let _kept = outgoing;
        assert!(matches!(incoming.recv().unwrap(), Collected::Failed(_)));
        assert!(matches!(incoming.recv().unwrap(), Collected::Done));
    }
}
