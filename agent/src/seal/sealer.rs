//! The sealer: two queues, two chains, one key.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use graven_record::batch::MAX_RECORDS;
use graven_record::chain::Head;
use graven_record::epoch;
use graven_record::frame::{Draft, Frame, LossKind, Losses};
use graven_record::id::{BootId, HostId, Lane, RunId};
use graven_record::v1::{self, Batch, Context, Counters, EpochStart, EpochStatement, record::Event};
use graven_record::wire::{HeadStatement, Heartbeat};

use super::entries::{Entries, Entropy, fit};
use super::lane::{Queue, Waiting};
use super::loss::Pending;
use super::{EpochKey, Heads, Now, SealError};
use crate::policy::Judged;

/// Heads are stated this often (ns), so that silence is seen within half a minute.
const HEARTBEAT: u64 = 10_000_000_000;
/// A refused frame's losses are said again after this long (ns): a full spool is not asked in a loop.
const HOLD: u64 = 1_000_000_000;
/// A spool that refuses again and again is asked to take a loss this seldom (ns): what is kept free for the
/// logger's own words lasts that much longer. The counters of the heartbeats say the same meanwhile.
const HOLD_FULL: u64 = 30_000_000_000;
/// One epoch a run.
const EPOCH: u32 = 1;

/// What a run begins with.
pub struct Opening<'a> {
    /// Whose records.
    pub host: HostId,
    /// Certifies the epoch's key; not kept.
    pub start_key: &'a SigningKey,
    /// Of which boot.
    pub boot: BootId,
    /// Of which run: [`new_run`].
    pub run: RunId,
    /// Where the chains stand, as the spool was found.
    pub heads: Heads,
    /// What is true of every record until [`Sealer::set_context`].
    pub context: Context,
    /// Why the run began: "start".
    pub reason: String,
}

/// Turns judged records into frames. See the [module](super) for how it is driven.
pub struct Sealer {
    host: HostId,
    boot: BootId,
    run: RunId,
    key: EpochKey,
    start: EpochStart,
    context: Arc<Context>,
    protected: Chain,
    activity: Chain,
    losses: Pending,
    /// Everything that was ever counted lost in this run, said or not.
    lost: Losses,
    /// The spool took no records lately: what was lost is then said in frames that hold nothing else.
    refused: bool,
    /// Only the last word is left to say.
    ending: bool,
    /// Before this boot time losses alone make no frame: the spool has just refused one.
    hold: u64,
    beat: Option<u64>,
    last: Option<Undo>,
    entropy: Entropy,
}

/// One lane: its queue and where its chain stands.
struct Chain {
    queue: Queue,
    head: Head,
    started: bool,
}

/// How to take the last frame back.
struct Undo {
    lane: Lane,
    head: Head,
    started: bool,
    said: Pending,
    records: u64,
    /// When the first of them came, boot ns.
    since: u64,
}

/// Draws the name of a run.
pub fn new_run() -> Result<RunId, SealError> {
    let mut run = [0; 16];
    getrandom::fill(&mut run).map_err(SealError::Entropy)?;
    Ok(RunId(run))
}

impl Sealer {
    /// Begins a run: draws the epoch's key and lets the start key certify it.
    pub fn open(opening: Opening<'_>, now: Now) -> Result<Self, SealError> {
        Ok(Self::with_key(opening, EpochKey::generate()?, getrandom::fill, now))
    }

    fn with_key(opening: Opening<'_>, key: EpochKey, entropy: Entropy, now: Now) -> Self {
        let Opening { host, boot, run, heads, .. } = opening;
        let statement = EpochStatement {
            host: host.0.to_vec(),
            boot: boot.0.to_vec(),
            run: run.0.to_vec(),
            epoch: EPOCH,
            key: key.public().to_vec(),
            reason: opening.reason,
            protected_sequence: heads.protected.last,
            protected_head: heads.protected.hash.to_vec(),
            activity_sequence: heads.activity.last,
            activity_head: heads.activity.hash.to_vec(),
            wall_time: now.wall,
            boot_time: now.boot,
        };
        let chain = |lane| Chain { queue: Queue::default(), head: heads.of(lane), started: false };
        Self {
            host,
            boot,
            run,
            start: epoch::certify(&statement, opening.start_key),
            key,
            context: Arc::new(opening.context),
            protected: chain(Lane::Protected),
            activity: chain(Lane::Activity),
            losses: Pending::default(),
            lost: Losses::default(),
            refused: false,
            ending: false,
            hold: 0,
            beat: None,
            last: None,
            entropy,
        }
    }

