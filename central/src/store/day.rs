//! What was received on one day: the frames with their index, and the private parts beside them.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use graven_record::chain::Head;
use graven_record::frame::Header;
use graven_record::id::{BootId, Lane, RunId};
use graven_record::v1::{ExecId, PrivatePart};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use prost::Message;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::hosts::damaged;
use super::index::Entry;
use super::schema::{self, File, failed, signed, unsigned};
use super::{StoreError, Written};
use crate::data::DataError;
use crate::query::{Kind, Query};
use crate::verify::{LaneHead, Stored, Verified};

const FRAMES_SUFFIX: &str = ".frames.db";
/// Rows get their ids in the order in which they come.
const BY_RECEIPT: &str = "id";
const PRIVATE_SUFFIX: &str = ".private.db";

/// A day of receipt, UTC by the central clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(Date);

impl Day {
    /// The day of a time (ns since the Unix epoch).
    pub fn of(now: i64) -> Self {
        let at = Timestamp::from_nanosecond(now.into()).unwrap_or(Timestamp::UNIX_EPOCH);
        Self(at.to_zoned(TimeZone::UTC).date())
    }

    /// Where its frames are.
    pub fn frames_file(self, folder: &Path) -> PathBuf {
        folder.join(format!("{self}{FRAMES_SUFFIX}"))
    }

    /// Where its private parts are.
    pub fn private_file(self, folder: &Path) -> PathBuf {
        folder.join(format!("{self}{PRIVATE_SUFFIX}"))
    }

