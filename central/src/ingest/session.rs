//! What one stream knows of its host while it lives: heads and keys read from the store once, then kept.
//! Turns a frame's bytes into what the store shall do and what the host shall hear.

use std::collections::HashMap;

use graven_record::chain::{self, Link};
use graven_record::epoch;
use graven_record::frame::Header;
use graven_record::id::{BootId, Lane, RunId};
use graven_record::wire::{HeadStatement, Heartbeat, Refused};
use prost::Message;

use super::live::{Claim, Gap};
use crate::store::writer::Writer;
use crate::store::{Finding, HostRow, Made, StoreError, Write};
use crate::verify::{
    Epoch, EpochName, Known, LaneHead, Place, Received, Refusal, Stored, Verdict, Verified, verify,
};

/// Boots told in `Resume`: a host has two or three boots' frames in its spool at most.
const BOOTS: usize = 32;
/// Lanes and keys kept; beyond it they are read again.
const KEPT: usize = 256;

/// A lane of a boot.
pub type LaneName = (BootId, Lane);

/// One stream's knowledge.
pub struct Session {
    host: HostRow,
    store: Writer,
    heads: HashMap<LaneName, LaneHead>,
    epochs: HashMap<EpochName, Epoch>,
    /// What is on disk, by lane.
    durable: HashMap<LaneName, u64>,
    /// The newest statement of each boot.
    said: HashMap<BootId, HeadStatement>,
}

/// What is to be done with a frame.
pub enum Step {
    /// Store it, and these findings about it.
    Store(Box<Verified>, Option<Finding>),
    /// It is on disk: say so.
    Acknowledge(LaneName),
    /// Say why not, and store what it shows.
    Refuse(Option<Finding>, Refused),
}

impl Session {
    /// Reads what the store knows of the host.
    pub async fn begin(host: HostRow, boot: BootId, store: Writer) -> Result<Self, StoreError> {
        let number = host.number;
        let known = store.ask(move |store| store.heads(number, BOOTS)).await?;
        let mut heads: HashMap<LaneName, LaneHead> = HashMap::new();
        for lane in Lane::ALL {
            let head = store.ask(move |store| store.head(number, boot, lane)).await?;
            heads.insert((boot, lane), head);
        }
        heads.extend(known.into_iter().map(|(boot, lane, head)| ((boot, lane), head)));
        let durable = heads.iter().map(|(lane, head)| (*lane, head.head.last)).collect();
        let last = host.heartbeat.as_ref().map(|(statement, _)| statement.clone());
        let said =
            last.and_then(|last| Some((BootId::from_slice(&last.boot).ok()?, last))).into_iter().collect();
        Ok(Self { host, store, heads, epochs: HashMap::new(), durable, said })
    }

    /// The host's number in the store.
    pub fn number(&self) -> i64 {
        self.host.number
    }

    /// All lanes with what is durable, in a fixed order.
    pub fn lanes(&self) -> Vec<LaneName> {
        let mut lanes: Vec<LaneName> = self.durable.keys().copied().collect();
        lanes.sort_unstable();
        lanes
    }

    /// The last durable sequence of a lane.
    pub fn durable(&self, lane: &LaneName) -> u64 {
        self.durable.get(lane).copied().unwrap_or(0)
    }

    /// A frame is on disk.
    pub fn stored(&mut self, lane: LaneName, last: u64) {
        let durable = self.durable.entry(lane).or_insert(0);
        *durable = last.max(*durable);
    }

    /// The store holds something else than this session thought: read it again.
    pub fn forget(&mut self) {
        self.heads.clear();
    }