    /// Takes a record. One that cannot be kept is counted lost.
    pub fn push(&mut self, judged: Judged, now: Now) {
        let Judged { mut record, lane, mut private } = judged;
        let context = Arc::clone(&self.context);
        let taken = fit(&mut record, &mut private).is_some_and(|bytes| {
            self.chain(lane).queue.push(Waiting { record, private, bytes, since: now.boot, context })
        });
        if !taken {
            self.lose(LossKind::Queue, 1, "", now);
        }
    }

    /// Counts what was lost before it could be a record. Within a second it is in a signed header and in a
    /// record; `hook` names the sensor's program where one is known, else it is empty.
    pub fn lose(&mut self, kind: LossKind, count: u64, hook: &str, now: Now) {
        let lost = &mut self.lost[kind as usize];
        *lost = lost.saturating_add(count);
        self.losses.add(kind, count, hook, now.boot);
    }

    /// All that was counted lost in this run, by kind: what [`Self::lose`] was told, what found no room in a
    /// queue, and what was withdrawn.
    pub fn lost(&self) -> Losses {
        self.lost
    }

    /// From the next record on, this is true of every record: after a policy was loaded.
    pub fn set_context(&mut self, context: Context) {
        self.context = Arc::new(context);
    }

    /// When [`Self::ready`] has the next frame at the latest, boot ns; `None` = nothing waits.
    pub fn due(&self) -> Option<u64> {
        let waiting = [self.protected.queue.due(), self.activity.queue.due(), self.losses_due()];
        waiting.into_iter().flatten().min()
    }

    /// When the oldest that is in no frame yet came, boot ns; `None` = nothing waits.
    pub fn oldest(&self) -> Option<u64> {
        let waiting = [self.protected.queue.oldest(), self.activity.queue.oldest(), self.losses.oldest()];
        waiting.into_iter().flatten().min()
    }

    fn losses_due(&self) -> Option<u64> {
        self.losses.due().map(|at| at.max(self.hold))
    }

    /// The next frame that is full or old enough. Call until `None`.
    pub fn ready(&mut self, now: Now) -> Result<Option<Frame>, SealError> {
        self.see_taken();
        let past = |due: Option<u64>| due.is_some_and(|at| at <= now.boot);
        let losses = past(self.losses_due());
        if losses || past(self.protected.queue.due()) {
            return self.seal(Lane::Protected, losses, now).map(Some);
        }
        past(self.activity.queue.due()).then(|| self.seal(Lane::Activity, false, now)).transpose()
    }

    /// The next frame, however young. Call until `None` before stopping.
    pub fn rest(&mut self, now: Now) -> Result<Option<Frame>, SealError> {
        self.see_taken();
        let losses = !self.losses.is_empty() && self.hold <= now.boot;
        if losses || !self.protected.queue.is_empty() {
            return self.seal(Lane::Protected, losses, now).map(Some);
        }
        let waits = !self.activity.queue.is_empty();
        waits.then(|| self.seal(Lane::Activity, false, now)).transpose()
    }

    /// The frame given last did not get into the spool: its chain stands where it stood before, its records
    /// are counted lost, what it said was lost will be said again.
    pub fn withdraw(&mut self, now: Now) {
        let Some(undo) = self.last.take() else { return };
        let chain = self.chain(undo.lane);
        chain.head = undo.head;
        chain.started = undo.started;
        self.losses.restore(undo.said);
        // They wait on, in a way: until their loss is on disk.
        self.lose(LossKind::Spool, undo.records, "", Now { boot: undo.since, ..now });
        if self.hold <= now.boot {
            let wait = if self.refused { HOLD_FULL } else { HOLD };
            self.hold = now.boot.saturating_add(wait);
        }
        self.refused = true;
    }

    /// The agent ends: what was lost is said with the next [`Self::rest`], however lately it was refused.
    pub fn end(&mut self) {
        self.hold = 0;
        self.ending = true;
    }

    /// Where both chains stand.
    pub fn heads(&self) -> Heads {
        Heads { protected: self.protected.head, activity: self.activity.head }
    }

    /// Every ten seconds, and at first at once: both heads, signed.
    pub fn heartbeat(&mut self, counters: Counters, now: Now) -> Option<Heartbeat> {
        if self.beat.is_some_and(|last| now.boot < last.saturating_add(HEARTBEAT)) {
            return None;
        }
        self.beat = Some(now.boot);
        Some(self.last_heartbeat(counters, now))
    }

