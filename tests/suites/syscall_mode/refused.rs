//! What the kernel refused: recorded under the caller's name, and folded when it is tried again and again.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use graven_tests::actor::NOBODY;
use graven_tests::calls::Entry;
use graven_tests::record::{Expected, activity};
use graven_tests::scene::Scene;
use graven_tests::wait::until;
use graven_tests::words;

use crate::scene;

/// EACCES, EROFS, ETXTBSY
const DENIED: &str = "13";
const READ_ONLY: &str = "30";
const BUSY: &str = "26";
/// EPERM
const NOT_PERMITTED: &str = "1";

/// A directory that only root may change, with a file in it that only root may.
fn closed(scene: &Scene<'_>, name: &str) -> Result<(PathBuf, PathBuf)> {
    let folder = scene.directory(name)?;
    let file = folder.join("file");
    std::fs::write(&file, "before\n")?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644))?;
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755))?;
    Ok((folder, file))
}

#[test]
fn each_refused_change_is_recorded_by_its_kind() -> Result<()> {
    scene("refused", |scene| {
        let (folder, file) = closed(scene, "closed")?;
        let new = folder.join("new");
        let create = || Expected::new("create", activity::CREATE, &new);
        let attr = |activity| Expected::new("attr", activity, &file);
        let theirs = scene.path("theirs");
        std::fs::write(&theirs, "x")?;
        let attempts = [
            (DENIED, words!["open", file, "1", "0"].to_vec(), Expected::new("open", activity::UPDATE, &file)),
            (
                DENIED,
                words!["openat", file, "01002", "0"].to_vec(),
                Expected::new("open", activity::UPDATE, &file),
            ),
            (DENIED, words!["mkdir", new, "0755"].to_vec(), create()),
            (DENIED, words!["symlink", "text", new].to_vec(), create()),
            (DENIED, words!["rename", file, new].to_vec(), Expected::rename(&file, &new)),
            (DENIED, words!["unlink", file].to_vec(), Expected::new("unlink", activity::DELETE, &file)),
            (
                DENIED,
                words!["truncate", file, "0"].to_vec(),
                Expected::new("truncate", activity::UPDATE, &file),
            ),
            (NOT_PERMITTED, words!["chmod", file, "0666"].to_vec(), attr(activity::SECURITY)),
            (NOT_PERMITTED, words!["chown", file, "1", "1"].to_vec(), attr(activity::SECURITY)),
            (DENIED, words!["utime", file, "0"].to_vec(), attr(activity::ATTRIBUTES)),
            (
                DENIED,
                words!["setxattr", file, "user.graven", "value", "0"].to_vec(),
                attr(activity::ATTRIBUTES),
            ),
        ];
        let nobody = scene.actor().as_user(NOBODY);
        for (error, words, expected) in attempts {
            let call = words[0].to_string_lossy().into_owned();
            let words = [words!["--error", error].to_vec(), words].concat();
            scene.act_by(&nobody, &words, vec![expected.refused().by("native", call)])?;
        }
        Ok(())
    })
}

#[test]
fn a_call_that_fails_because_of_what_is_there_changes_nothing_and_is_no_record() -> Result<()> {
    /// EEXIST, ENOTDIR, EISDIR, ENOTEMPTY
    const EXISTS: &str = "17";
    const NO_DIRECTORY: &str = "20";
    const A_DIRECTORY: &str = "21";
    const NOT_EMPTY: &str = "39";
    scene("failed", |scene| {
        let (full, other, file) = (scene.directory("full")?, scene.directory("other")?, scene.file("file")?);
        std::fs::write(full.join("in it"), "x")?;
        let attempts = [
            (NOT_EMPTY, words!["rmdir", full].to_vec()),
            (NOT_EMPTY, words!["rename", other, full].to_vec()),
            (A_DIRECTORY, words!["unlink", full].to_vec()),
            (NO_DIRECTORY, words!["rmdir", file].to_vec()),
            (EXISTS, words!["mkdir", other, "0755"].to_vec()),
        ];
        for (error, words) in attempts {
            scene.act(&[words!["--error", error].to_vec(), words].concat(), Vec::new())?;
        }
        // In one process with a change that is made: nothing of those before is told with it.
        let words = words!["--error", NOT_EMPTY, "rmdir", full, "then", "unlink", file];
        scene.act(&words, vec![Expected::new("unlink", activity::DELETE, &file)])
    })
}

