//! Something is put over a protected place by another name than its own: the mount table has the true one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use graven_tests::actor::Acted;
use graven_tests::record::Record;
use graven_tests::scene::Scene;
use graven_tests::wait::until_within;
use graven_tests::words;

use crate::{scene, skipped};

const BIND: &str = "0x1000";
const SHARED: &str = "0x100000";
const NEW_NAMESPACE: &str = "0x20000";
/// MNT_DETACH
const DETACH: &str = "2";
/// The agent looks at the table when it sees a call, and waits half a second for the calls that may have named a place.
const LOOKED: Duration = Duration::from_secs(20);

/// Calls of this time count: who mounted is known where nobody else did.
const REMEMBERED: Duration = Duration::from_secs(6);

/// One of these at a time, and what the other did is forgotten.
static TURN: Mutex<()> = Mutex::new(());

fn alone(name: &str, test: impl FnOnce(&mut Scene<'_>) -> Result<()>) -> Result<()> {
    if !is_host() {
        skipped("mounts", "the tests run in a mount namespace of their own");
        return Ok(());
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::sleep(REMEMBERED);
    scene(name, test)
}

/// Whether these tests' mounts are the host's.
fn is_host() -> bool {
    let of = |path: &str| std::fs::read_link(path).ok();
    of("/proc/1/ns/mnt") == of("/proc/self/ns/mnt")
}

/// A directory below the protected one, and one that is mutable.
fn places(scene: &Scene<'_>, name: &str) -> Result<(PathBuf, PathBuf)> {
    Ok((scene.directory(name)?, scene.stage().outside(name)?))
}

/// Taken off again, whatever became of the test.
struct Mounted<'a> {
    scene: &'a Scene<'a>,
    place: PathBuf,
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.scene.actor().act(&words!["umount2", self.place, DETACH]) {
            eprintln!("{} is still mounted: {error:#}", self.place.display());
        }
    }
}

/// The record of a mount at a place that is certain.
fn told(scene: &Scene<'_>, kind: &str, place: &Path) -> Result<Record> {
    let filters: &[OsString] = &words!["--kind", "mount", "--path", place];
    until_within(LOOKED, &format!("the {kind} of {}", place.display()), || {
        let records = scene.records(filters)?;
        let is_it = |record: &Record| {
            record.text("/unmapped/mount/kind") == kind && record.text("/unmapped/outcome") == "success"
        };
        Ok(records.into_iter().find(is_it))
    })
}

fn is_violation(record: &Record, acted: &Acted) -> Result<()> {
    ensure!(record.0["is_alert"] == true && record.text("/severity") == "High", "{:#}", record.0);
    ensure!(record.pid() == Some(acted.pid.into()), "not by {}: {:#}", acted.pid, record.0);
    Ok(())
}

#[test]
fn a_mount_by_a_symbolic_link_is_told_by_where_it_is() -> Result<()> {
    alone("mount-link", |scene| {
        let (place, evil) = places(scene, "linked")?;
        let link = evil.with_file_name("link-to-it");
        std::os::unix::fs::symlink(&place, &link)?;
        let acted = scene.actor().act(&words!["mount", evil, link, "NULL", BIND, "NULL"])?;
        let mounted = Mounted { scene, place: place.clone() };
        is_violation(&told(scene, "bind", &place)?, &acted)?;
        drop(mounted);
        Ok(())
    })
}

#[test]
fn a_mount_that_comes_from_another_namespace_is_told() -> Result<()> {
    alone("mount-spreads", |scene| {
        let (area, _) = places(scene, "area")?;
        let place = area.join("place");
        std::fs::create_dir(&place)?;
        scene.actor().act(&words![
            "mount", area, area, "NULL", BIND, "NULL", "then", "mount", "NULL", area, "NULL", SHARED, "NULL"
        ])?;
        let outer = Mounted { scene, place: area.clone() };
        // What the first calls did is no part of this.
        std::thread::sleep(REMEMBERED);
        let acted = scene.actor().act(&words![
            "unshare",
            NEW_NAMESPACE,
            "then",
            "mount",
            "none",
            place,
            "tmpfs",
            "0",
            "NULL"
        ])?;
        let inner = Mounted { scene, place: place.clone() };
        is_violation(&told(scene, "mount", &place)?, &acted)?;
        drop(inner);
        drop(outer);
        Ok(())
    })
}
