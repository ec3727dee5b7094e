//! The keys that hosts' runs sign with, each with the statement that certified it.

use graven_record::epoch::verifying_key;
use graven_record::v1::EpochStart;
use rusqlite::{Connection, OptionalExtension, params};

use super::hosts::damaged;
use crate::verify::{Epoch, EpochName};

/// Remembers a key; one that is known already stays.
pub fn learn(db: &Connection, host: i64, epoch: &Epoch, now: i64) -> rusqlite::Result<()> {
    let Epoch { name, key, start } = epoch;
    db.prepare_cached(
        "INSERT INTO epoch (host, boot, run, epoch, key, statement, signature, learned_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
    )?
    .execute(params![
        host,
        name.boot.0,
        name.run.0,
        name.epoch,
        key.to_bytes(),
        start.statement,
        start.signature,
        now
    ])?;
    Ok(())
}

/// The key of an epoch, if it was learned.
pub fn find(db: &Connection, host: i64, name: &EpochName) -> rusqlite::Result<Option<Epoch>> {
    db.prepare_cached(
        "SELECT key, statement, signature FROM epoch WHERE host = ?1 AND boot = ?2 AND run = ?3 AND epoch = ?4",
    )?
    .query_row(params![host, name.boot.0, name.run.0, name.epoch], |row| {
        let key: Vec<u8> = row.get(0)?;
        let key = verifying_key(&key).map_err(|e| damaged(0, e))?;
        Ok(Epoch { name: *name, key, start: EpochStart { statement: row.get(1)?, signature: row.get(2)? } })
    })
    .optional()
}
