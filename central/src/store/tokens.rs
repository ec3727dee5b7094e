//! One-time tokens: stored as hashes, used up in one transaction with the host they let in.

use std::path::Path;

use graven_record::id::HostId;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::StoreError;
use super::hosts::{self, Enrolment};
use super::schema::failed;
use crate::authority::token::TokenHash;

/// Most tokens kept: each is 100 bytes, and used or expired ones leave first.
const MAX_TOKENS: i64 = 100_000;

/// The door stays shut.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// Never made here.
    #[error("this token is not known here: make one with `graven enrol`")]
    Unknown,
    /// Too late.
    #[error("this token has expired: make one with `graven enrol`")]
    Expired,
    /// By another host.
    #[error("this token has been used by another host: make one for each host with `graven enrol`")]
    Used,
    /// The store's failure.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A token may not be made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// Too many wait to be used.
    #[error("{MAX_TOKENS} tokens wait to be used: let some expire first")]
    Full,
    /// The store's failure.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Remembers a new token.
pub fn add(
    db: &mut Connection,
    path: &Path,
    token: TokenHash,
    group: &str,
    now: i64,
    expires: i64,
) -> Result<(), MintError> {
    let wrong = failed(path);
    let adding = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&wrong)?;
    // An expired token opens nothing and a retry with it is refused too, so nothing is lost with it.
    adding.execute("DELETE FROM token WHERE expires < ?1", [now]).map_err(&wrong)?;
    let count: i64 = adding.query_row("SELECT count(*) FROM token", [], |row| row.get(0)).map_err(&wrong)?;
    if count >= MAX_TOKENS {
        return Err(MintError::Full);
    }
    adding
        .execute(
            "INSERT INTO token (hash, door, made_at, expires) VALUES (?1, ?2, ?3, ?4)",
            params![token.0, group, now, expires],
        )
        .map_err(&wrong)?;
    Ok(adding.commit().map_err(&wrong)?)
}

/// Lets a host in: uses the token up and enters the host, both or neither. The same host may come again
/// with the same token, because the answer may not have reached it. Returns the group.
pub fn enrol(
    db: &mut Connection,
    path: &Path,
    token: TokenHash,
    host: &Enrolment,
    now: i64,
) -> Result<String, DoorError> {
    let wrong = failed(path);
    let door = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&wrong)?;
    let group = open(&door, token, &host.id, now).map_err(&wrong)??;
    door.execute(
        "UPDATE token SET used_by = ?2, used_at = coalesce(used_at, ?3) WHERE hash = ?1",
        params![token.0, host.id.0, now],
    )
    .map_err(&wrong)?;
    hosts::enter(&door, host, &group, now).map_err(&wrong)?;
    door.commit().map_err(&wrong)?;
    Ok(group)
}

/// Would the token open? Asked before anything costly is done for its bearer.
pub fn check(
    db: &Connection,
    path: &Path,
    token: TokenHash,
    host: &HostId,
    now: i64,
) -> Result<(), DoorError> {
    open(db, token, host, now).map_err(failed(path))?.map(drop)
}

fn open(
    db: &Connection,
    token: TokenHash,
    host: &HostId,
    now: i64,
) -> rusqlite::Result<Result<String, DoorError>> {
    let found: Option<(String, i64, Option<[u8; 32]>)> = db
        .query_row("SELECT door, expires, used_by FROM token WHERE hash = ?1", [token.0], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    Ok(match found {
        None => Err(DoorError::Unknown),
        Some((_, expires, _)) if expires < now => Err(DoorError::Expired),
        Some((_, _, Some(user))) if user != host.0 => Err(DoorError::Used),
        Some((group, _, _)) => Ok(group),
    })
}