    /// The days that have frames, oldest first. Files of other names are not ours to read.
    pub fn all(folder: &Path) -> Result<Vec<Self>, StoreError> {
        let wrong = |source| DataError::Io { action: "read", path: folder.to_owned(), source };
        let mut days = Vec::new();
        let files = match fs::read_dir(folder) {
            Ok(files) => files,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(days),
            Err(e) => return Err(wrong(e).into()),
        };
        for file in files {
            let name = file.map_err(wrong)?.file_name();
            let day = name.to_str().and_then(|n| n.strip_suffix(FRAMES_SUFFIX)).and_then(|n| n.parse().ok());
            days.extend(day.map(Self));
        }
        days.sort_unstable();
        Ok(days)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The day that is written.
pub struct Writer {
    /// Which.
    pub day: Day,
    frames: Connection,
    frames_path: PathBuf,
    private: Connection,
    private_path: PathBuf,
}

impl Writer {
    /// Opens a day's files, or makes them.
    pub fn open(folder: &Path, day: Day) -> Result<Self, StoreError> {
        let (frames_path, private_path) = (day.frames_file(folder), day.private_file(folder));
        let frames = schema::open(&frames_path, File::Frames)?;
        let private = schema::open(&private_path, File::Private)?;
        Ok(Self { day, frames, frames_path, private, private_path })
    }

    /// Stores the frames of a group, private parts first: a frame is never there without what belongs to it.
    /// One answer for each, in order.
    pub fn store(&mut self, group: &[(i64, &Verified)], now: i64) -> Result<Vec<Written>, StoreError> {
        if group.iter().any(|(_, verified)| !verified.private.is_empty()) {
            self.store_private(group).map_err(failed(&self.private_path))?;
        }
        self.store_frames(group, now).map_err(failed(&self.frames_path))
    }

    fn store_private(&mut self, group: &[(i64, &Verified)]) -> rusqlite::Result<()> {
        let storing = self.private.transaction()?;
        for (host, verified) in group.iter().filter(|(_, v)| !v.private.is_empty()) {
            let header = verified.frame.header();
            let part = PrivatePart { entries: verified.private.clone() }.encode_to_vec();
            storing
                .prepare_cached(
                    "INSERT INTO private (host, boot, lane, first, part) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT DO NOTHING",
                )?
                .execute(params![host, header.boot.0, header.lane.number(), signed(header.first), part])?;
        }
        storing.commit()
    }

    /// A head that was not mended may lie behind its frames: then another frame can stand where this one
    /// belongs, and what follows this one in the group has no place either.
    fn store_frames(&mut self, group: &[(i64, &Verified)], now: i64) -> rusqlite::Result<Vec<Written>> {
        let storing = self.frames.transaction()?;
        let mut blocked = BTreeSet::new();
        let mut answers = Vec::with_capacity(group.len());
        for (host, verified) in group {
            let header = verified.frame.header();
            let lane = (*host, header.boot, header.lane);
            if blocked.contains(&lane) {
                answers.push(Written::Unfollowed);
                continue;
            }
            match insert_frame(&storing, *host, verified, now)? {
                Some(frame) => {
                    for (record, place) in verified.batch.records.iter().zip(0..) {
                        insert_entry(&storing, frame, *host, &Entry::of(record, place))?;
                    }
                    answers.push(Written::Stored);
                }
                None if hash_at(&storing, *host, header)? == header.hash() => answers.push(Written::Already),
                None => {
                    blocked.insert(lane);
                    answers.push(Written::Conflict);
                }
            }
        }
        storing.commit()?;
        Ok(answers)
    }
}

/// `None`: a frame is there that begins with the same sequence.
fn insert_frame(db: &Connection, host: i64, verified: &Verified, now: i64) -> rusqlite::Result<Option<i64>> {
    let header = verified.frame.header();
    let public = verified.frame.without_private();
    let inserted = db
        .prepare_cached(
            "INSERT INTO frame (host, boot, lane, first, last, run, hash, received, bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            host,
            header.boot.0,
            header.lane.number(),
            signed(header.first),
            signed(header.last),
            header.run.0,
            header.hash(),
            now,
            public.bytes()
        ])?;
    Ok((inserted > 0).then(|| db.last_insert_rowid()))
}

fn hash_at(db: &Connection, host: i64, header: &Header) -> rusqlite::Result<[u8; 32]> {
    db.prepare_cached("SELECT hash FROM frame WHERE host = ?1 AND boot = ?2 AND lane = ?3 AND first = ?4")?
        .query_row(params![host, header.boot.0, header.lane.number(), signed(header.first)], |row| row.get(0))
}

fn insert_entry(db: &Connection, frame: i64, host: i64, entry: &Entry) -> rusqlite::Result<()> {
    let id =
        |exec: Option<ExecId>| (exec.map(|e| e.pid), exec.map(|e| signed(e.start)), exec.map(|e| e.exec));
    let ((pid, start, exec), (parent_pid, parent_start, parent_exec)) = (id(entry.process), id(entry.parent));
    db.prepare_cached(
        "INSERT INTO entry (frame, place, host, time, boot_time, kind, decision, severity, rule, user, login_user,
             pid, start, exec, parent_pid, parent_start, parent_exec, exe, path, path2)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)",
    )?
    .execute(params![
        frame,
        entry.place,
        host,
        entry.time,
        entry.boot_time,
        entry.kind.number(),
        entry.decision,
        entry.severity,
        entry.rule,
        entry.user,
        entry.login_user,
        pid,
        start,
        exec,
        parent_pid,
        parent_start,
        parent_exec,
        entry.exe,
        entry.path,
        entry.path2
    ])?;
    Ok(())
}

/// A row as a query sees it, with where its record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Order of receipt within the day.
    pub id: i64,
    /// The frame's row.
    pub frame: i64,
    /// Which host.
    pub host: i64,
    /// The index row.
    pub entry: Entry,
}

/// A frame as it is kept.
pub struct Kept {
    /// Verbatim, without its private part.
    pub bytes: Vec<u8>,
    /// Central clock, ns.
    pub received: i64,
    /// Its private part, while it is there.
    pub private: Option<PrivatePart>,
}

