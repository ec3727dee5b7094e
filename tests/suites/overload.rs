//! More events than there is room for: what is lost is counted, with the directory and the process, and at full
//! speed on an idle machine nothing is.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use graven_tests::actor::{Acted, Actor, NOBODY};
use graven_tests::place::Ground;
use graven_tests::record::Record;
use graven_tests::scene::Scene;
use graven_tests::shared::on_stage;
use graven_tests::stage::Stage;
use graven_tests::tally::{Done, Tally};
use graven_tests::wait::until;
use graven_tests::{sight, skip, words};
use rustix::process::{Pid, Signal, kill_process};

const SUITE: &str = "overload";

/// Directories of a flood, and files in each: as many as one query shows well.
const FOLDERS: usize = 5;
const FILES: usize = 40_000;

/// Renames while there is no room.
const SWINGS: u64 = 100;

fn actor() -> Result<Actor> {
    Actor::new(env!("CARGO_BIN_EXE_graven-actor"))
}

/// A test in a directory of its own, alone: another's flood would take its room.
fn scene(name: &str, test: impl FnOnce(&mut Scene<'_>) -> Result<()>) -> Result<()> {
    alone(|stage| test(&mut Scene::new(stage, name, &actor()?)?))
}

fn alone(test: impl FnOnce(&Stage) -> Result<()>) -> Result<()> {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    on_stage(SUITE, test)
}

/// Under emulation a tenth is enough of a flood.
fn files() -> usize {
    sight::repetitions(FILES, 10)
}

#[test]
fn a_flood_at_full_speed_is_recorded_whole() -> Result<()> {
    scene("flood", flood)
}

/// Where making a file takes no disk's time.
#[test]
fn a_flood_in_memory_is_recorded_or_counted_by_directory_and_process() -> Result<()> {
    alone(|stage| match stage.grounds().into_iter().find(|(ground, _)| *ground == Ground::Tmpfs) {
        Some((_, folder)) => flood(&mut Scene::below(stage, folder, "memory", &actor()?)?),
        None => {
            skip::say("overload::memory", "there is no tmpfs to protect");
            Ok(())
        }
    })
}

fn flood(scene: &mut Scene<'_>) -> Result<()> {
    let files = files();
    let folders = (0..FOLDERS).map(|number| scene.directory(&number.to_string()));
    let folders = folders.collect::<Result<Vec<_>>>()?;
    let mut told = Vec::new();
    for folder in &folders {
        if !told.is_empty() {
            told.push("then".into());
        }
        told.extend(words!["flood", folder, "0", files.to_string()]);
    }
    let begin = Instant::now();
    let acted = scene.actor().act(&told)?;
    let took = begin.elapsed();
    let done = FOLDERS * files;
    println!("{done} creations in {took:?}: {:.0} a second", done as f64 / took.as_secs_f64());
    scene.stage().fence()?;
    println!("in the central log {:?} later", begin.elapsed() - took);
    let made: Vec<Done<'_>> =
        folders.iter().map(|folder| Done { folder, pid: acted.pid, names: files }).collect();
    let tallies = Tally::all(scene.stage(), scene.begin(), &made)?;
    let lost: u64 = tallies.iter().map(|tally| tally.lost).sum();
    // On one processor the agent runs only when the flood does not.
    if std::thread::available_parallelism()?.get() > 1 {
        ensure!(lost == 0, "{lost} of {done} were lost");
    }
    Ok(())
}

/// Nobody reads the rings while this lives.
struct Stopped(Pid);

impl Stopped {
    fn new(pid: u32) -> Result<Self> {
        let pid = Pid::from_raw(pid.cast_signed()).context("no process")?;
        kill_process(pid, Signal::STOP)?;
        Ok(Self(pid))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // It may have ended: then nobody is stopped.
        let _ = kill_process(self.0, Signal::CONT);
    }
}

#[test]
fn what_finds_no_room_is_counted_by_directory_and_process() -> Result<()> {
    // More than any ring holds.
    const EACH: usize = 20_000;
    scene("full", |scene| {
        let (ours, theirs) = (scene.directory("ours")?, scene.directory("theirs")?);
        let (swung, file) = (scene.directory("swung")?, scene.file("swung/file")?);
        // The first fills the rings, whatever the others do.
        let more = sight::repetitions(EACH, 4);
        let (count, names) = (EACH.to_string(), more.to_string());
        let agent = scene.stage().agent.pid().context("the agent is not running")?;
        let stopped = Stopped::new(agent)?;
        let by_root = scene.actor().act(&words!["flood", ours, "0", count])?;
        let by_nobody = scene.actor().as_user(NOBODY).act(&words!["flood", theirs, "0", names])?;
        // In the directory of another one.
        let guest = scene.actor().act(&words!["flood", theirs, names, names])?;
        let renames = scene.actor().act(&words!["swing", file, swung.join("other"), SWINGS.to_string()])?;
        drop(stopped);
        let done = [(&by_root, &ours, EACH), (&by_nobody, &theirs, more), (&guest, &theirs, more)]
            .map(|(acted, folder, names)| Done { folder, pid: acted.pid, names });
        let tallies = Tally::all(scene.stage(), scene.begin(), &done)?;
        println!("{tallies:?}");
        for tally in &tallies[1..] {
            ensure!(tally.lost > 0, "nothing was lost while nobody read: {tally:?}");
        }
        if sight::of_changes() {
            lost_renames(scene, &renames, &swung)?;
        }
        let losses = scene.stage().central.events(&["--kind", "lost"])?;
        for record in losses.iter().filter(|record| !record.text("/unmapped/directory").is_empty()) {
            ensure!(record.0["is_alert"] == true, "{:#}", record.0);
            let moment = |key: &str| record.number(key);
            let (first, last) = (moment("/unmapped/first_boot_ns"), moment("/unmapped/last_boot_ns"));
            ensure!(first.is_some() && first <= last, "when was it? {:#}", record.0);
        }
        Ok(())
    })
}

/// Both names of a rename lie in this directory, which is the one that the summary names.
fn lost_renames(scene: &Scene<'_>, acted: &Acted, folder: &Path) -> Result<()> {
    let of = |record: &Record| {
        record.pid() == Some(acted.pid.into()) && record.text("/unmapped/event") == "rename"
    };
    let least = if sight::may_skip()? { 1 } else { SWINGS };
    until("the losses of renames", || {
        let mut losses = scene.stage().since(scene.begin().moment, &words!["--kind", "lost"])?;
        losses.retain(of);
        if sight::may_skip()? {
            // Where the kernel skipped the file's own change, nothing says where it lies.
            losses.retain(|row| !row.text("/unmapped/directory").is_empty());
        }
        for row in &losses {
            ensure!(Path::new(row.text("/unmapped/directory")) == folder, "{:#}", row.0);
        }
        let lost: u64 = losses.iter().filter_map(|row| row.number("/unmapped/lost")).sum();
        ensure!(lost <= SWINGS, "{lost} of {SWINGS} renames");
        Ok((lost >= least).then_some(()))
    })
}

#[test]
fn a_flood_elsewhere_takes_no_room_from_a_protected_place() -> Result<()> {
    const EACH: usize = 30_000;
    if !sight::of_changes() {
        skip::say("overload::elsewhere", "the kernel does not tell which places are protected");
        return Ok(());
    }
    scene("beside", |scene| {
        let elsewhere = scene.stage().outside("elsewhere")?;
        let agent = scene.stage().agent.pid().context("the agent is not running")?;
        let (folder, count) = (scene.directory("folder")?, EACH.to_string());
        let stopped = Stopped::new(agent)?;
        scene.actor().act(&words!["flood", elsewhere, "0", count])?;
        let acted = scene.actor().act(&words!["flood", folder, "0", "100"])?;
        drop(stopped);
        let done = Done { folder: &folder, pid: acted.pid, names: 100 };
        let tallies = Tally::all(scene.stage(), scene.begin(), &[done])?;
        ensure!(tallies.iter().all(|tally| tally.lost == 0), "{tallies:?}");
        Ok(())
    })
}
