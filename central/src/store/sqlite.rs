//! The embedded store.

use std::collections::BTreeMap;
use std::path::PathBuf;

use graven_record::chain::{self, Head, Link};
use graven_record::frame::Header;
use graven_record::id::{BootId, HostId, Lane};
use rusqlite::{Connection, TransactionBehavior};

use super::day::{self, Day};
use super::schema::{self, File, failed};
use super::{
    HostRow, Made, Store, StoreError, Write, Written, epochs, findings, heads, hosts, reader::Reader,
};
use crate::data::DataDir;
use crate::query::{Damage, Found, Query, Row};
use crate::verify::{Epoch, EpochName, LaneHead, Place, Stored, Verified};

/// Days compared with the heads when the store is opened: a commit spans midnight at most once.
const RECONCILED_DAYS: usize = 2;

/// SQLite files in a data directory.
pub struct Sqlite {
    /// Before the writing connection: fields are dropped in this order, and only a writer that is the last to
    /// close folds the write-ahead log into its file.
    reader: Reader,
    central: Connection,
    central_path: PathBuf,
    days: PathBuf,
    today: Option<day::Writer>,
}

impl Sqlite {
    /// Opens the store of a directory, or makes it, and mends heads that a crash left behind their frames.
    pub fn open(dir: &DataDir, now: i64) -> Result<Self, StoreError> {
        let central_path = dir.central_file();
        let central = schema::open(&central_path, File::Central)?;
        let mut store =
            Self { central, central_path, days: dir.days_folder(), today: None, reader: Reader::open(dir)? };
        store.reconcile(now)?;
        Ok(store)
    }

    fn reconcile(&mut self, now: i64) -> Result<(), StoreError> {
        // Files that a wrong clock named for days to come must not stand for the days that were written; nor
        // may they be passed over, when it is the clock of now that is wrong.
        let today = Day::of(now);
        let (past, ahead): (Vec<Day>, Vec<Day>) =
            Day::all(&self.days)?.into_iter().partition(|day| *day <= today);
        let newest = |days: Vec<Day>| days.into_iter().rev().take(RECONCILED_DAYS);
        for day in newest(past).chain(newest(ahead)) {
            let behind = day::Reader::open(&self.days, day)?.heads()?;
            let mending = self.central.transaction().map_err(failed(&self.central_path))?;
            for (host, boot, lane, LaneHead { head, run }) in behind {
                let Some(run) = run else { continue };
                heads::advance(&mending, host, &boot, lane, &head, &run, now)
                    .map_err(failed(&self.central_path))?;
            }
            mending.commit().map_err(failed(&self.central_path))?;
        }
        Ok(())
    }

    fn day(&mut self, now: i64) -> Result<&mut day::Writer, StoreError> {
        let day = Day::of(now);
        let open = match self.today.take() {
            Some(today) if today.day == day => today,
            _ => day::Writer::open(&self.days, day)?,
        };
        Ok(self.today.insert(open))
    }

    /// Which of the group's frames are new. A stream places its frames by what it has queued, and a commit
    /// may have failed since; so a frame is stored only where the lane ends on disk or earlier in this group.
    fn choose(&self, group: &[Write]) -> Result<Vec<Written>, StoreError> {
        let mut chosen = Chosen::default();
        group
            .iter()
            .map(|write| match write {
                Write::Frame { host, verified } => self.place(*host, verified, &mut chosen),
                _ => Ok(Written::Stored),
            })
            .collect()
    }

    fn place(&self, host: i64, verified: &Verified, chosen: &mut Chosen) -> Result<Written, StoreError> {
        let header = verified.frame.header();
        let lane = (host, header.boot, header.lane);
        let head = match chosen.heads.get(&lane) {
            Some(head) => *head,
            None => self.head(host, header.boot, header.lane)?.head,
        };
        let there = match chosen.frames.get(&(lane, header.first)) {
            Some(hash) => Stored::Frame(*hash),
            // A frame that begins after the head cannot be stored: the days' files need not be asked.
            None if header.first > head.last => Stored::Nothing,
            None => self.reader.stored(host, header.boot, header.lane, header.first, header.last)?,
        };
        match there {
            Stored::Frame(hash) if hash == header.hash() => return Ok(Written::Already),
            Stored::Frame(_) | Stored::Overlap => return Ok(Written::Conflict),
            Stored::Nothing if !follows(&head, header, verified.place) => return Ok(Written::Unfollowed),
            Stored::Nothing => {}
        }
        chosen.frames.insert((lane, header.first), header.hash());
        if verified.place != Place::Late {
            chosen.heads.insert(lane, Head::of(header));
        }
        Ok(Written::Stored)
    }

