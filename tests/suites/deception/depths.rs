//! Places without a name: too deep for any path, or no longer known by one.

use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

use anyhow::{Result, ensure};
use graven_tests::{missing, words};

use crate::{records, scene, skipped, true_scene};

#[test]
fn a_file_deeper_than_any_path_can_say_is_recorded_and_its_path_marked_as_cut() -> Result<()> {
    const LEVELS: usize = 200;
    scene("deep", |scene| {
        let actor = scene.actor().within(scene.folder());
        let name = "d".repeat(100);
        let acted = actor.act(&words![
            "descend",
            name,
            LEVELS.to_string(),
            "then",
            "creat",
            "bottom",
            "0600",
            "then",
            "chmod",
            "bottom",
            "0640",
            "then",
            "unlink",
            "bottom"
        ])?;
        let records = records(scene, &acted)?;
        let at_bottom: Vec<_> = records.iter().filter(|record| record.path().ends_with("bottom")).collect();
        let kinds: Vec<&str> = at_bottom.iter().map(|record| record.kind()).collect();
        for record in &at_bottom {
            ensure!(record.0["unmapped"]["file"]["path_cut"] == true, "{:#}", record.0);
            ensure!(record.0["is_alert"] == true, "{:#}", record.0);
        }
        // The directories on the way too, each of them.
        let made = records.iter().filter(|record| record.kind() == "create").count();
        ensure!(made <= LEVELS, "{made} of {LEVELS} directories");
        let wanted = ["open", "attr", "unlink"];
        let present: Vec<&str> = wanted.into_iter().filter(|kind| kinds.contains(kind)).collect();
        ensure!(kinds == present, "{kinds:?} {records:#?}");
        let lacking = wanted.iter().filter(|kind| !kinds.contains(kind));
        missing::all([
            missing::none("directories", made..LEVELS),
            missing::none(&format!("at the bottom, of {kinds:?}"), lacking),
        ])
    })
}

#[test]
fn a_file_that_is_opened_by_its_handle_when_no_name_of_it_is_in_memory_is_recorded() -> Result<()> {
    true_scene("handle", |scene| {
        let folder = scene.directory("folder")?;
        let file = folder.join("file");
        std::fs::write(&file, "before\n")?;
        let inode = file.metadata()?.ino();
        // What is dirty is not dropped.
        rustix::fs::sync();
        let words = words!["handle-of", file, "then", "drop-names", "then", "append-by-handle", "after\n"];
        let acted = match scene.actor().act_on(Stdio::piped(), &words) {
            Ok(acted) => acted,
            Err(error) => {
                skipped("disconnected", &format!("names cannot be dropped here: {error:#}"));
                return Ok(());
            }
        };
        let shown = String::from_utf8(acted.told.clone())?;
        if shown.trim_end() == file.to_string_lossy() {
            skipped("disconnected", "the file's name stayed in memory");
            return Ok(());
        }
        let records = records(scene, &acted)?;
        missing::all(["open", "modify"].map(|kind| {
            let own = records
                .iter()
                .find(|record| record.kind() == kind && record.number("/unmapped/file/inode") == Some(inode));
            let own = missing::found(format_args!("{kind} of inode {inode} in {records:#?}"), own)?;
            ensure!(own.text("/unmapped/outcome") == "success", "{:#}", own.0);
            ensure!(own.0["is_alert"] == true, "{:#}", own.0);
            Ok(())
        }))
    })
}

#[test]
fn a_protected_file_that_is_changed_by_a_name_outside_is_recorded_though_its_own_is_not_in_memory()
-> Result<()> {
    true_scene("outside", |scene| {
        let file = scene.file("file")?;
        let link = scene.stage().outside("outside")?.join("link");
        std::fs::hard_link(&file, &link)?;
        let inode = file.metadata()?.ino();
        rustix::fs::sync();
        let acted = match scene.actor().act(&words!["drop-names", "then", "append", link, "after\n"]) {
            Ok(acted) => acted,
            Err(error) => {
                skipped("disconnected", &format!("names cannot be dropped here: {error:#}"));
                return Ok(());
            }
        };
        let records = records(scene, &acted)?;
        let own: Vec<_> =
            records.iter().filter(|record| record.number("/unmapped/file/inode") == Some(inode)).collect();
        missing::found(format_args!("inode {inode} in {records:#?}"), own.first())?;
        ensure!(own.iter().all(|record| record.0["is_alert"] == true), "{own:#?}");
        Ok(())
    })
}
