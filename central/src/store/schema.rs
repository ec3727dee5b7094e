//! The tables, and how a file is opened.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::StoreError;
use crate::data;

/// The version this release writes, in `PRAGMA user_version`.
const VERSION: i64 = 1;
/// How long one connection waits for another's transaction: a commit takes milliseconds, a full disk's queue seconds.
const BUSY: Duration = Duration::from_secs(10);

/// A file of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// `central.db`.
    Central,
    /// `days/DAY.frames.db`.
    Frames,
    /// `days/DAY.private.db`.
    Private,
}

impl File {
    fn tables(self) -> &'static str {
        match self {
            Self::Central => CENTRAL,
            Self::Frames => FRAMES,
            Self::Private => PRIVATE,
        }
    }
}

const CENTRAL: &str = "
CREATE TABLE host (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    hostname TEXT NOT NULL,
    door TEXT NOT NULL,
    start_key BLOB NOT NULL,
    enrolled_at INTEGER NOT NULL,
    serial BLOB NOT NULL,
    expires INTEGER NOT NULL,
    last_seen INTEGER,
    heartbeat BLOB,
    heartbeat_at INTEGER
);
CREATE TABLE token (
    hash BLOB PRIMARY KEY,
    door TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    used_by BLOB,
    used_at INTEGER
) WITHOUT ROWID;
CREATE TABLE epoch (
    host INTEGER NOT NULL,
    boot BLOB NOT NULL,
    run BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    key BLOB NOT NULL,
    statement BLOB NOT NULL,
    signature BLOB NOT NULL,
    learned_at INTEGER NOT NULL,
    PRIMARY KEY (host, boot, run, epoch)
) WITHOUT ROWID;
CREATE TABLE head (
    host INTEGER NOT NULL,
    boot BLOB NOT NULL,
    lane INTEGER NOT NULL,
    last INTEGER NOT NULL,
    hash BLOB NOT NULL,
    run BLOB NOT NULL,
    moved_at INTEGER NOT NULL,
    PRIMARY KEY (host, boot, lane)
) WITHOUT ROWID;
CREATE TABLE finding (
    id INTEGER PRIMARY KEY,
    host INTEGER NOT NULL,
    kind TEXT NOT NULL,
    boot BLOB NOT NULL,
    lane INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    reason TEXT NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    count INTEGER NOT NULL,
    UNIQUE (host, kind, boot, lane, first, last)
);
";

// `bytes` is the last column: a scan of the others does not read its overflow pages.
const FRAMES: &str = "
CREATE TABLE frame (
    id INTEGER PRIMARY KEY,
    host INTEGER NOT NULL,
    boot BLOB NOT NULL,
    lane INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    run BLOB NOT NULL,
    hash BLOB NOT NULL,
    received INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    UNIQUE (host, boot, lane, first)
);
CREATE TABLE entry (
    id INTEGER PRIMARY KEY,
    frame INTEGER NOT NULL,
    place INTEGER NOT NULL,
    host INTEGER NOT NULL,
    time INTEGER NOT NULL,
    boot_time INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    decision INTEGER NOT NULL,
    severity INTEGER NOT NULL,
    rule TEXT NOT NULL,
    user TEXT NOT NULL,
    login_user TEXT NOT NULL,
    pid INTEGER,
    start INTEGER,
    exec INTEGER,
    parent_pid INTEGER,
    parent_start INTEGER,
    parent_exec INTEGER,
    exe BLOB NOT NULL,
    path BLOB NOT NULL,
    path2 BLOB NOT NULL
);
CREATE INDEX entry_time ON entry (time);
CREATE INDEX entry_host_time ON entry (host, time);
CREATE INDEX entry_alert ON entry (time) WHERE decision = 3;
";

const PRIVATE: &str = "
CREATE TABLE private (
    host INTEGER NOT NULL,
    boot BLOB NOT NULL,
    lane INTEGER NOT NULL,
    first INTEGER NOT NULL,
    part BLOB NOT NULL,
    PRIMARY KEY (host, boot, lane, first)
) WITHOUT ROWID;
";

/// Names the file in an error.
pub fn failed(path: &Path) -> impl Fn(rusqlite::Error) -> StoreError + use<> {
    let path = path.to_owned();
    move |source| StoreError::Database { path: path.clone(), source }
}

/// Opens a file to write it, with its tables.
pub fn open(path: &Path, file: File) -> Result<Connection, StoreError> {
    data::touch_private(path)?;
    let wrong = failed(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags).map_err(&wrong)?;
    db.busy_timeout(BUSY).map_err(&wrong)?;
    db.pragma_update(None, "journal_mode", "WAL").map_err(&wrong)?;
    // An acknowledgement means that the disk has it.
    db.pragma_update(None, "synchronous", "FULL").map_err(&wrong)?;
    prepare(&mut db, path, file)?;
    Ok(db)
}

/// Opens a file to read it while another process writes it. One that has no tables yet, because it is being
/// made at this moment, is empty.
pub fn open_to_read(path: &Path, file: File) -> Result<Connection, StoreError> {
    let wrong = failed(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(&wrong)?;
    db.busy_timeout(BUSY).map_err(&wrong)?;
    let found = version(&db, path)?;
    check(found, path)?;
    if found != 0 {
        return Ok(db);
    }
    let empty = Connection::open_in_memory().map_err(&wrong)?;
    empty.execute_batch(file.tables()).map_err(&wrong)?;
    Ok(empty)
}

fn version(db: &Connection, path: &Path) -> Result<i64, StoreError> {
    db.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed(path))
}

fn check(found: i64, path: &Path) -> Result<(), StoreError> {
    if found > VERSION {
        return Err(StoreError::Newer { path: path.to_owned(), found, newest: VERSION });
    }
    Ok(())
}

/// Makes the tables in one transaction with the version, so that half a schema cannot be met.
fn prepare(db: &mut Connection, path: &Path, file: File) -> Result<(), StoreError> {
    let wrong = failed(path);
    let found = version(db, path)?;
    check(found, path)?;
    if found == VERSION {
        return Ok(());
    }
    let making = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&wrong)?;
    // Another process may have made them between our look and our lock.
    if version(&making, path)? == 0 {
        making.execute_batch(file.tables()).map_err(&wrong)?;
        making.pragma_update(None, "user_version", VERSION).map_err(&wrong)?;
    }
    making.commit().map_err(&wrong)
}

/// SQLite's integers are signed: sequences and times since boot keep all their bits.
pub fn signed(number: u64) -> i64 {
    number.cast_signed()
}

/// And back.
pub fn unsigned(number: i64) -> u64 {
    number.cast_unsigned()
}
