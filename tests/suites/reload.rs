//! The policy is read anew, without a restart: what the kernel remembers as mutable under the old one is not under the new
//! one, and a wrong one changes nothing.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use graven_tests::actor::Actor;
use graven_tests::stage::Stage;
use graven_tests::{agent, sight, words};

const SUITE: &str = "reload";

/// Changes after which the kernel remembers the verdict on a directory.
const REMEMBERED: &str = "2000";
/// Times that the policy changes.
const TURNS: usize = 6;

fn actor() -> Result<Actor> {
    Actor::new(env!("CARGO_BIN_EXE_graven-actor"))
}

fn protecting(places: &[&Path]) -> String {
    agent::policy_of(places)
}

#[test]
fn what_another_policy_protects_is_recorded_from_its_record_on_and_what_it_does_not_is_not() -> Result<()> {
    let Some(stage) = Stage::unless_refused(SUITE, || Stage::start("reload"))? else { return Ok(()) };
    let watched = stage.watched().to_owned();
    let other = stage.outside("other")?;
    let deep = other.join("deep");
    std::fs::create_dir(&deep)?;
    let (mut told, mut untold): (Vec<PathBuf>, Vec<PathBuf>) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        // Whatever the policy says of it, its verdict is remembered.
        actor()?.act(&words!["storm", deep, REMEMBERED, "100000"])?;
        let protects = turn % 2 == 0;
        let places: &[&Path] = if protects { &[&watched, &other] } else { &[&watched] };
        let change = stage.reload(&protecting(places))?;
        ensure!(change.text("/unmapped/refused").is_empty(), "{:#}", change.0);
        let name = deep.join(format!("turn-{turn}"));
        actor()?.act(&words!["mkdir", name, "0755"])?;
        match protects {
            true => told.push(name),
            // Where a name is the caller's it may lead anywhere, and nothing is left out.
            false if sight::of_changes() => untold.push(name),
            false => {}
        }
    }
    stage.fence()?;
    for name in &told {
        ensure!(!stage.records(name)?.is_empty(), "{} is not recorded", name.display());
    }
    for name in &untold {
        ensure!(stage.records(name)?.is_empty(), "{} is recorded", name.display());
    }
    stage.finish()
}

#[test]
fn a_wrong_policy_is_refused_and_the_old_one_stays() -> Result<()> {
    let Some(stage) = Stage::unless_refused(SUITE, || Stage::start("refused"))? else { return Ok(()) };
    let wrong = protecting(&[stage.watched()]).replace("schema = 1", "schema = 7");
    let change = stage.reload(&wrong)?;
    ensure!(change.text("/unmapped/refused").contains("schema"), "{:#}", change.0);
    ensure!(change.0["is_alert"] == true && change.text("/severity") == "High", "{:#}", change.0);
    let fence = stage.fence()?;
    ensure!(fence.0["is_alert"] == true, "{:#}", fence.0);
    stage.finish()
}
