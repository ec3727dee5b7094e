//! What was done, what is in the log, and what was counted as lost: `done = recorded + lost`.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, ensure};

use crate::central::Central;
use crate::record::Record;
use crate::skip;
use crate::stage::Stage;
use crate::wait::until;

/// As many as one query shows.
const LIMIT: &str = "100000";

/// What the log knows of the names that one process made in one directory.
#[derive(Debug, Default)]
pub struct Tally {
    /// Names with a record of their own.
    pub recorded: usize,
    /// Counted in a summary of losses that names this directory and this process.
    pub lost: u64,
    /// Counted as skipped by the kernel, anywhere: it names no directory.
    pub skipped: u64,
}

impl Tally {
    /// Once all has arrived. `folder` holds at most as many names as one query shows.
    pub fn of(central: &Central, folder: &Path, pid: u32) -> Result<Self> {
        let names = names(central, folder, pid)?;
        let losses = central.events(&["--kind", "lost"])?;
        let count = |of: &dyn Fn(&&Record) -> bool| {
            losses.iter().filter(of).filter_map(|record| record.number("/unmapped/lost")).sum()
        };
        let here = |record: &&Record| {
            record.pid() == Some(pid.into())
                && record.text("/unmapped/event") == "create"
                && Path::new(record.text("/unmapped/directory")) == folder
        };
        let skipped = |record: &&Record| record.text("/unmapped/loss") == "skipped";
        Ok(Self { recorded: names.len(), lost: count(&here), skipped: count(&skipped) })
    }

    /// Waits until the log accounts for so many names; a loss is told a while after what was not lost.
    pub fn until_complete(stage: &Stage, folder: &Path, pid: u32, done: usize) -> Result<Self> {
        let mut last = Self::default();
        let whole = until("records and losses that make up what was done", || {
            last = Self::of(&stage.central, folder, pid)?;
            Ok((last.sum() >= done as u64).then_some(()))
        });
        ensure!(whole.is_ok(), "{done} names were made in {}: {last:?}", folder.display());
        // A run that was skipped may have been another event's, so of these there may be more.
        let said = last.recorded as u64 + last.lost;
        ensure!(said <= done as u64, "more was told than done, which is {done}: {last:?}");
        Ok(last)
    }

    /// From 7.0 on the kernel skips runs under load, which are no lack of room.
    pub fn say_skipped(&self) -> Result<()> {
        if self.skipped > 0 { skip::say_losses(self.skipped) } else { Ok(()) }
    }

    fn sum(&self) -> u64 {
        self.recorded as u64 + self.lost + self.skipped
    }
}

/// Names of the records of what a process made in a folder. From the lines for people, which are a tenth of the
/// work of a record as JSON: there are many.
fn names(central: &Central, folder: &Path, pid: u32) -> Result<BTreeSet<String>> {
    let words = crate::words!["--limit", LIMIT, "--kind", "create", "--path", folder];
    let ended = central.graven("events", &words)?.succeeded()?;
    ensure!(ended.stderr.is_empty(), "{}: {}", ended.said, ended.stderr);
    let (before, after) = (format!("{}/", folder.display()), format!(" by graven-actor[{pid}]"));
    let mut names = BTreeSet::new();
    for line in ended.text()?.lines() {
        let Some((_, rest)) = line.split_once(&before) else { continue };
        let Some((name, _)) = rest.split_once(&after) else { continue };
        ensure!(names.insert(name.to_owned()), "twice: {line}");
    }
    Ok(names)
}
