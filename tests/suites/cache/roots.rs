//! The protected places themselves come and go.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use graven_tests::spooled::Tally;
use graven_tests::stage::Stage;
use graven_tests::wait::until;
use graven_tests::words;

use crate::{SUITE, actor};

/// What has not arrived by then is tried again.
const SETTLED: Duration = Duration::from_millis(500);

/// Changes that are counted and not recorded.
const IGNORED: u64 = 2_000;

#[test]
fn a_file_that_goes_from_a_protected_directory_changes_nothing_elsewhere() -> Result<()> {
    let Some(mut stage) = Stage::unless_refused(SUITE, || Stage::start("goes"))? else { return Ok(()) };
    let watched = stage.watched().to_owned();
    let busy = stage.outside("busy")?;
    let [file, moved] = ["file", "moved"].map(|name| watched.join(name));
    std::fs::write(&file, "x")?;
    actor()?.act(&words!["rename", file, moved])?;
    actor()?.act(&words!["unlink", moved])?;
    stage.fence()?;
    // Whatever is not believed for a moment is believed again.
    sleep(SETTLED);
    actor()?.act(&words!["storm", busy, IGNORED.to_string(), "100000"])?;
    stage.agent.stop()?;
    let counters = Tally::of(&stage.agent.spool())?.counters;
    ensure!(
        counters.is_some_and(|counters| counters.ignored >= IGNORED && counters.unrecorded < IGNORED),
        "mutable places are not ignored by the kernel any more: {counters:?}"
    );
    stage.agent.run()?;
    stage.finish()
}

#[test]
fn what_takes_the_place_of_a_protected_directory_is_protected_from_its_first_change_on() -> Result<()> {
    let Some(stage) = Stage::unless_refused(SUITE, || Stage::start("roots"))? else { return Ok(()) };
    let watched = stage.watched().to_owned();
    let away = watched.with_file_name("away");
    // In one process and without a pause: nobody has time to look.
    let first = watched.join("first");
    let acted = actor()?.act(&words![
        "rename",
        watched,
        away,
        "then",
        "mkdir",
        watched,
        "0777",
        "then",
        "mkdir",
        first,
        "0755",
        "then",
        "mkdir",
        away.join("behind"),
        "0755"
    ])?;
    // When a change in the new one is there, those before it are.
    let mut made = 0;
    until("a change in the new directory", || {
        made += 1;
        let next = watched.join(format!("next-{made}"));
        std::fs::create_dir(&next)?;
        sleep(SETTLED);
        Ok((!stage.records(&next)?.is_empty()).then_some(()))
    })?;
    let records = stage.central.events::<&str>(&[])?;
    let told: Vec<_> = records
        .iter()
        .filter(|record| record.pid() == Some(acted.pid.into()))
        .map(|record| record.path())
        .collect();
    ensure!(told.contains(&watched), "that it was moved away is not recorded: {told:?}");
    ensure!(told.contains(&first), "the first change in the new one is not recorded: {told:?}");
    ensure!(told.contains(&away.join("behind")), "the change in the old one is not recorded: {told:?}");
    stage.finish()
}