    /// Both heads, signed, at any time: when the run ends.
    pub fn last_heartbeat(&self, counters: Counters, now: Now) -> Heartbeat {
        let heads = self.heads();
        let statement = HeadStatement {
            host: self.host.0.to_vec(),
            boot: self.boot.0.to_vec(),
            run: self.run.0.to_vec(),
            epoch: EPOCH,
            protected_sequence: heads.protected.last,
            protected_head: heads.protected.hash.to_vec(),
            activity_sequence: heads.activity.last,
            activity_head: heads.activity.hash.to_vec(),
            counters: Some(counters),
            wall_time: now.wall,
            boot_time: now.boot,
            mode: self.context.mode,
            policy_hash: self.context.policy.as_ref().map(|p| p.hash.clone()).unwrap_or_default(),
        };
        epoch::sign_head(&statement, self.key.signing())
    }

    fn seal(&mut self, lane: Lane, say_losses: bool, now: Now) -> Result<Frame, SealError> {
        let said = if say_losses { std::mem::take(&mut self.losses) } else { Pending::default() };
        let (head, started) = (self.chain(lane).head, self.chain(lane).started);
        let mut records = self.preface(started, &said, now);
        let alone = self.refused && !said.is_empty() && !self.ending;
        let room = if alone { 0 } else { MAX_RECORDS - records.len() };
        let chain = self.chain(lane);
        let context = chain.queue.context();
        let taken = chain.queue.take(room);
        let (count, since) = (taken.len() as u64, taken.first().map_or(now.boot, |first| first.since));
        let mut entries = Entries::default();
        records.extend(taken.into_iter().map(|Waiting { mut record, private, .. }| {
            entries.take(&mut record, &private);
            *record
        }));
        for (record, sequence) in records.iter_mut().zip(head.last + 1..) {
            record.sequence = sequence;
            record.time = happened_at(record.boot_time, now);
        }
        let context = Context::clone(context.as_ref().unwrap_or(&self.context));
        let batch = Batch { context: Some(context), records };
        let sealed = self.sign(lane, head, &said, &batch, entries, now);
        self.last = Some(Undo { lane, head, started, said, records: count, since });
        match sealed {
            Ok(frame) => {
                let chain = self.chain(lane);
                chain.head = Head::of(frame.header());
                chain.started = true;
                Ok(frame)
            }
            Err(error) => {
                self.withdraw(now);
                Err(error)
            }
        }
    }

    /// The frame before was not withdrawn: when it held records the spool takes some again, and what was lost
    /// need not wait any more.
    fn see_taken(&mut self) {
        if self.last.take().is_some_and(|undo| undo.records > 0) && std::mem::take(&mut self.refused) {
            self.hold = 0;
        }
    }

    /// What a frame begins with: the run's certificate in the lane's first, and what was lost.
    fn preface(&self, started: bool, said: &Pending, now: Now) -> Vec<v1::Record> {
        let start = (!started).then(|| v1::Record {
            boot_time: now.boot,
            verdict: Some(
                v1::Verdict {
                    decision: v1::Decision::Log.into(),
                    severity: v1::Severity::Info.into(),
                    ..v1::Verdict::default()
                }
                .into(),
            ),
            event: Some(Event::EpochStart(self.start.clone())),
            ..v1::Record::default()
        });
        start.into_iter().chain(said.records(now)).collect()
    }

    fn sign(
        &self,
        lane: Lane,
        head: Head,
        said: &Pending,
        batch: &Batch,
        entries: Entries,
        now: Now,
    ) -> Result<Frame, SealError> {
        let private = entries.salted(self.entropy)?;
        let starts_run = batch.records.first().is_some_and(|r| matches!(r.event, Some(Event::EpochStart(_))));
        let draft = Draft {
            lane,
            starts_run,
            host: self.host,
            boot: self.boot,
            run: self.run,
            epoch: EPOCH,
            lost: said.counts(),
            previous: head.hash,
            sealed_at: now.wall,
        };
        Frame::seal(&draft, batch, &private, self.key.signing())
            .map_err(|source| SealError::Frame { records: batch.records.len(), source })
    }

    fn chain(&mut self, lane: Lane) -> &mut Chain {
        match lane {
            Lane::Protected => &mut self.protected,
            Lane::Activity => &mut self.activity,
        }
    }
}

/// The wall clock of a moment before now, by the time since boot that has gone by.
fn happened_at(boot_time: u64, now: Now) -> u64 {
    now.wall.saturating_sub(now.boot.saturating_sub(boot_time))
}

#[cfg(test)]
#[path = "sealer_tests.rs"]
mod tests;
