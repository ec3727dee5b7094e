//! `graven tail`: looks again and again at what was received since.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::output::Output;
use super::{CommandError, Exit, choose, search};
use crate::cli::Tail;
use crate::data::DataDir;
use crate::pipeline::clock;
use crate::query::{Query, Row};
use crate::show::{Look, event};
use crate::store::StoreError;
use crate::store::day::Day;
use crate::store::reader::Reader;

/// Between two looks: a person does not see the difference, and the store is not kept busy.
const PAUSE: Duration = Duration::from_millis(200);
/// Days looked at: at midnight both the old and the new one are written.
const DAYS: usize = 2;
/// Rows of one look; more are taken by the next look at once.
const BATCH: usize = 1_000;

pub(super) fn run(words: &Tail) -> Result<Exit, CommandError> {
    let stopped = Arc::new(AtomicBool::new(false));
    stop_on_signal(&stopped)?;
    let reader = Reader::open(&DataDir::open(&words.data.directory)?)?;
    let hosts = reader.hosts()?;
    let chosen = choose::query(&words.filter, None, &hosts, clock())?;
    let query = Query { alerts_only: words.violations, limit: BATCH, ..chosen };
    let mut cursor = Cursor::new(&reader, words.filter.since.is_some())?;
    let look = Look::of_stdout();
    let mut output = Output::new(io::stdout().lock());
    let mut damaged = false;
    while !stopped.load(Ordering::Relaxed) {
        let rows = cursor.next(&reader, &query)?;
        damaged |= search::each(&reader, &rows, |found| {
            match words.json {
                true => output.json(&event::json(found))?,
                false => output.line(&event::line(found, look))?,
            }
            output.end()
        })?;
        if rows.is_empty() {
            std::thread::sleep(PAUSE);
        }
    }
    Ok(if damaged { Exit::Findings } else { Exit::Done })
}

/// Where the tail is, by day.
struct Cursor {
    seen: BTreeMap<Day, i64>,
    /// Days before this one were looked through when the tail began.
    from: Option<Day>,
}

impl Cursor {
    /// At the end of what is there, or at its beginning.
    fn new(reader: &Reader, from_the_beginning: bool) -> Result<Self, StoreError> {
        let mut seen = BTreeMap::new();
        let days = reader.days()?;
        if !from_the_beginning {
            for day in days.iter().rev().take(DAYS) {
                seen.insert(*day, reader.day(*day)?.newest()?);
            }
        }
        let from =
            if from_the_beginning { days.first().copied() } else { days.iter().rev().nth(DAYS - 1).copied() };
        Ok(Self { seen, from })
    }

    /// What came since, in order of receipt.
    fn next(&mut self, reader: &Reader, query: &Query) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::new();
        let days: Vec<Day> = reader.days()?.into_iter().filter(|day| Some(*day) >= self.from).collect();
        for day in &days {
            let after = self.seen.get(day).copied().unwrap_or(0);
            let open = reader.day(*day)?;
            let newest = open.newest()?;
            let found = open.after(query, after)?;
            // A full batch may stop before the newest row; else everything up to it was looked at.
            let full = found.len() >= query.limit;
            let seen = found.last().map_or(after, |row| row.id);
            let last = if full { seen } else { seen.max(newest) };
            self.seen.insert(*day, last);
            rows.extend(found.into_iter().map(|located| Row { day: *day, located }));
            if full {
                return Ok(rows);
            }
        }
        self.from = days.iter().rev().nth(DAYS - 1).copied().or(self.from);
        let from = self.from;
        self.seen.retain(|day, _| Some(*day) >= from);
        Ok(rows)
    }
}

/// Interrupt and terminate end the tail after the line it is at.
fn stop_on_signal(stopped: &Arc<AtomicBool>) -> Result<(), CommandError> {
    let stopped = Arc::clone(stopped);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CommandError::Runtime)?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        let hear = |kind| signal(kind).map_err(CommandError::Runtime);
        (hear(SignalKind::interrupt())?, hear(SignalKind::terminate())?)
    };
    let listen = move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        stopped.store(true, Ordering::Relaxed);
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(listen).map_err(CommandError::Runtime)?;
    Ok(())
}
