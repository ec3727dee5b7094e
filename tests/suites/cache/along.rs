//! What is moved along with a directory, and by whom no system call tells.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use graven_tests::actor::Attempt;
use graven_tests::place::Place;
use graven_tests::stage::Stage;
use graven_tests::{missing, sight, skip, words};

use crate::{SUITE, actor};

/// After a move that is not decoded the sensor believes nothing for four seconds, and then what it finds anew.
const BELIEVED_AGAIN: Duration = Duration::from_secs(5);

/// Changes in a directory, so that the sensor remembers what it is.
const OFTEN: &str = "200";

/// The directory was made, and the log has it.
fn is_recorded(stage: &Stage, made: &Path) -> Result<()> {
    let records = stage.records(made)?;
    missing::found(format!("a record of {}", made.display()), records.first()).map(drop)
}

#[test]
fn a_mutable_root_that_moves_along_is_mutable_no_more() -> Result<()> {
    let Some(stage) = Stage::unless_refused(SUITE, || Stage::excepting("along", &["a/cache"]))? else {
        return Ok(());
    };
    let begin = stage.begin()?;
    let [before, after] = ["a", "b"].map(|name| stage.watched().join(name));
    let (ignored, protected) = (before.join("cache/ignored"), after.join("cache/protected"));
    // In one process and without a pause: nobody has time to look.
    actor()?.act(&words![
        "mkdir", ignored, "0755", "then", "rename", before, after, "then", "mkdir", protected, "0755"
    ])?;
    stage.fence()?;
    if sight::of_changes() {
        let told = stage.records(&ignored)?;
        ensure!(told.is_empty(), "what is mutable is recorded: {told:#?}");
    }
    stage.or_lost(begin, is_recorded(&stage, &protected))?;
    stage.finish()
}

#[test]
fn what_takes_the_place_of_a_protected_directory_that_moved_along_is_protected() -> Result<()> {
    let mut place = Place::new("above")?;
    let [before, after] = ["app", "away"].map(|name| place.join(name));
    let root = before.join("conf");
    std::fs::create_dir_all(&root)?;
    let Some(stage) = Stage::unless_refused(SUITE, || Stage::guarding("above", &[&root]))? else {
        place.done();
        return Ok(());
    };
    let begin = stage.begin()?;
    let first = root.join("first");
    actor()?.act(&words![
        "rename", before, after, "then", "mkdir", before, "0755", "then", "mkdir", root, "0755", "then",
        "mkdir", first, "0755"
    ])?;
    stage.fence()?;
    stage.or_lost(begin, is_recorded(&stage, &first))?;
    stage.finish()?;
    place.done();
    Ok(())
}

#[test]
fn what_io_uring_moves_into_a_protected_place_is_protected_for_good() -> Result<()> {
    let Some(stage) = Stage::unless_refused(SUITE, || Stage::start("uring"))? else { return Ok(()) };
    let begin = stage.begin()?;
    let before = stage.outside("busy")?.join("moves");
    let after = stage.watched().join("moves");
    std::fs::create_dir(&before)?;
    actor()?.act(&words!["storm", before, OFTEN, "100000"])?;
    let request = words!["--uring", "plain", "renameat", before, after, "0"];
    if let Attempt::Lacking(why) = actor()?.attempt(&request)? {
        skip::say(&format!("{SUITE}::io_uring"), &why);
        return stage.finish();
    }
    sleep(BELIEVED_AGAIN);
    let later = after.join("later");
    actor()?.act(&words!["mkdir", later, "0755"])?;
    stage.fence()?;
    stage.or_lost(begin, is_recorded(&stage, &later))?;
    stage.finish()
}
