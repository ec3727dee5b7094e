//! The agent ends, in order or by force, and another takes over: what happens meanwhile waits in the kernel and is told, each
//! thing once, or is counted as lost.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use graven_tests::actor::Actor;
use graven_tests::moment::Begin;
use graven_tests::programs::{self, AGENT, Ended};
use graven_tests::stage::Stage;
use graven_tests::wait::until;
use graven_tests::{missing, sight, skip, words};

const SUITE: &str = "restart";

/// Changes while no agent runs.
const MEANWHILE: usize = 200;
/// Changes around the moment at which the agent is killed, and how many in a second.
const AROUND: usize = 6_000;
const RATE: &str = "2000";

/// A stage whose sensor stays, and which is let go at the end.
fn on(name: &str, test: impl FnOnce(&mut Stage) -> Result<()>) -> Result<()> {
    let start = || Stage::staying(name, "[canary]\nevery = \"1s\"\n");
    let Some(mut stage) = Stage::unless_refused(SUITE, start)? else { return Ok(()) };
    test(&mut stage)?;
    if stage.agent.pid().is_some() {
        stage.agent.stop()?;
    }
    detach(&stage)?.succeeded()?;
    let left = stage.kept()?.runs()?;
    ensure!(left.is_empty(), "{left:?} is left");
    stage.finish()
}

/// The same, where a start of the agent does not take half a minute.
fn on_quick(name: &str, test: impl FnOnce(&mut Stage) -> Result<()>) -> Result<()> {
    if sight::is_emulated() {
        skip::say(&format!("{SUITE}::quick"), "the kernel's verifier takes half a minute at each start here");
        return Ok(());
    }
    on(name, test)
}

/// The only run that is kept.
fn run_of(stage: &Stage) -> Result<PathBuf> {
    let mut runs = stage.kept()?.runs()?;
    ensure!(runs.len() == 1, "{runs:?}");
    runs.pop().context("none")
}

/// What is kept of it.
fn entries(run: &Path) -> Result<BTreeSet<OsString>> {
    Ok(std::fs::read_dir(run)?.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<_>>()?)
}

fn detach(stage: &Stage) -> Result<Ended> {
    programs::run(AGENT, ["detach".as_ref(), "--config".as_ref(), stage.agent.config().as_os_str()])
}

fn actor() -> Result<Actor> {
    Actor::new(env!("CARGO_BIN_EXE_graven-actor"))
}

/// Makes directories that must be recorded.
fn make(stage: &Stage, name: &str, count: usize) -> Result<Vec<PathBuf>> {
    let folder = stage.watched().join(name);
    std::fs::create_dir(&folder)?;
    let made: Vec<PathBuf> = (0..count).map(|number| folder.join(number.to_string())).collect();
    made.iter().try_for_each(std::fs::create_dir)?;
    Ok(made)
}

/// What was told of the directories in a folder, each thing once.
fn told(stage: &Stage, begin: Begin, folder: &Path, kind: &str) -> Result<BTreeSet<PathBuf>> {
    let mut told = BTreeSet::new();
    for record in stage.since(begin.moment, &words!["--kind", kind, "--path", folder])? {
        ensure!(told.insert(record.path()), "told twice: {:#}", record.0);
    }
    told.remove(folder);
    Ok(told)
}

fn are_told_once(stage: &Stage, begin: Begin, made: &[PathBuf]) -> Result<()> {
    let folder = made.first().and_then(|path| path.parent()).context("nothing was made")?;
    let told = told(stage, begin, folder, "create")?;
    let missing = made.iter().filter(|path| !told.contains(*path));
    stage.or_lost(begin, missing::none("what was made", missing))
}

/// Losses that a start found, by their kind.
fn lost(stage: &Stage, begin: Begin, kind: &str) -> Result<u64> {
    let records = stage.since(begin.moment, &words!["--kind", "lost"])?;
    let of_kind = records.iter().filter(|record| record.text("/unmapped/loss") == kind);
    Ok(of_kind.filter_map(|record| record.number("/unmapped/lost")).sum())
}

