//! Whoever wants to change a protected place unseen: by names that lead elsewhere, by answers that are not the
//! kernel's, by changes behind the call's back. In each test what really changed is in the log under its real
//! path, and what is only claimed says `reported`.

mod names;
mod races;
mod claims;
mod depths;

use anyhow::{Result, ensure};
use graven_tests::actor::{Acted, Actor};
use graven_tests::record::Record;
use graven_tests::scene::{Missing, Scene};
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

/// The same where changes are seen by inode: without that, a name is whatever the caller says, and the record
/// says whose word it is.
fn true_scene(name: &str, test: impl FnOnce(&mut Scene<'_>) -> Result<()>) -> Result<()> {
    if skip::needs_root(SUITE) {
        return Ok(());
    }
    if !sight::of_changes() {
        skipped("true_names", "this kernel has no inode-time tracepoints");
        return Ok(());
    }
    scene(name, test)
}

/// Everything about files by a process, once all has arrived.
fn records(scene: &Scene<'_>, acted: &Acted) -> Result<Vec<Record>> {
    scene.stage().fence()?;
    let mut records = scene.stage().central.events::<&str>(&[])?;
    records.retain(|record| {
        record.pid() == Some(acted.pid.into()) && record.class() == graven_tests::record::FILE
    });
    Ok(records)
}

/// The record of a change that is not named by a kind of its own must say that it really happened.
fn ensure_true(record: &Record) -> Result<()> {
    let confirmed = record.text("/unmapped/outcome") == "success"
        && record.text("/unmapped/file/path_source") != "argument";
    if !confirmed {
        // What would confirm it may have been skipped by the kernel, which is counted.
        return Err(Missing(format!("nothing confirms it: {:#}", record.0)).into());
    }
    ensure!(record.0["is_alert"] == true, "{:#}", record.0);
    Ok(())
}
