//! The end of each lane. Written after the frames: a head that lags is mended from the days' files when the
//! store is opened, a head that leads would be a frame lost.

use graven_record::chain::Head;
use graven_record::id::{BootId, Lane, RunId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::hosts::damaged;
use super::schema::{signed, unsigned};
use crate::verify::LaneHead;

/// Moves a head on; never back.
pub fn advance(
    db: &Connection,
    host: i64,
    boot: &BootId,
    lane: Lane,
    head: &Head,
    run: &RunId,
    now: i64,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO head (host, boot, lane, last, hash, run, moved_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT DO UPDATE SET last = ?4, hash = ?5, run = ?6, moved_at = ?7 WHERE last < ?4",
    )?
    .execute(params![host, boot.0, lane.number(), signed(head.last), head.hash, run.0, now])?;
    Ok(())
}

/// The head of one lane.
pub fn find(db: &Connection, host: i64, boot: &BootId, lane: Lane) -> rusqlite::Result<Option<LaneHead>> {
    db.prepare_cached("SELECT last, hash, run FROM head WHERE host = ?1 AND boot = ?2 AND lane = ?3")?
        .query_row(params![host, boot.0, lane.number()], |row| head(row, 0))
        .optional()
}

/// The heads of the `boots` boots that moved last.
pub fn newest(db: &Connection, host: i64, boots: usize) -> rusqlite::Result<Vec<(BootId, Lane, LaneHead)>> {
    db.prepare_cached(
        "SELECT boot, lane, last, hash, run FROM head WHERE host = ?1 AND boot IN (
             SELECT boot FROM head WHERE host = ?1 GROUP BY boot ORDER BY max(moved_at) DESC LIMIT ?2
         ) ORDER BY boot, lane",
    )?
    .query_map(params![host, i64::try_from(boots).unwrap_or(i64::MAX)], |row| {
        let lane = Lane::from_number(row.get(1)?).map_err(|e| damaged(1, e))?;
        Ok((BootId(row.get(0)?), lane, head(row, 2)?))
    })?
    .collect()
}

fn head(row: &Row<'_>, at: usize) -> rusqlite::Result<LaneHead> {
    let head = Head { last: unsigned(row.get(at)?), hash: row.get(at + 1)? };
    Ok(LaneHead { head, run: Some(RunId(row.get(at + 2)?)) })
}