#[test]
fn what_happens_between_two_runs_is_told_once_by_the_second() -> Result<()> {
    on("order", |stage| {
        let begin = stage.begin()?;
        let before = make(stage, "before", MEANWHILE)?;
        stage.agent.stop()?;
        let meanwhile = make(stage, "meanwhile", MEANWHILE)?;
        // A program of its own: where it lies is in its start, which waits too.
        let by_program = stage.watched().join("by-program");
        let acted = actor()?.act(&words!["mkdir", by_program, "0755"])?;
        stage.agent.run()?;
        let after = make(stage, "after", MEANWHILE)?;
        stage.fence()?;
        for made in [&before, &meanwhile, &after] {
            are_told_once(stage, begin, made)?;
        }
        let record = stage.records(&by_program)?.pop().context("what a program made is not recorded")?;
        let exe = record.text("/actor/process/file/path").to_owned();
        ensure!(record.pid() == Some(acted.pid.into()) && exe.ends_with("graven-actor"), "{:#}", record.0);
        let start = stage.central.events(&["--kind", "start"])?.pop().context("no start")?;
        ensure!(start.number("/unmapped/late") >= Some(MEANWHILE as u64), "{:#}", start.0);
        ensure!(start.0["unmapped"]["stays"] == true, "{:#}", start.0);
        let tampers = stage.since(begin.moment, &words!["--kind", "tamper"])?;
        let signals: Vec<_> = tampers.iter().map(|record| record.number("/unmapped/tamper/number")).collect();
        ensure!(signals == [Some(15)], "who stopped the agent is not told, or more is: {tampers:#?}");
        for kind in ["life", "protected", "activity", "queue", "undecodable"] {
            ensure!(lost(stage, begin, kind)? == 0, "records of kind {kind} are said to be lost");
        }
        run_of(stage).map(drop)
    })
}

#[test]
fn what_an_agent_that_is_killed_had_in_its_hands_is_counted_and_the_rest_is_told_once() -> Result<()> {
    on("killed", |stage| {
        let begin = stage.begin()?;
        let folder = stage.watched().join("storm");
        std::fs::create_dir(&folder)?;
        let busy = actor()?;
        let (path, count) = (folder.clone(), AROUND.to_string());
        let storm =
            std::thread::spawn(move || busy.act_on(Stdio::null(), &words!["storm", path, count, RATE]));
        sleep(Duration::from_secs(1));
        stage.agent.kill()?;
        let meanwhile = make(stage, "meanwhile", MEANWHILE)?;
        stage.agent.run()?;
        let acted = storm.join().map_err(|_| anyhow::anyhow!("the storm panicked"))??;
        stage.fence()?;
        are_told_once(stage, begin, &meanwhile)?;
        // Each directory of the storm is made and removed.
        let (made, gone) = (told(stage, begin, &folder, "create")?, told(stage, begin, &folder, "unlink")?);
        let told = (made.len() + gone.len()) as u64;
        let kinds = ["life", "protected", "activity", "queue", "skipped"];
        let lost = kinds.into_iter().map(|kind| lost(stage, begin, kind)).sum::<Result<u64>>()?;
        ensure!(told + lost >= AROUND as u64, "{told} told and {lost} lost of {AROUND}");
        // A frame's worth and what was on its way: it waits a tenth of a second for others, and half of that for the disk.
        println!("{told} of {AROUND} told, {lost} lost");
        ensure!(lost <= AROUND as u64 / 4, "{lost} are said to be lost");
        // Who killed it is on record: the sensor saw it, and told the next one.
        let tampers = stage.since(begin.moment, &words!["--kind", "tamper"])?;
        let signals: Vec<_> = tampers.iter().map(|record| record.number("/unmapped/tamper/number")).collect();
        ensure!(
            signals == [Some(9)],
            "who killed the agent is not told, or more is: {tampers:#?} {}",
            acted.said
        );
        Ok(())
    })
}

