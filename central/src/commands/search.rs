//! `graven events`, `graven violations`

use std::io;

use super::output::Output;
use super::{CommandError, Exit, choose};
use crate::cli::Search;
use crate::data::DataDir;
use crate::pipeline::clock;
use crate::query::{Found, Query, Row};
use crate::show::{Look, event};
use crate::store::StoreError;
use crate::store::reader::Reader;

/// Rows whose records are read at once.
const CHUNK: usize = 256;

pub(super) fn run(words: &Search, alerts_only: bool) -> Result<Exit, CommandError> {
    let reader = Reader::open(&DataDir::open(&words.data.directory)?)?;
    let hosts = reader.hosts()?;
    let chosen = choose::query(&words.filter, words.until.as_deref(), &hosts, clock())?;
    let (rows, cut) = newest(&reader, &Query { alerts_only, ..chosen }, limit(words.limit))?;
    let look = Look::of_stdout();
    let mut output = Output::new(io::stdout().lock());
    let damaged = each(&reader, &rows, |found| match words.json {
        true => output.json(&event::json(found)),
        false => output.line(&event::line(found, look)),
    })?;
    output.end()?;
    if cut {
        eprintln!(
            "graven: only the newest {} are shown: give a shorter time or a larger --limit",
            words.limit
        );
    }
    let found = words.exit_code && !rows.is_empty();
    Ok(if damaged || found { Exit::Findings } else { Exit::Done })
}

pub(super) fn limit(words: u32) -> usize {
    usize::try_from(words).unwrap_or(usize::MAX)
}

/// The newest `limit` rows, and whether there were more.
pub(super) fn newest(reader: &Reader, query: &Query, limit: usize) -> Result<(Vec<Row>, bool), StoreError> {
    let mut rows = reader.find(&Query { limit: limit + 1, ..query.clone() })?;
    let cut = rows.len() > limit;
    rows.drain(..rows.len().saturating_sub(limit));
    Ok((rows, cut))
}

/// Hands out the records of the rows. Damage is said on standard error and does not end the search: true if
/// there was any.
pub(super) fn each(
    reader: &Reader,
    rows: &[Row],
    mut with: impl FnMut(&Found) -> Result<(), CommandError>,
) -> Result<bool, CommandError> {
    let mut damaged = false;
    for chunk in rows.chunks(CHUNK) {
        for found in reader.frames(chunk)? {
            match found {
                Ok(found) => with(&found)?,
                Err(damage) => {
                    damaged = true;
                    eprintln!("graven: {damage}");
                }
            }
        }
    }
    Ok(damaged)
}
