//! The enrolled hosts.

use ed25519_dalek::VerifyingKey;
use graven_record::id::HostId;
use graven_record::wire::{HeadStatement, Heartbeat};
use prost::Message;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// Longest host name kept: RFC 1035 allows 253 characters.
pub const MAX_HOSTNAME: usize = 253;

/// An enrolled host.
#[derive(Clone, Debug)]
pub struct HostRow {
    /// The short name it has in this store.
    pub number: i64,
    /// Derived from its start key.
    pub id: HostId,
    /// What it calls itself: hostile text.
    pub hostname: String,
    /// The group of the token it came with.
    pub group: String,
    /// Certifies its runs.
    pub start_key: VerifyingKey,
    /// Central clock, ns.
    pub enrolled_at: i64,
    /// Of its newest certificate.
    pub serial: Vec<u8>,
    /// End of its newest certificate, ns.
    pub expires: i64,
    /// Last frame, heartbeat or stream; central clock, ns.
    pub last_seen: Option<i64>,
    /// Its last verified statement, and when it came.
    pub heartbeat: Option<(HeadStatement, i64)>,
}

/// What an enrolment writes.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// The host.
    pub id: HostId,
    /// What it calls itself.
    pub hostname: String,
    /// Its start key.
    pub start_key: VerifyingKey,
    /// Of the new certificate.
    pub serial: Vec<u8>,
    /// End of the new certificate, ns.
    pub expires: i64,
}

const COLUMNS: &str =
    "number, id, hostname, door, start_key, enrolled_at, serial, expires, last_seen, heartbeat, heartbeat_at";

/// Cuts what a host calls itself, at a character.
pub fn bounded(hostname: &str) -> String {
    let mut end = hostname.len().min(MAX_HOSTNAME);
    while !hostname.is_char_boundary(end) {
        end -= 1;
    }
    hostname[..end].to_owned()
}

/// Enters a host, or renews what it said.
pub fn enter(db: &Connection, host: &Enrolment, group: &str, now: i64) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO host (id, hostname, door, start_key, enrolled_at, serial, expires)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (id) DO UPDATE SET hostname = ?2, door = ?3, enrolled_at = ?5, serial = ?6, expires = ?7",
    )?
    .execute(params![
        host.id.0,
        bounded(&host.hostname),
        group,
        host.start_key.to_bytes(),
        now,
        host.serial,
        host.expires
    ])?;
    Ok(())
}

/// The host of an id.
pub fn find(db: &Connection, id: &HostId) -> rusqlite::Result<Option<HostRow>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM host WHERE id = ?1"))?
        .query_row([id.0], read)
        .optional()
}

/// All hosts, by name.
pub fn all(db: &Connection) -> rusqlite::Result<Vec<HostRow>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM host ORDER BY hostname, id"))?
        .query_map([], read)?
        .collect()
}

/// A stream was opened.
pub fn seen(db: &Connection, number: i64, hostname: &str, now: i64) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE host SET last_seen = ?2, hostname = ?3 WHERE number = ?1")?
        .execute(params![number, now, bounded(hostname)])?;
    Ok(())
}

/// Frames came.
pub fn touch(db: &Connection, number: i64, now: i64) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE host SET last_seen = ?2 WHERE number = ?1")?.execute(params![number, now])?;
    Ok(())
}

/// A heartbeat came.
pub fn beat(db: &Connection, number: i64, heartbeat: &Heartbeat, now: i64) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE host SET last_seen = ?2, heartbeat = ?3, heartbeat_at = ?2 WHERE number = ?1")?
        .execute(params![number, now, heartbeat.encode_to_vec()])?;
    Ok(())
}

fn read(row: &Row<'_>) -> rusqlite::Result<HostRow> {
    let key: [u8; 32] = row.get(4)?;
    let start_key = VerifyingKey::from_bytes(&key).map_err(|e| damaged(4, e))?;
    Ok(HostRow {
        number: row.get(0)?,
        id: HostId(row.get(1)?),
        hostname: row.get(2)?,
        group: row.get(3)?,
        start_key,
        enrolled_at: row.get(5)?,
        serial: row.get(6)?,
        expires: row.get(7)?,
        last_seen: row.get(8)?,
        heartbeat: heartbeat(row.get(9)?, row.get(10)?)?,
    })
}

fn heartbeat(bytes: Option<Vec<u8>>, at: Option<i64>) -> rusqlite::Result<Option<(HeadStatement, i64)>> {
    let (Some(bytes), Some(at)) = (bytes, at) else { return Ok(None) };
    let heartbeat = Heartbeat::decode(bytes.as_slice()).map_err(|e| damaged(9, e))?;
    let statement = HeadStatement::decode(heartbeat.statement.as_slice()).map_err(|e| damaged(9, e))?;
    Ok(Some((statement, at)))
}

/// A column does not hold what it must.
pub(super) fn damaged(
    column: usize,
    cause: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Blob, Box::new(cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_host_name_is_cut_at_a_character() {
        let name = "ä".repeat(200);
        let cut = bounded(&name);
        assert!(cut.len() <= MAX_HOSTNAME && name.starts_with(&cut));
    }
}