#[test]
fn what_lies_in_rings_of_another_layout_is_counted() -> Result<()> {
    on_quick("layout", |stage| {
        let begin = stage.begin()?;
        stage.agent.stop()?;
        make(stage, "meanwhile", MEANWHILE)?;
        let run = run_of(stage)?;
        let name = run.file_name().and_then(|name| name.to_str()).context("a name")?;
        let (_, start) = name.split_once('-').context("no layout")?;
        std::fs::rename(&run, run.with_file_name(format!("1-{start}")))?;
        stage.agent.run()?;
        stage.fence()?;
        let lost = lost(stage, begin, "undecodable")?;
        ensure!(lost >= MEANWHILE as u64, "only {lost} are counted");
        run_of(stage).map(drop)
    })
}

#[test]
fn a_sensor_is_taken_off_once_no_agent_runs() -> Result<()> {
    on_quick("off", |stage| {
        ensure!(detach(stage)?.code == Some(2), "the sensor of an agent that runs is taken off");
        stage.agent.stop()?;
        let said = detach(stage)?.succeeded()?;
        ensure!(said.text()?.starts_with("1 sensors"), "{}", said.text()?);
        let said = detach(stage)?.succeeded()?;
        ensure!(said.text()?.starts_with("0 sensors"), "{}", said.text()?);
        Ok(())
    })
}

#[test]
fn the_sensor_of_another_agent_that_runs_stays() -> Result<()> {
    on_quick("others", |stage| {
        let begin = stage.begin()?;
        // Whoever has the same folder for sensors and other files of its own.
        let other = stage.outside("other")?;
        let own = stage.agent.config();
        let text = std::fs::read_to_string(&own)?;
        let mine = own.parent().context("no folder")?.display().to_string();
        std::fs::write(other.join("agent.toml"), text.replace(&mine, &other.display().to_string()))?;
        std::fs::copy(stage.agent.policy(), other.join("policy.toml"))?;
        let kept = entries(&run_of(stage)?)?;
        let config = other.join("agent.toml");
        programs::run(AGENT, ["detach".as_ref(), "--config".as_ref(), config.as_os_str()])?
            .refused(2, &["another agent runs", "stays"])?;
        ensure!(entries(&run_of(stage)?)? == kept, "of {kept:?} something is gone");
        stage.agent.kill()?;
        let made = make(stage, "after", MEANWHILE)?;
        stage.agent.run()?;
        stage.fence()?;
        are_told_once(stage, begin, &made)
    })
}

#[test]
fn what_somebody_removes_of_what_is_kept_is_kept_again_and_told() -> Result<()> {
    on_quick("removed", |stage| {
        let begin = stage.begin()?;
        std::fs::remove_dir_all(run_of(stage)?)?;
        let record = until("that it is kept again", || {
            Ok(stage.since(begin.moment, &words!["--kind", "map_changed"])?.into_iter().next())
        })?;
        ensure!(record.text("/severity") == "Critical", "{:#}", record.0);
        stage.agent.kill()?;
        let made = make(stage, "meanwhile", MEANWHILE)?;
        stage.agent.run()?;
        stage.fence()?;
        are_told_once(stage, begin, &made)
    })
}

#[test]
fn what_two_runs_have_left_is_told_once() -> Result<()> {
    on_quick("twice", |stage| {
        let begin = stage.begin()?;
        stage.agent.kill()?;
        let first = make(stage, "first", MEANWHILE)?;
        stage.agent.run()?;
        let second = make(stage, "second", MEANWHILE)?;
        stage.agent.kill()?;
        let third = make(stage, "third", MEANWHILE)?;
        stage.agent.run()?;
        stage.fence()?;
        are_told_once(stage, begin, &first)?;
        are_told_once(stage, begin, &third)?;
        // What the killed one had in its hands is told or counted.
        let folder = second.first().and_then(|path| path.parent()).context("nothing was made")?;
        let told = told(stage, begin, folder, "create")?.len() as u64;
        let lost = lost(stage, begin, "queue")?;
        ensure!(told + lost >= MEANWHILE as u64, "{told} told, {lost} lost");
        Ok(())
    })
}