/// A day that is read.
pub struct Reader {
    /// Which.
    pub day: Day,
    db: Connection,
    path: PathBuf,
    private: Option<Connection>,
}

impl Reader {
    /// Opens a day's files to read them. The private parts may have been erased.
    pub fn open(folder: &Path, day: Day) -> Result<Self, StoreError> {
        let (path, private_path) = (day.frames_file(folder), day.private_file(folder));
        let db = schema::open_to_read(&path, File::Frames)?;
        let private =
            private_path.exists().then(|| schema::open_to_read(&private_path, File::Private)).transpose()?;
        Ok(Self { day, db, path, private })
    }

    /// Rows that answer the query, newest first by event time, at most `query.limit`.
    pub fn find(&self, query: &Query) -> Result<Vec<Located>, StoreError> {
        self.rows(query, "time DESC, id DESC", i64::MIN).map_err(failed(&self.path))
    }

    /// Rows received after `id` that answer the query, in order of receipt, at most `query.limit`.
    pub fn after(&self, query: &Query, id: i64) -> Result<Vec<Located>, StoreError> {
        self.rows(query, BY_RECEIPT, id).map_err(failed(&self.path))
    }

    /// The newest row's id; 0 = none.
    pub fn newest(&self) -> Result<i64, StoreError> {
        self.db
            .query_row("SELECT coalesce(max(id), 0) FROM entry", [], |row| row.get(0))
            .map_err(failed(&self.path))
    }