    /// Judges the bytes of a frame.
    pub async fn judge(&mut self, bytes: &[u8], claim: &Claim) -> Result<Step, StoreError> {
        let received = match Received::read(bytes, self.host.id) {
            Ok(received) => received,
            Err(refusal) => return Ok(self.refuse(&refusal, None)),
        };
        let header = received.header().clone();
        let lane = (header.boot, header.lane);
        let head = self.head(lane).await?;
        let epoch = self.epoch(EpochName::of(&header)).await?;
        let (stored, gap_insisted) = match chain::link(&head.head, &header) {
            Link::Duplicate => (self.at(&header).await?, false),
            Link::Gap { from, to } => (Stored::Nothing, claim.insists(gap(&header, from, to))),
            Link::Next | Link::Fork => (Stored::Nothing, false),
        };
        let start_key = &self.host.start_key;
        match verify(received, &Known { start_key, head, epoch: epoch.as_ref(), stored, gap_insisted }) {
            Verdict::Take(verified) => Ok(self.take(verified)),
            Verdict::Duplicate => Ok(Step::Acknowledge(lane)),
            Verdict::Refuse(refusal) => {
                if let Refusal::Gap { from, to } = refusal {
                    claim.remember(gap(&header, from, to));
                }
                Ok(self.refuse(&refusal, Some(&header)))
            }
        }
    }

    fn take(&mut self, verified: Box<Verified>) -> Step {
        let header = verified.frame.header().clone();
        if let Some(epoch) = &verified.learned {
            bound(&mut self.epochs);
            self.epochs.insert(epoch.name, epoch.clone());
        }
        if verified.place != Place::Late {
            self.heads.insert((header.boot, header.lane), LaneHead::of(&header));
        }
        let finding = match verified.place {
            Place::Next => None,
            Place::AfterGap { from, to } => Some(self.finding(
                "gap",
                Some(&header),
                (from, to),
                "the host does not have these records any more".to_owned(),
            )),
            Place::Late => Some(self.finding(
                "late",
                Some(&header),
                (header.first, header.last),
                "these records came after later ones".to_owned(),
            )),
        };
        Step::Store(verified, finding)
    }

    /// The finding and the answer for a frame that is not taken.
    pub fn refuse(&self, refusal: &Refusal, header: Option<&Header>) -> Step {
        let sequences = header.map_or((0, 0), |h| (h.first, h.last));
        // What the host is asked to send again is nothing yet: it becomes a finding when the host cannot.
        let finding =
            (!refusal.retry()).then(|| self.finding(refusal.kind(), header, sequences, refusal.sentence()));
        let refused = Refused {
            boot: header.map(|h| h.boot.0.to_vec()).unwrap_or_default(),
            lane: header.map_or(0, |h| h.lane.number().into()),
            first_sequence: header.map_or(0, |h| h.first),
            reason: refusal.sentence(),
            retry: refusal.retry(),
        };
        Step::Refuse(finding, refused)
    }

    fn finding(
        &self,
        kind: &str,
        header: Option<&Header>,
        (first, last): (u64, u64),
        reason: String,
    ) -> Finding {
        let boot = header.map_or(BootId([0; 16]), |h| h.boot);
        let lane = header.map_or(0, |h| h.lane.number());
        Finding { host: self.host.number, kind: kind.to_owned(), boot, lane, first, last, reason }
    }

    /// What a heartbeat writes: the statement if its signature holds, a finding if it does not, nothing while
    /// the run's start has not come yet.
    pub async fn beat(&mut self, heartbeat: Heartbeat) -> Result<Vec<Write>, StoreError> {
        let wrong = |reason: &str, session: &Self| {
            vec![Write::Finding(session.finding("heartbeat", None, (0, 0), reason.to_owned()))]
        };
        let Some((name, claimed)) = named(&heartbeat) else {
            return Ok(wrong("a heartbeat does not decode", self));
        };
        if claimed.host != self.host.id.0 {
            return Ok(wrong("a heartbeat names another host than the certificate", self));
        }
        let Some(epoch) = self.epoch(name).await? else { return Ok(Vec::new()) };
        match epoch::verify_head(&heartbeat, &epoch.key) {
            Err(e) => Ok(wrong(&e.to_string(), self)),
            Ok(statement) => self.believed(name.boot, statement, heartbeat).await,
        }
    }

