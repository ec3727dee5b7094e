//! What is wrong with hosts' streams: each thing once, with a count.

use graven_record::id::{BootId, HostId};
use rusqlite::{Connection, params};

use super::schema::{signed, unsigned};

/// Different findings kept of one host; more are counted in one row, so that a hostile host cannot fill the disk.
const MAX_PER_HOST: i64 = 1_000;
/// The kind of that row.
const OVERFLOW: &str = "more";

/// Something wrong with a host's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The host's number.
    pub host: i64,
    /// `gap`, `fork`, `signature`, `run`, `host`, `damaged`, `version`, `late`, `more`.
    pub kind: String,
    /// Which boot; zeros = not known.
    pub boot: BootId,
    /// Which lane; 0 = not known.
    pub lane: u8,
    /// First sequence concerned.
    pub first: u64,
    /// Last sequence concerned.
    pub last: u64,
    /// One sentence.
    pub reason: String,
}

/// A finding as it stands in the store.
#[derive(Clone, Debug)]
pub struct FindingRow {
    /// Of which host.
    pub host: HostId,
    /// What.
    pub finding: Finding,
    /// Central clock, ns.
    pub first_at: i64,
    /// Central clock, ns.
    pub last_at: i64,
    /// How often.
    pub count: u64,
}

/// Enters a finding, or counts it once more.
pub fn add(db: &Connection, finding: &Finding, now: i64) -> rusqlite::Result<()> {
    let known: bool = db
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM finding WHERE host = ?1 AND kind = ?2 AND boot = ?3 AND lane = ?4
             AND first = ?5 AND last = ?6)",
        )?
        .query_row(
            params![
                finding.host,
                finding.kind,
                finding.boot.0,
                finding.lane,
                signed(finding.first),
                signed(finding.last)
            ],
            |row| row.get(0),
        )?;
    if !known && count(db, finding.host)? >= MAX_PER_HOST {
        let reason = format!("more than {MAX_PER_HOST} different findings of this host: only counted");
        let more = Finding {
            kind: OVERFLOW.to_owned(),
            boot: BootId([0; 16]),
            lane: 0,
            first: 0,
            last: 0,
            reason,
            ..*finding
        };
        return enter(db, &more, now);
    }
    enter(db, finding, now)
}

fn enter(db: &Connection, finding: &Finding, now: i64) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO finding (host, kind, boot, lane, first, last, reason, first_at, last_at, count)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, 1)
         ON CONFLICT (host, kind, boot, lane, first, last) DO UPDATE SET last_at = ?8, reason = ?7, count = count + 1",
    )?
    .execute(params![
        finding.host,
        finding.kind,
        finding.boot.0,
        finding.lane,
        signed(finding.first),
        signed(finding.last),
        finding.reason,
        now
    ])?;
    Ok(())
}

fn count(db: &Connection, host: i64) -> rusqlite::Result<i64> {
    db.prepare_cached("SELECT count(*) FROM finding WHERE host = ?1")?.query_row([host], |row| row.get(0))
}

/// All findings, oldest first.
pub fn all(db: &Connection) -> rusqlite::Result<Vec<FindingRow>> {
    db.prepare_cached(
        "SELECT h.id, f.host, f.kind, f.boot, f.lane, f.first, f.last, f.reason, f.first_at, f.last_at, f.count
         FROM finding f JOIN host h ON h.number = f.host ORDER BY f.id",
    )?
    .query_map([], |row| {
        Ok(FindingRow {
            host: HostId(row.get(0)?),
            finding: Finding {
                host: row.get(1)?,
                kind: row.get(2)?,
                boot: BootId(row.get(3)?),
                lane: row.get(4)?,
                first: unsigned(row.get(5)?),
                last: unsigned(row.get(6)?),
                reason: row.get(7)?,
            },
            first_at: row.get(8)?,
            last_at: row.get(9)?,
            count: unsigned(row.get(10)?),
        })
    })?
    .collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;
    use crate::store::schema::{self, File};

    fn finding(first: u64) -> Finding {
        let boot = BootId([1; 16]);
        Finding { host: 1, kind: "gap".to_owned(), boot, lane: 1, first, last: first, reason: "r".to_owned() }
    }

    #[test]
    fn the_same_finding_is_counted_and_more_than_the_bound_too() {
        let dir = tempfile::tempdir().unwrap();
        let db = schema::open(&dir.path().join("c.db"), File::Central).unwrap();
        db.execute_batch("BEGIN; INSERT INTO host VALUES (1, zeroblob(32), 'h', '', zeroblob(32), 0, x'', 0, 0, NULL, NULL);").unwrap();
        for first in 0..1_003 {
            add(&db, &finding(first), 5).unwrap();
        }
        add(&db, &finding(7), 9).unwrap();
        let rows = all(&db).unwrap();
        assert_eq!(rows.len(), 1_001);
        assert_eq!((rows[7].count, rows[7].first_at, rows[7].last_at), (2, 5, 9));
        let more = rows.last().unwrap();
        assert_eq!((more.finding.kind.as_str(), more.count), ("more", 3));
    }
}
