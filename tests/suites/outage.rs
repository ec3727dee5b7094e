//! The central log is away, comes back, is restarted; the agent is killed: what was seen arrives, each change
//! exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use graven_record::frame::Frame;
use graven_record::id::Lane;
use graven_record::v1::record::Event;
use graven_tests::actor::Actor;
use graven_tests::daemon::Daemon;
use graven_tests::record::Record;
use graven_tests::stage::Stage;
use graven_tests::wait::{patience, until};

const SUITE: &str = "outage";

/// Changes a second.
const RATE: usize = 1_000;
/// How long the central log is away under the storm.
const AWAY: Duration = Duration::from_secs(30);

fn actor() -> Result<Actor> {
    Actor::new(env!("CARGO_BIN_EXE_graven-actor"))
}

/// A storm that runs by itself: it says each thousand changes.
struct Storm {
    daemon: Daemon,
    folder: PathBuf,
    changes: usize,
    begin: Instant,
}

impl Storm {
    fn start(stage: &Stage, changes: usize) -> Result<Self> {
        let folder = stage.watched().join("storm");
        std::fs::create_dir(&folder)?;
        let (count, rate) = (changes.to_string(), RATE.to_string());
        let words = [OsStr::new("storm"), folder.as_os_str(), OsStr::new(&count), OsStr::new(&rate)];
        let log = stage.outside("storm")?.join("storm.log");
        let daemon = Daemon::start("the storm", actor()?.command(&words), &log)?;
        Ok(Self { daemon, folder, changes, begin: Instant::now() })
    }

    /// Waits until this many changes were made.
    fn reached(&mut self, changes: usize) -> Result<()> {
        let line = changes.to_string();
        let patience = patience() + Duration::from_secs((changes / RATE) as u64);
        self.daemon.line_within(patience, &format!("{line} changes"), |said| (said == line).then_some(()))
    }

    /// Waits for its end; it must have kept its rate, or it was no such storm.
    fn end(&mut self) -> Result<()> {
        ensure!(self.daemon.ended()?.success(), "{}", self.daemon.said()?);
        let (took, wanted) = (self.begin.elapsed(), Duration::from_secs((self.changes / RATE) as u64));
        ensure!(
            took < wanted + wanted / 5 + Duration::from_secs(1),
            "the storm took {took:?} and not {wanted:?}"
        );
        Ok(())
    }

    /// Every change of the storm is there exactly once, and nothing else of it.
    fn is_recorded(&self, stage: &Stage) -> Result<()> {
        let pid = u64::from(self.daemon.pid());
        let mut seen = BTreeMap::<(PathBuf, String), usize>::new();
        let below = ["--path".as_ref(), self.folder.as_os_str()];
        stage.central.each("violations", &below, |record| {
            if record.pid() == Some(pid) {
                *seen.entry((record.path(), record.kind().to_owned())).or_default() += 1;
            }
            Ok(())
        })?;
        let twice: Vec<_> = seen.iter().filter(|(_, count)| **count > 1).take(5).collect();
        ensure!(twice.is_empty(), "more than once: {twice:?}");
        let wanted = changes_of(&self.folder, self.changes);
        let seen: BTreeSet<(PathBuf, String)> = seen.into_keys().collect();
        let missing: Vec<_> = wanted.difference(&seen).take(5).collect();
        ensure!(missing.is_empty(), "{} of {} changes; missing: {missing:?}", seen.len(), wanted.len());
        ensure!(seen == wanted, "{} changes instead of {}", seen.len(), wanted.len());
        Ok(())
    }
}

fn changes_of(folder: &Path, changes: usize) -> BTreeSet<(PathBuf, String)> {
    let names = (0..changes / 2).map(|n| folder.join(n.to_string()));
    names.flat_map(|path| ["create", "unlink"].map(|kind| (path.clone(), kind.to_owned()))).collect()
}

/// After a fence: the lane has every sequence up to the fence's exactly once, so nothing waits any more; nothing
/// was lost; nothing was found wrong with the stream.
fn is_whole(stage: &Stage, fence: &Record) -> Result<()> {
    ensure!(fence.lane() == "protected", "{:#}", fence.0);
    let last = fence.sequence().context("no sequence")?;
    let mut sequences = Vec::new();
    let mut lost = Vec::new();
    stage.central.each::<&str>("events", &[], |record| {
        if record.lane() == "protected" {
            sequences.extend(record.sequence());
        }
        if record.kind() == "lost" {
            lost.push(record.clone());
        }
        Ok(())
    })?;
    let told: Vec<&str> = lost.iter().map(|record| record.text("/message")).collect();
    ensure!(lost.is_empty(), "{told:#?}");
    sequences.sort_unstable();
    sequences.retain(|sequence| *sequence <= last);
    let wanted: Vec<u64> = (1..=last).collect();
    ensure!(sequences == wanted, "{} sequences of {last}", sequences.len());
    let host = stage.central.host()?;
    ensure!(host["findings"].as_array().is_some_and(Vec::is_empty), "{host:#}");
    Ok(())
}