    /// A host may send an old statement again, when it does not know whether it arrived: only what is newer
    /// than its last one says how far the host is.
    async fn believed(
        &mut self,
        boot: BootId,
        statement: HeadStatement,
        heartbeat: Heartbeat,
    ) -> Result<Vec<Write>, StoreError> {
        let before = self.said.get(&boot);
        if before.is_some_and(|before| statement.boot_time <= before.boot_time) {
            return Ok(Vec::new());
        }
        let found = match before.and_then(|before| went_back(before, &statement)) {
            Some(back) => Some(back),
            None => self.behind(boot, &statement).await?,
        };
        let mut writes = vec![Write::Heartbeat { host: self.host.number, heartbeat }];
        writes.extend(found.map(|(lane, head, last, reason)| {
            let (kind, host) = ("rollback".to_owned(), self.host.number);
            Write::Finding(Finding { host, kind, boot, lane: lane.number(), first: head, last, reason })
        }));
        bound(&mut self.said);
        self.said.insert(boot, statement);
        Ok(writes)
    }

    /// A host's own heads can only be at or ahead of what it sent before it signed them. By both its clocks:
    /// one of them counts records, the other may be set.
    async fn behind(&self, boot: BootId, statement: &HeadStatement) -> Result<Option<Back>, StoreError> {
        for (lane, head) in sequences(statement) {
            let (number, stored) = (self.host.number, self.durable(&(boot, lane)));
            if head >= stored {
                continue;
            }
            let made = self.store.ask(move |store| store.made(number, boot, lane, stored)).await?;
            let newer =
                |made: Made| statement.boot_time > made.boot_time && statement.wall_time > made.wall_time;
            if made.is_some_and(newer) {
                let reason =
                    format!("the host says it has {head} records of this lane, and {stored} are stored");
                return Ok(Some((lane, head, stored, reason)));
            }
        }
        Ok(None)
    }

    async fn head(&mut self, lane: LaneName) -> Result<LaneHead, StoreError> {
        if let Some(head) = self.heads.get(&lane) {
            return Ok(*head);
        }
        bound(&mut self.heads);
        let (number, (boot, which)) = (self.host.number, lane);
        let head = self.store.ask(move |store| store.head(number, boot, which)).await?;
        self.heads.insert(lane, head);
        self.stored(lane, head.head.last);
        Ok(head)
    }

    async fn epoch(&mut self, name: EpochName) -> Result<Option<Epoch>, StoreError> {
        if let Some(epoch) = self.epochs.get(&name) {
            return Ok(Some(epoch.clone()));
        }
        let number = self.host.number;
        let found = self.store.ask(move |store| store.epoch(number, &name)).await?;
        if let Some(epoch) = &found {
            bound(&mut self.epochs);
            self.epochs.insert(name, epoch.clone());
        }
        Ok(found)
    }

    async fn at(&self, header: &Header) -> Result<Stored, StoreError> {
        let (number, boot, lane, first, last) =
            (self.host.number, header.boot, header.lane, header.first, header.last);
        self.store.ask(move |store| store.stored(number, boot, lane, first, last)).await
    }
}

/// The lane that went back, to which sequence, from which, and a sentence.
type Back = (Lane, u64, u64, String);

fn sequences(statement: &HeadStatement) -> [(Lane, u64); 2] {
    [(Lane::Protected, statement.protected_sequence), (Lane::Activity, statement.activity_sequence)]
}

/// What a statement takes back of an earlier one of the same boot.
fn went_back(before: &HeadStatement, now: &HeadStatement) -> Option<Back> {
    let pairs = sequences(before).into_iter().zip(sequences(now));
    let ((lane, said), (_, says)) = pairs.into_iter().find(|((_, said), (_, says))| says < said)?;
    let reason = format!("the host says it has {says} records of this lane, and it said {said} before");
    Some((lane, says, said, reason))
}

/// Whoever is forgotten is read again from the store, which has seen everything that was queued.
fn bound<K, V>(map: &mut HashMap<K, V>) {
    if map.len() >= KEPT {
        map.clear();
    }
}

fn gap(header: &Header, from: u64, to: u64) -> Gap {
    Gap { boot: header.boot, lane: header.lane, from, to }
}

/// Which key a heartbeat says it is of; not yet to be believed.
fn named(heartbeat: &Heartbeat) -> Option<(EpochName, HeadStatement)> {
    let statement = HeadStatement::decode(heartbeat.statement.as_slice()).ok()?;
    let boot = BootId::from_slice(&statement.boot).ok()?;
    let run = RunId::from_slice(&statement.run).ok()?;
    Some((EpochName { boot, run, epoch: statement.epoch }, statement))
}