    /// Keys and findings first: a frame must not be there without the key that verifies it.
    fn commit_before(&mut self, group: &[Write], now: i64) -> Result<(), StoreError> {
        let wrong = failed(&self.central_path);
        let commit =
            self.central.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&wrong)?;
        for write in group {
            match write {
                Write::Finding(finding) => findings::add(&commit, finding, now),
                Write::Heartbeat { host, heartbeat } => hosts::beat(&commit, *host, heartbeat, now),
                Write::Seen { host, hostname } => hosts::seen(&commit, *host, hostname, now),
                Write::Frame { host, verified } => match &verified.learned {
                    Some(epoch) => epochs::learn(&commit, *host, epoch, now),
                    None => Ok(()),
                },
            }
            .map_err(&wrong)?;
        }
        commit.commit().map_err(&wrong)
    }

    fn commit_heads(&mut self, frames: &[(i64, &Verified)], now: i64) -> Result<(), StoreError> {
        let wrong = failed(&self.central_path);
        let commit =
            self.central.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&wrong)?;
        for (host, verified) in frames {
            let header = verified.frame.header();
            let LaneHead { head, .. } = LaneHead::of(header);
            if verified.place != Place::Late {
                heads::advance(&commit, *host, &header.boot, header.lane, &head, &header.run, now)
                    .map_err(&wrong)?;
            }
            hosts::touch(&commit, *host, now).map_err(&wrong)?;
        }
        commit.commit().map_err(&wrong)
    }
}

/// Of one group: what is taken so far.
#[derive(Default)]
struct Chosen {
    frames: BTreeMap<(LaneOfHost, u64), [u8; 32]>,
    heads: BTreeMap<LaneOfHost, Head>,
}

type LaneOfHost = (i64, BootId, Lane);

/// A gap is taken only as the stream announced it: from the head that the store has.
fn follows(head: &Head, header: &Header, place: Place) -> bool {
    match place {
        Place::Next => chain::link(head, header) == Link::Next,
        Place::AfterGap { from, to } => chain::link(head, header) == Link::Gap { from, to },
        Place::Late => chain::link(head, header) == Link::Duplicate,
    }
}

fn needs_central(write: &Write) -> bool {
    !matches!(write, Write::Frame { verified, .. } if verified.learned.is_none())
}

impl Store for Sqlite {
    fn commit(&mut self, group: &[Write], now: i64) -> Result<Vec<Written>, StoreError> {
        let mut answers = self.choose(group)?;
        if group.iter().any(needs_central) {
            self.commit_before(group, now)?;
        }
        let new: Vec<(usize, (i64, &Verified))> = group
            .iter()
            .zip(&answers)
            .enumerate()
            .filter_map(|(place, (write, answer))| match (write, answer) {
                (Write::Frame { host, verified }, Written::Stored) => Some((place, (*host, &**verified))),
                _ => None,
            })
            .collect();
        if !new.is_empty() {
            let frames: Vec<(i64, &Verified)> = new.iter().map(|(_, frame)| *frame).collect();
            let written = self.day(now)?.store(&frames, now)?;
            let there = |answer: &Written| matches!(answer, Written::Stored | Written::Already);
            let kept: Vec<_> =
                frames.into_iter().zip(&written).filter(|(_, w)| there(w)).map(|(f, _)| f).collect();
            self.commit_heads(&kept, now)?;
            for ((place, _), written) in new.iter().zip(written) {
                answers[*place] = written;
            }
        }
        Ok(answers)
    }

    fn heads(&self, host: i64, boots: usize) -> Result<Vec<(BootId, Lane, LaneHead)>, StoreError> {
        heads::newest(&self.central, host, boots).map_err(failed(&self.central_path))
    }

    fn head(&self, host: i64, boot: BootId, lane: Lane) -> Result<LaneHead, StoreError> {
        let found = heads::find(&self.central, host, &boot, lane).map_err(failed(&self.central_path))?;
        Ok(found.unwrap_or(LaneHead::NONE))
    }

    fn epoch(&self, host: i64, name: &EpochName) -> Result<Option<Epoch>, StoreError> {
        epochs::find(&self.central, host, name).map_err(failed(&self.central_path))
    }

    fn stored(
        &self,
        host: i64,
        boot: BootId,
        lane: Lane,
        first: u64,
        last: u64,
    ) -> Result<Stored, StoreError> {
        self.reader.stored(host, boot, lane, first, last)
    }

    fn made(&self, host: i64, boot: BootId, lane: Lane, last: u64) -> Result<Option<Made>, StoreError> {
        self.reader.made(host, boot, lane, last)
    }

    fn host(&self, id: &HostId) -> Result<Option<HostRow>, StoreError> {
        hosts::find(&self.central, id).map_err(failed(&self.central_path))
    }

    fn find(&self, query: &Query) -> Result<Vec<Row>, StoreError> {
        self.reader.find(query)
    }

    fn frames(&self, rows: &[Row]) -> Result<Vec<Result<Found, Damage>>, StoreError> {
        self.reader.frames(rows)
    }
}

/// Opens the central file alone, to write hosts and tokens.
pub fn open_central(dir: &DataDir) -> Result<(Connection, PathBuf), StoreError> {
    let path = dir.central_file();
    Ok((schema::open(&path, File::Central)?, path))
}
