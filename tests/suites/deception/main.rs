//! Whoever wants to change a protected place unseen: by names that lead elsewhere, by answers that are not the
//! kernel's, by changes behind the call's back. In each test what really changed is in the log under its real
//! path, and what is only claimed says `reported`.

mod names;
mod races;
mod claims;
mod depths;
mod mounts;

use anyhow::{Result, bail, ensure};
use graven_tests::actor::{Acted, Actor};
use graven_tests::missing;
use graven_tests::record::Record;
use graven_tests::scene::Scene;
use graven_tests::shared::on_stage;
use graven_tests::{sight, skip};

const SUITE: &str = "deception";

fn actor() -> Result<Actor> {
    Actor::new(env!("CARGO_BIN_EXE_graven-actor"))
}

/// Left out by name.
fn skipped(what: &str, why: &str) {
    skip::say(&format!("{SUITE}::{what}"), why);
}

/// A test in a directory of its own; what it expects is compared at the end.
fn scene(name: &str, test: impl FnOnce(&mut Scene<'_>) -> Result<()>) -> Result<()> {
    on_stage(SUITE, |stage| {
        let mut scene = Scene::new(stage, name, &actor()?)?;
        let done = test(&mut scene);
        scene.or_lost(done)?;
        scene.check()
    })
}

/// The same where a change is confirmed by the inode: without that, a name is whatever the caller says, and the record
/// says whose word it is.
fn true_scene(name: &str, test: impl FnOnce(&mut Scene<'_>) -> Result<()>) -> Result<()> {
    if skip::needs_root(SUITE) {
        return Ok(());
    }
    if !sight::of_changes() {
        skipped("true_names", "nothing on this kernel says which inode changed");
        return Ok(());
    }
    scene(name, test)
}

/// Everything about files by a process, once all has arrived.
fn records(scene: &Scene<'_>, acted: &Acted) -> Result<Vec<Record>> {
    scene.stage().fence()?;
    let mut records = scene.records(&[])?;
    records.retain(|record| {
        record.pid() == Some(acted.pid.into()) && record.class() == graven_tests::record::FILE
    });
    Ok(records)
}

/// Whether something confirms that it really happened. What does not say so only claims it: what would confirm it is
/// missing, and its name may be the caller's, of a place that is not protected.
fn is_confirmed(record: &Record) -> Result<bool> {
    match record.text("/unmapped/outcome") {
        "success" => {
            ensure!(record.text("/unmapped/file/path_source") != "argument", "{:#}", record.0);
            ensure!(record.0["is_alert"] == true, "{:#}", record.0);
            Ok(true)
        }
        "reported" => Ok(false),
        _ => bail!("neither confirmed nor claimed: {:#}", record.0),
    }
}

/// It must be confirmed.
fn ensure_true(record: &Record) -> Result<()> {
    missing::none("confirmed", (!is_confirmed(record)?).then_some(record))
}
