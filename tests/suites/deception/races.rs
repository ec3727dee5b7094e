//! What another thread does during a call.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use graven_tests::{missing, words};

use crate::{is_confirmed, records, true_scene};

/// What lies in a directory.
fn listed(folder: &Path) -> Result<BTreeSet<PathBuf>> {
    std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

/// What is told was made, and what was made is told.
fn all_and_no_others(told: &BTreeSet<PathBuf>, made: &BTreeSet<PathBuf>) -> Result<()> {
    let untrue: Vec<_> = told.difference(made).take(3).collect();
    ensure!(untrue.is_empty(), "recorded and never made: {untrue:?}…");
    missing::none("of what was made", made.difference(told))
}

#[test]
fn a_name_that_changes_during_the_call_is_recorded_as_the_one_that_was_taken() -> Result<()> {
    const CALLS: usize = 4_000;
    true_scene("flicker", |scene| {
        // One letter apart from the protected directory.
        let other = scene.stage().outside("witched")?.join("flicker");
        std::fs::create_dir(&other)?;
        let here = scene.folder().to_owned();
        let acted = scene.actor().act(&words!["flicker", here, other, "0", CALLS.to_string()])?;
        let (inside, outside) = (listed(&here)?, listed(&other)?);
        ensure!(inside.len() + outside.len() == CALLS, "{} and {} of {CALLS}", inside.len(), outside.len());
        ensure!(!inside.is_empty(), "no call took the protected name");
        let (mut told, mut claimed, mut mixed) = (BTreeSet::new(), Vec::new(), Vec::new());
        for record in records(scene, &acted)? {
            // Of a call whose end was not seen, what it changed is told with the next one: as changed, or with a name
            // that nobody would have recorded.
            if record.kind() == "modify" || outside.contains(&record.path()) {
                let path = record.path();
                ensure!(path == here || inside.contains(&path) || outside.contains(&path), "{:#}", record.0);
                mixed.push(record);
                continue;
            }
            ensure!(record.kind() == "create", "{:#}", record.0);
            if is_confirmed(&record)? {
                ensure!(told.insert(record.path()), "twice: {:#}", record.0);
            } else {
                claimed.push(record);
            }
        }
        all_and_no_others(&told, &inside)?;
        missing::none("confirmed", claimed)?;
        missing::none("told with their own call", mixed)
    })
}

#[test]
fn a_descriptor_that_is_exchanged_during_the_call_does_not_hide_the_file() -> Result<()> {
    const CALLS: usize = 3_000;
    true_scene("swapped", |scene| {
        let (folder, benign) = (scene.directory("files")?, scene.file("benign")?);
        let acted = scene.actor().act(&words!["swap", folder, benign, CALLS.to_string()])?;
        let made = listed(&folder)?;
        ensure!(made.len() == CALLS, "{} files of {CALLS}", made.len());
        let records = records(scene, &acted)?;
        // The actor opens the other file itself, once. Of no other open is it said that it was of this file.
        let believed = records.iter().filter(|record| {
            record.path() == benign
                && record.kind() == "open"
                && record.text("/unmapped/outcome") == "success"
        });
        let believed = believed.count();
        ensure!(believed < 2, "the file that was put in place of the others is said to be opened by them");
        let (mut told, mut claimed) = (BTreeSet::new(), Vec::new());
        for record in records.into_iter().filter(|record| record.path() != benign) {
            // Where the descriptor was exchanged, there is only what changed: a name was made.
            ensure!(["open", "create", "modify"].contains(&record.kind()), "{:#}", record.0);
            match is_confirmed(&record)? {
                true => drop(told.insert(record.path())),
                false => claimed.push(record),
            }
        }
        told.remove(&folder);
        all_and_no_others(&told, &made)?;
        missing::none("confirmed", claimed)?;
        missing::none("opens of the other file by the actor itself", believed..1)
    })
}

#[test]
fn an_open_whose_descriptor_is_exchanged_for_a_harmless_one_is_recorded() -> Result<()> {
    const CALLS: usize = 5_000;
    true_scene("exchanged", |scene| {
        let file = scene.file("file")?;
        // Only for reading, and not in a protected place: nothing about it would ever be recorded.
        let benign = scene.stage().outside("exchanged")?.join("benign");
        std::fs::write(&benign, "x")?;
        let acted = scene.actor().act(&words!["swap-open", file, benign, CALLS.to_string()])?;
        let opens = records(scene, &acted)?;
        let opens: Vec<_> = opens.iter().filter(|record| record.kind() == "open").collect();
        for open in &opens {
            ensure!(open.path() == file, "{:#}", open.0);
            let source = open.text("/unmapped/file/path_source");
            match open.text("/unmapped/outcome") {
                "success" => ensure!(source == "file" || source == "inode", "{:#}", open.0),
                outcome => ensure!(outcome == "reported" && source == "argument", "{:#}", open.0),
            }
        }
        ensure!(opens.len() <= CALLS, "{} of {CALLS} opens are recorded", opens.len());
        missing::none("opens", opens.len()..CALLS)
    })
}