    fn rows(&self, query: &Query, order: &str, after: i64) -> rusqlite::Result<Vec<Located>> {
        // In order of receipt, the rows after `after` are few and lie together: an index on the time would make
        // the database read and sort all the others. The plus keeps the terms from choosing one.
        let plus = if order == BY_RECEIPT { "+" } else { "" };
        let mut condition = format!("{plus}time >= ?1 AND {plus}time <= ?2 AND id > ?3");
        // Written out and not bound: the partial index serves only a condition that names its value.
        if query.alerts_only {
            condition += &format!(" AND {plus}decision = 3");
        }
        if let Some(host) = query.host {
            condition += &format!(" AND {plus}host = {host}");
        }
        let mut statement = self.db.prepare_cached(&format!(
            "SELECT id, frame, place, host, time, boot_time, kind, decision, severity, rule, user, login_user,
                 pid, start, exec, parent_pid, parent_start, parent_exec, exe, path, path2
             FROM entry WHERE {condition} ORDER BY {order}"
        ))?;
        let mut rows = statement.query(params![query.since, query.until, after])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let located = located(row)?;
            if query.admits(&located.entry) {
                found.push(located);
            }
            if found.len() >= query.limit {
                break;
            }
        }
        Ok(found)
    }

    /// A frame by its row.
    pub fn frame(&self, id: i64) -> Result<Option<Kept>, StoreError> {
        let found = self
            .db
            .prepare_cached("SELECT bytes, received, host, boot, lane, first FROM frame WHERE id = ?1")
            .and_then(|mut statement| {
                statement
                    .query_row([id], |row| {
                        let key: (i64, [u8; 16], u8, i64) =
                            (row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?);
                        Ok((row.get(0)?, row.get(1)?, key))
                    })
                    .optional()
            })
            .map_err(failed(&self.path))?;
        let Some((bytes, received, key)) = found else { return Ok(None) };
        let private = self.private_part(key).map_err(failed(&self.path))?;
        Ok(Some(Kept { bytes, received, private }))
    }

    fn private_part(
        &self,
        (host, boot, lane, first): (i64, [u8; 16], u8, i64),
    ) -> rusqlite::Result<Option<PrivatePart>> {
        let Some(db) = &self.private else { return Ok(None) };
        let part: Option<Vec<u8>> = db
            .prepare_cached(
                "SELECT part FROM private WHERE host = ?1 AND boot = ?2 AND lane = ?3 AND first = ?4",
            )?
            .query_row(params![host, boot, lane, first], |row| row.get(0))
            .optional()?;
        part.map(|bytes| PrivatePart::decode(bytes.as_slice()).map_err(|e| damaged(0, e))).transpose()
    }

    /// What stands at these sequences.
    pub fn stored(
        &self,
        host: i64,
        boot: &BootId,
        lane: Lane,
        first: u64,
        last: u64,
    ) -> Result<Stored, StoreError> {
        let exact: Option<[u8; 32]> = self
            .db
            .query_row(
                "SELECT hash FROM frame WHERE host = ?1 AND boot = ?2 AND lane = ?3 AND first = ?4 AND last = ?5",
                params![host, boot.0, lane.number(), signed(first), signed(last)],
                |row| row.get(0),
            )
            .optional()
            .map_err(failed(&self.path))?;
        if let Some(hash) = exact {
            return Ok(Stored::Frame(hash));
        }
        let overlap: bool = self
            .db
            .query_row(
                "SELECT EXISTS (SELECT 1 FROM frame WHERE host = ?1 AND boot = ?2 AND lane = ?3 AND first <= ?5 AND last >= ?4)",
                params![host, boot.0, lane.number(), signed(first), signed(last)],
                |row| row.get(0),
            )
            .map_err(failed(&self.path))?;
        Ok(if overlap { Stored::Overlap } else { Stored::Nothing })
    }

    /// The bytes of the frame whose last sequence this is.
    pub fn ending(
        &self,
        host: i64,
        boot: &BootId,
        lane: Lane,
        last: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.db
            .query_row(
                "SELECT bytes FROM frame WHERE host = ?1 AND boot = ?2 AND lane = ?3 AND first <= ?4 AND last = ?4
                 ORDER BY first DESC LIMIT 1",
                params![host, boot.0, lane.number(), signed(last)],
                |row| row.get(0),
            )
            .optional()
            .map_err(failed(&self.path))
    }

    /// The last frame of each lane in this day: what the heads must at least be.
    pub fn heads(&self) -> Result<Vec<(i64, BootId, Lane, LaneHead)>, StoreError> {
        let read = || -> rusqlite::Result<Vec<_>> {
            self.db
                .prepare(
                    "SELECT host, boot, lane, max(last), hash, run FROM frame GROUP BY host, boot, lane",
                )?
                .query_map([], |row| {
                    let lane = Lane::from_number(row.get(2)?).map_err(|e| damaged(2, e))?;
                    let head = Head { last: unsigned(row.get(3)?), hash: row.get(4)? };
                    let run = Some(RunId(row.get(5)?));
                    Ok((row.get(0)?, BootId(row.get(1)?), lane, LaneHead { head, run }))
                })?
                .collect()
        };
        read().map_err(failed(&self.path))
    }
}

fn located(row: &Row<'_>) -> rusqlite::Result<Located> {
    let exec = |at: usize| -> rusqlite::Result<Option<ExecId>> {
        let (pid, start, exec): (Option<u32>, Option<i64>, Option<u32>) =
            (row.get(at)?, row.get(at + 1)?, row.get(at + 2)?);
        Ok(pid.zip(start).zip(exec).map(|((pid, start), exec)| ExecId { pid, start: unsigned(start), exec }))
    };
    let entry = Entry {
        place: row.get(2)?,
        time: row.get(4)?,
        boot_time: row.get(5)?,
        kind: Kind::numbered(row.get(6)?),
        decision: row.get(7)?,
        severity: row.get(8)?,
        rule: row.get(9)?,
        user: row.get(10)?,
        login_user: row.get(11)?,
        process: exec(12)?,
        parent: exec(15)?,
        exe: row.get(18)?,
        path: row.get(19)?,
        path2: row.get(20)?,
    };
    Ok(Located { id: row.get(0)?, frame: row.get(1)?, host: row.get(3)?, entry })
}