#[test]
fn under_a_thousand_changes_a_second_thirty_seconds_without_the_central_log_lose_nothing() -> Result<()> {
    let Some(mut stage) = Stage::unless_refused(SUITE, || Stage::start("away"))? else { return Ok(()) };
    let seconds = usize::try_from(AWAY.as_secs())?;
    let mut storm = Storm::start(&stage, RATE * (seconds + 4))?;
    storm.reached(RATE)?;
    stage.central.kill()?;
    let away = Instant::now();
    storm.reached(RATE * (seconds + 2))?;
    ensure!(away.elapsed() >= AWAY, "it was away for {:?} only", away.elapsed());
    stage.central.restart()?;
    storm.end()?;
    let fence = stage.fence()?;
    println!("delivered {:?} after the return", away.elapsed().saturating_sub(AWAY));
    storm.is_recorded(&stage)?;
    is_whole(&stage, &fence)?;
    stage.finish()
}

#[test]
fn a_central_log_that_is_restarted_again_and_again_has_each_change_once() -> Result<()> {
    let Some(mut stage) = Stage::unless_refused(SUITE, || Stage::start("restarted"))? else { return Ok(()) };
    let mut storm = Storm::start(&stage, RATE * 6)?;
    for second in 1..4 {
        storm.reached(RATE * second)?;
        if second == 2 {
            stage.central.interrupt()?;
        } else {
            stage.central.stop()?;
        }
        stage.central.restart()?;
    }
    storm.end()?;
    let fence = stage.fence()?;
    storm.is_recorded(&stage)?;
    is_whole(&stage, &fence)?;
    stage.finish()
}

/// The names that the frames in a spool are about, by kind, as they lie on the disk.
fn sealed(spool: &Path, folder: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    for boot in std::fs::read_dir(spool)? {
        let lane = boot?.path().join(Lane::Protected.name());
        for segment in std::fs::read_dir(&lane).into_iter().flatten() {
            let bytes = std::fs::read(segment?.path())?;
            let mut rest = bytes.as_slice();
            // Where the agent was killed there may be half a frame.
            while let Some(Ok(length)) = Frame::length(rest)
                && length <= rest.len()
            {
                let (frame, behind) = rest.split_at(length);
                rest = behind;
                for record in Frame::parse(frame)?.batch()?.records {
                    let (file, kind) = match record.event {
                        Some(Event::Create(create)) => (create.file, "create"),
                        Some(Event::Unlink(unlink)) => (unlink.file, "unlink"),
                        _ => continue,
                    };
                    let path =
                        PathBuf::from(OsStr::new(std::str::from_utf8(&file.unwrap_or_default().path)?));
                    if path.starts_with(folder) && path != folder {
                        found.push((path, kind.to_owned()));
                    }
                }
            }
        }
    }
    Ok(found)
}

#[test]
fn what_a_killed_agent_had_sealed_arrives_once_and_the_next_run_says_that_it_began() -> Result<()> {
    let Some(mut stage) = Stage::unless_refused(SUITE, || Stage::start("killed"))? else { return Ok(()) };
    let mut storm = Storm::start(&stage, RATE * 3)?;
    storm.reached(RATE)?;
    stage.central.kill()?;
    storm.reached(RATE * 2)?;
    stage.agent.kill()?;
    let kept = sealed(&stage.agent.spool(), &storm.folder)?;
    ensure!(kept.len() > RATE, "only {} changes were sealed", kept.len());
    storm.end()?;
    stage.central.restart()?;
    stage.agent.run()?;
    let fence = stage.fence()?;
    let mut arrived: Vec<(PathBuf, String)> = Vec::new();
    stage.central.each("violations", &["--path".as_ref(), storm.folder.as_os_str()], |record| {
        if record.path() != storm.folder {
            arrived.push((record.path(), record.kind().to_owned()));
        }
        Ok(())
    })?;
    let (wanted, mut sorted) = (BTreeSet::from_iter(kept.iter().cloned()), arrived);
    ensure!(wanted.len() == kept.len(), "sealed twice: {} of {}", kept.len(), wanted.len());
    sorted.sort();
    ensure!(sorted == wanted.into_iter().collect::<Vec<_>>(), "{} arrived of {}", sorted.len(), kept.len());
    is_whole(&stage, &fence)?;
    let starts = stage.central.events(&["--kind", "start"])?;
    ensure!(starts.len() == 2, "{starts:#?}");
    ensure!(stage.central.events(&["--kind", "stop"])?.is_empty(), "a killed agent says no farewell");
    let epochs = stage.central.events(&["--kind", "epoch_start"])?;
    let runs: BTreeSet<&str> = epochs.iter().map(|record| record.text("/unmapped/run")).collect();
    ensure!(runs.len() == 2, "{epochs:#?}");
    stage.finish()
}

#[test]
fn a_new_agent_delivers_to_a_central_log_that_comes_later() -> Result<()> {
    let Some(mut stage) = Stage::unless_refused(SUITE, || Stage::start("later"))? else { return Ok(()) };
    stage.agent.stop()?;
    stage.central.stop()?;
    // Without a central log it is ready all the same.
    stage.agent.run()?;
    let made = stage.watched().join("made");
    let acted =
        actor()?.act_on(Stdio::null(), &[OsStr::new("mkdir"), made.as_os_str(), OsStr::new("0755")])?;
    stage.central.restart()?;
    until("the change that was made meanwhile", || {
        let records = stage.records(&made)?;
        ensure!(records.iter().all(|record| record.pid() == Some(acted.pid.into())), "{records:#?}");
        Ok((records.len() == 1).then_some(()))
    })?;
    stage.finish()
}