fn refused_by(entry: Entry) -> Result<()> {
    scene(&format!("refused-{entry}"), |scene| {
        let (_, file) = closed(scene, "closed")?;
        let nobody = scene.actor().as_user(NOBODY).by(entry);
        let words: &[OsString] = &words!["--error", DENIED, "unlink", file];
        let expected = Expected::new("unlink", activity::DELETE, &file).refused().by(entry.name(), "unlink");
        match nobody.attempt(words)? {
            graven_tests::actor::Attempt::Made(acted) => scene.expect(acted, vec![expected]),
            graven_tests::actor::Attempt::Lacking(why) => crate::skipped(entry.name(), &why),
        }
        Ok(())
    })
}

#[test]
fn by_the_32_bit_entry_a_refusal_is_recorded_too() -> Result<()> {
    refused_by(Entry::Compat)
}

#[test]
fn by_x32_a_refusal_is_recorded_too() -> Result<()> {
    refused_by(Entry::X32)
}

#[test]
fn a_change_on_a_read_only_mount_is_recorded_as_refused() -> Result<()> {
    scene("read-only", |scene| {
        let place = scene.directory("place")?;
        let file = place.join("file");
        std::fs::write(&file, "before\n")?;
        let acted = scene.actor().act(&words![
            "private", "then", "mount", place, place, "NULL", "4096", "NULL", "then", "mount", "NULL", place,
            "NULL", "4129", "NULL", "then", "--error", READ_ONLY, "unlink", file, "then", "--error",
            READ_ONLY, "open", file, "1", "0",
        ])?;
        scene.stage().fence()?;
        let mut records = scene.stage().records(&place)?;
        records.retain(|record| record.pid() == Some(acted.pid.into()) && record.kind() != "mount");
        let [unlink, open] = records.as_slice() else {
            anyhow::bail!("{} records of two refusals: {records:#?}", records.len());
        };
        Expected::new("unlink", activity::DELETE, &file).refused().is(unlink, &acted)?;
        Expected::new("open", activity::UPDATE, &file).refused().is(open, &acted)
    })
}

#[test]
fn a_running_program_that_is_opened_for_writing_is_recorded_as_refused() -> Result<()> {
    scene("busy", |scene| {
        let program = scene.path("program");
        scene.actor().copy_to(&program)?;
        let mut run = std::process::Command::new(&program);
        run.args([OsStr::new("--error"), OsStr::new(BUSY), OsStr::new("open")]);
        run.arg(&program).args(["1", "0"]);
        let acted = scene.actor().run(run)?;
        scene.expect(acted, vec![Expected::new("open", activity::UPDATE, &program).refused()]);
        Ok(())
    })
}

#[test]
fn refusals_of_one_kind_in_one_directory_are_folded_and_none_is_forgotten() -> Result<()> {
    const TRIES: usize = 200;
    scene("folded", |scene| {
        let (_, file) = closed(scene, "closed")?;
        let mut words = words!["--error", DENIED, "open", file, "1", "0"].to_vec();
        for _ in 1..TRIES {
            words.extend(words!["then", "--error", DENIED, "open", file, "1", "0"]);
        }
        let acted = scene.actor().as_user(NOBODY).act(&words)?;
        let mut last = (0, 0);
        // The first is told at once, those that follow when they have been counted for a while.
        let told = until("the records of all refusals", || {
            let mut own = scene.stage().records(&file)?;
            own.retain(|record| record.pid() == Some(acted.pid.into()));
            for record in &own {
                ensure!(record.kind() == "open", "{:#}", record.0);
                ensure!(record.text("/unmapped/outcome") == "refused", "{:#}", record.0);
            }
            let calls = own.iter().map(|record| 1 + record.number("/unmapped/folded").unwrap_or_default());
            last = (own.len(), calls.sum::<u64>());
            Ok((last.1 >= TRIES as u64).then_some(last))
        });
        let (records, calls) = told.with_context(|| format!("{} records of {} refusals", last.0, last.1))?;
        ensure!(calls == TRIES as u64, "{calls} refusals are told of {TRIES}");
        ensure!(records < TRIES / 10, "{records} records of {TRIES} refusals");
        Ok(())
    })
}
