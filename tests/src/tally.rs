//! What was done, what is in the log, and what was counted as lost: `done = recorded + lost`, but for what the kernel
//! skipped.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::central::Central;
use crate::missing::Missing;
use crate::moment::Begin;
use crate::record::Record;
use crate::sight;
use crate::stage::Stage;
use crate::wait::until;
use crate::words;

/// What is not in the log so long after it was done does not come any more.
const LATE: Duration = Duration::from_secs(10);

/// As many as one query shows.
const LIMIT: &str = "100000";

/// What one process did in one directory.
#[derive(Clone, Copy, Debug)]
pub struct Done<'a> {
    /// The directory: it holds at most as many names as one query shows.
    pub folder: &'a Path,
    /// The process.
    pub pid: u32,
    /// Names that it made.
    pub names: usize,
}

/// What the log knows of it.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Names with a record of their own.
    pub recorded: usize,
    /// Counted in summaries of losses that name this directory and this process.
    pub lost: u64,
}

impl Tally {
    /// Waits until the log accounts for all that was done in a test; a loss is told a while after what was not lost.
    /// What the kernel skipped names no directory: it makes up for what is missing in all of them together.
    pub fn all(stage: &Stage, begin: Begin, done: &[Done<'_>]) -> Result<Vec<Self>> {
        let waiting = Instant::now();
        let mut tallies = vec![Self::default(); done.len()];
        let whole = until("records and losses that make up what was done", || {
            for (tally, done) in tallies.iter_mut().zip(done).filter(|(tally, done)| tally.lacks(done) > 0) {
                *tally = Self::of(stage, begin, done)?;
            }
            let skipped = stage.skipped()?.saturating_sub(begin.skipped);
            let lacking = lacking(&tallies, done);
            // What is merely late is not excused.
            let excused = waiting.elapsed() > LATE && skipped >= lacking;
            Ok((lacking == 0 || excused).then_some(skipped))
        });
        for (tally, done) in tallies.iter().zip(done) {
            let told = tally.told();
            ensure!(told <= done.names as u64, "{told} are told of {done:?}: {tally:?}");
        }
        let skipped = whole.with_context(|| format!("of {done:?} there are {tallies:?}"))?;
        ensure!(
            skipped == 0 || sight::may_skip()?,
            "{skipped} runs were skipped on a kernel that has no reason to"
        );
        let compared = match usize::try_from(lacking(&tallies, done))? {
            0 => Ok(()),
            count => Err(Missing::new(format!("of {done:?} there are {tallies:?}"), count).into()),
        };
        stage.or_lost(begin, compared)?;
        Ok(tallies)
    }

    fn of(stage: &Stage, begin: Begin, done: &Done<'_>) -> Result<Self> {
        let names = names(&stage.central, done.folder, done.pid)?;
        let losses = stage.since(begin.moment, &words!["--kind", "lost"])?;
        let here = |record: &&Record| {
            record.pid() == Some(done.pid.into())
                && record.text("/unmapped/event") == "create"
                && Path::new(record.text("/unmapped/directory")) == done.folder
        };
        let lost = losses.iter().filter(here).filter_map(|record| record.number("/unmapped/lost")).sum();
        Ok(Self { recorded: names.len(), lost })
    }

    fn told(&self) -> u64 {
        self.recorded as u64 + self.lost
    }

    fn lacks(&self, done: &Done<'_>) -> u64 {
        (done.names as u64).saturating_sub(self.told())
    }
}

/// How many names the log does not account for. What is told too often of one makes up for nothing of another.
fn lacking(tallies: &[Tally], done: &[Done<'_>]) -> u64 {
    tallies.iter().zip(done).map(|(tally, done)| tally.lacks(done)).sum()
}

/// Names of the records of what a process made in a folder. From the lines for people, which are a tenth of the
/// work of a record as JSON: there are many.
fn names(central: &Central, folder: &Path, pid: u32) -> Result<BTreeSet<String>> {
    let words = words!["--limit", LIMIT, "--kind", "create", "--path", folder];
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_process_is_told_to_have_done_makes_up_for_nothing_of_another() {
        let done = [3, 5].map(|names| Done { folder: Path::new("/f"), pid: 1, names });
        let tally = |recorded, lost| Tally { recorded, lost };
        assert_eq!(lacking(&[tally(2, 1), tally(5, 0)], &done), 0);
        assert_eq!(lacking(&[tally(2, 0), tally(1, 3)], &done), 2);
        assert_eq!(lacking(&[tally(4, 9), tally(3, 1)], &done), 1);
    }
}
