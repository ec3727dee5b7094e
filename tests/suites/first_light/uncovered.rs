//! Entries into the kernel that are not decoded, and calls that never ran.

use std::ffi::OsStr;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use graven_tests::actor::Acted;
use graven_tests::record::{Expected, FILE, Record, activity};
use graven_tests::scene::Scene;
use graven_tests::skip;

use crate::scene;

/// Of a process that used an entry which is not decoded: one record that says so, and the changes by inode.
fn uncovered(scene: &Scene<'_>, acted: &Acted, entry: &str, changed: &[PathBuf]) -> Result<()> {
    scene.stage().fence()?;
    let mut records = scene.stage().central.events::<&str>(&[])?;
    records.retain(|record| record.pid() == Some(acted.pid.into()));
    let said: Vec<&Record> = records.iter().filter(|record| record.kind() == "uncovered").collect();
    ensure!(said.len() == 1, "{}: {} uncovered records: {said:#?}", acted.said, said.len());
    ensure!(said[0].text("/unmapped/entry") == entry, "{:#}", said[0].0);
    said[0].is_by(acted)?;
    for path in changed {
        let of_path: Vec<&Record> =
            records.iter().filter(|record| record.class() == FILE && record.path() == *path).collect();
        ensure!(of_path.len() == 1, "{} records of {}: {of_path:#?}", of_path.len(), path.display());
        Expected::new("modify", activity::UPDATE, path).is(of_path[0], acted)?;
    }
    Ok(())
}

#[test]
fn a_process_that_uses_the_32_bit_entry_is_said_once_and_its_changes_are_records() -> Result<()> {
    scene("compat", |scene| {
        let files = [scene.file("one")?, scene.file("two")?];
        let words = [OsStr::new("compat-unlink"), files[0].as_os_str(), files[1].as_os_str()];
        let acted = match scene.actor().act(&words) {
            Err(error) if format!("{error:#}").contains("SIG") => {
                skip::say("first_light::compat", "the kernel has no 32-bit entry");
                return Ok(());
            }
            acted => acted?,
        };
        uncovered(scene, &acted, "compat", &files)?;
        let idle = scene.actor().act(&["compat-pid", "5"])?;
        uncovered(scene, &idle, "compat", &[])
    })
}

#[test]
fn a_process_that_uses_io_uring_is_said_once_and_its_changes_are_records() -> Result<()> {
    scene("uring", |scene| {
        let files = [scene.file("one")?, scene.file("two")?];
        let words = [OsStr::new("uring-unlink"), files[0].as_os_str(), files[1].as_os_str()];
        let acted = scene.actor().act(&words)?;
        ensure!(!files[0].exists() && !files[1].exists());
        uncovered(scene, &acted, "io-uring", &files)?;
        let idle = scene.actor().act(&["uring-nothing", "3"])?;
        uncovered(scene, &idle, "io-uring", &[])
    })
}

#[test]
fn a_call_that_a_filter_answers_in_the_kernels_place_is_reported_and_not_a_success() -> Result<()> {
    scene("faked", |scene| {
        let file = scene.file("file")?;
        let acted = scene.actor().act(&[OsStr::new("faked-unlink"), file.as_os_str()])?;
        ensure!(file.exists());
        scene.stage().fence()?;
        let mut records = scene.stage().records(&file)?;
        records.retain(|record| record.pid() == Some(acted.pid.into()));
        ensure!(records.len() == 1 && records[0].kind() == "unlink", "{records:#?}");
        ensure!(records[0].text("/unmapped/outcome") == "reported", "{:#}", records[0].0);
        ensure!(records[0].number("/status_id") == Some(99), "{:#}", records[0].0);
        ensure!(records[0].text("/unmapped/file/path_source") == "argument", "{:#}", records[0].0);
        records[0].is_violation_by(&acted, "watched")
    })
}
