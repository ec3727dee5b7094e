//! Reads the store beside its writer: every command but `serve`, and `serve` itself for what lies behind.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::sync::Arc;

use graven_record::frame::Frame;
use graven_record::id::{BootId, Lane};
use graven_record::private;
use graven_record::v1::{Batch, Context, PrivateEntry, PrivatePart};
use rusqlite::Connection;

use super::day::{self, Day, Kept};
use super::findings::{self, FindingRow};
use super::hosts::{self, HostRow};
use super::schema::{self, File, failed};
use super::{Made, StoreError};
use crate::data::DataDir;
use crate::query::{Damage, Found, Query, Row};
use crate::verify::Stored;

/// Frames kept decoded while their records are put out: records in order of time come from few frames at once.
const DECODED: usize = 16;

/// The files of a store, read only.
pub struct Reader {
    central: Connection,
    central_path: PathBuf,
    days: PathBuf,
}

/// A frame that was read and holds.
struct Decoded {
    frame: Frame,
    batch: Batch,
    context: Arc<Context>,
    received: i64,
    private: Arc<Vec<PrivateEntry>>,
}

impl Reader {
    /// Opens the store of a directory.
    pub fn open(dir: &DataDir) -> Result<Self, StoreError> {
        let central_path = dir.central_file();
        let central = schema::open_to_read(&central_path, File::Central)?;
        Ok(Self { central, central_path, days: dir.days_folder() })
    }

    /// All hosts, by name.
    pub fn hosts(&self) -> Result<Vec<HostRow>, StoreError> {
        hosts::all(&self.central).map_err(failed(&self.central_path))
    }

    /// All findings, oldest first.
    pub fn findings(&self) -> Result<Vec<FindingRow>, StoreError> {
        findings::all(&self.central).map_err(failed(&self.central_path))
    }

    /// The days that have frames, oldest first.
    pub fn days(&self) -> Result<Vec<Day>, StoreError> {
        Day::all(&self.days)
    }

    /// One day.
    pub fn day(&self, day: Day) -> Result<day::Reader, StoreError> {
        day::Reader::open(&self.days, day)
    }

    /// What stands at these sequences, on whichever day it came.
    pub fn stored(
        &self,
        host: i64,
        boot: BootId,
        lane: Lane,
        first: u64,
        last: u64,
    ) -> Result<Stored, StoreError> {
        for day in self.days()?.into_iter().rev() {
            match self.day(day)?.stored(host, &boot, lane, first, last)? {
                Stored::Nothing => {}
                found => return Ok(found),
            }
        }
        Ok(Stored::Nothing)
    }

    /// When the frame that ends at `last` was made; nothing of one that is gone or no longer holds.
    pub fn made(&self, host: i64, boot: BootId, lane: Lane, last: u64) -> Result<Option<Made>, StoreError> {
        for day in self.days()?.into_iter().rev() {
            let Some(bytes) = self.day(day)?.ending(host, &boot, lane, last)? else { continue };
            let Ok(frame) = Frame::parse(&bytes) else { return Ok(None) };
            let record = frame.batch().ok().and_then(|batch| batch.records.last().cloned());
            let wall_time = frame.header().sealed_at;
            return Ok(record.map(|record| Made { boot_time: record.boot_time, wall_time }));
        }
        Ok(None)
    }

    /// The newest rows that answer the query, oldest first. Every day is asked: a record may arrive days
    /// after it happened, and a host's clock may say anything.
    pub fn find(&self, query: &Query) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::new();
        for day in self.days()?.into_iter().rev() {
            let found = self.day(day)?.find(query)?;
            rows.extend(found.into_iter().map(|located| Row { day, located }));
            rows.sort_by_cached_key(Row::order);
            rows.drain(..rows.len().saturating_sub(query.limit));
        }
        Ok(rows)
    }

    /// The records of those rows, in their order. A frame that no longer holds is damage, not an end.
    pub fn frames(&self, rows: &[Row]) -> Result<Vec<Result<Found, Damage>>, StoreError> {
        let mut days: HashMap<Day, day::Reader> = HashMap::new();
        let mut decoded: HashMap<(Day, i64), Result<Arc<Decoded>, Damage>> = HashMap::new();
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            let key = (row.day, row.located.frame);
            if !decoded.contains_key(&key) {
                if decoded.len() >= DECODED {
                    decoded.clear();
                }
                let day = match days.entry(row.day) {
                    Entry::Occupied(open) => open.into_mut(),
                    Entry::Vacant(new) => new.insert(self.day(row.day)?),
                };
                decoded.insert(key, decode(day, row.located.frame)?.map(Arc::new));
            }
            let one = match &decoded[&key] {
                Ok(frame) => record(frame, row),
                Err(damage) => Err(damage.clone()),
            };
            found.push(one);
        }
        Ok(found)
    }
}

fn decode(day: &day::Reader, id: i64) -> Result<Result<Decoded, Damage>, StoreError> {
    let damage = |reason: String| Damage { day: day.day, frame: id, reason };
    let Some(Kept { bytes, received, private: part }) = day.frame(id)? else {
        return Ok(Err(damage("it is not there".to_owned())));
    };
    let read = || {
        let frame = Frame::parse(&bytes).map_err(|e| e.to_string())?;
        let batch = frame.batch().map_err(|e| e.to_string())?;
        let private = Arc::new(values(&frame, part)?);
        let context = Arc::new(batch.context.clone().unwrap_or_default());
        Ok(Decoded { frame, batch, context, received, private })
    };
    Ok(read().map_err(damage))
}

fn values(frame: &Frame, part: Option<PrivatePart>) -> Result<Vec<PrivateEntry>, String> {
    let Some(part) = part else { return Ok(Vec::new()) };
    if private::root(&part.entries) != Some(frame.header().private_root) {
        return Err("its private part is not the one in the header".to_owned());
    }
    Ok(part.entries)
}

fn record(decoded: &Decoded, row: &Row) -> Result<Found, Damage> {
    let header = decoded.frame.header();
    let place = usize::try_from(row.located.entry.place).unwrap_or(usize::MAX);
    let damage = |reason: &str| Damage { day: row.day, frame: row.located.frame, reason: reason.to_owned() };
    let record = decoded.batch.records.get(place).ok_or_else(|| damage("the indexed record is not in it"))?;
    Ok(Found {
        host: header.host,
        boot: header.boot,
        run: header.run,
        lane: header.lane,
        received: decoded.received,
        frame: header.hash(),
        context: Arc::clone(&decoded.context),
        record: record.clone(),
        private: Arc::clone(&decoded.private),
    })
}
