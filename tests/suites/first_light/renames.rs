//! Names that move, are exchanged, replace others, or are one of several.

use std::ffi::OsStr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use graven_tests::record::{Expected, Record, activity};

use crate::scene;

#[test]
fn a_rename_into_and_out_of_the_protected_place_has_both_paths() -> Result<()> {
    scene("moved", |scene| {
        let outside = scene.stage().outside("moves")?;
        let actor = scene.actor().clone();
        let rename =
            |from: &Path, to: &Path| actor.act(&[OsStr::new("rename"), from.as_os_str(), to.as_os_str()]);
        std::fs::write(outside.join("comes"), "x")?;
        std::fs::create_dir_all(outside.join("tree/of/folders"))?;
        scene.file("goes")?;
        scene.directory("branch")?;
        for (from, to) in [
            (outside.join("comes"), scene.path("came")),
            (scene.path("goes"), outside.join("gone")),
            (outside.join("tree"), scene.path("tree")),
            (scene.path("branch"), outside.join("branch")),
        ] {
            let acted = rename(&from, &to)?;
            scene.expect(acted, vec![Expected::rename(from, to)]);
        }
        // What came with its directory is protected now, and what went is not.
        let inner = scene.path("tree/of/folders/new");
        let acted = actor.act(&[OsStr::new("mkdir"), inner.as_os_str(), OsStr::new("0755")])?;
        scene.expect(acted, vec![Expected::new("create", activity::CREATE, inner)]);
        let acted =
            actor.act(&[OsStr::new("mkdir"), outside.join("branch/new").as_os_str(), OsStr::new("0755")])?;
        scene.expect(acted, Vec::new());
        Ok(())
    })
}

#[test]
fn a_rename_over_a_file_names_what_was_there() -> Result<()> {
    scene("replaced", |scene| {
        let (from, to) = (scene.file("from")?, scene.file("to")?);
        let acted = scene.actor().act(&[OsStr::new("rename"), from.as_os_str(), to.as_os_str()])?;
        scene.expect(acted.clone(), vec![Expected::rename(&from, &to)]);
        scene.stage().fence()?;
        let records = scene.stage().records(&to)?;
        let own =
            records.iter().find(|record| record.pid() == Some(acted.pid.into())).context("no record")?;
        ensure!(Path::new(own.text("/unmapped/replaced/path")) == to, "{:#}", own.0);
        let inode = |place: &str| own.number(&format!("/unmapped/{place}/inode"));
        ensure!(inode("replaced").is_some() && inode("replaced") != inode("file"), "{:#}", own.0);
        Ok(())
    })
}

#[test]
fn an_exchange_of_two_files_is_one_record_with_both() -> Result<()> {
    scene("exchanged", |scene| {
        let (from, to) = (scene.file("one")?, scene.file("other")?);
        // RENAME_EXCHANGE
        let acted = scene.actor().act(&[
            OsStr::new("renameat2"),
            from.as_os_str(),
            to.as_os_str(),
            OsStr::new("2"),
        ])?;
        scene.stage().fence()?;
        let records = scene.stage().records(scene.folder())?;
        let own: Vec<&Record> =
            records.iter().filter(|record| record.pid() == Some(acted.pid.into())).collect();
        ensure!(own.len() == 1 && own[0].kind() == "rename", "{own:#?}");
        own[0].is_violation_by(&acted, "watched")?;
        ensure!(own[0].0["unmapped"]["exchange"] == true, "{:#}", own[0].0);
        let mut paths = [own[0].path(), own[0].result()];
        paths.sort();
        ensure!(paths == [from, to], "{:#}", own[0].0);
        Ok(())
    })
}

#[test]
fn the_name_by_which_a_linked_file_is_changed_is_the_one_in_the_record() -> Result<()> {
    scene("hard-links", |scene| {
        let (first, second) = (scene.file("first")?, scene.path("second"));
        std::fs::hard_link(&first, &second)?;
        let acted =
            scene.actor().act(&[OsStr::new("open"), second.as_os_str(), OsStr::new("1"), OsStr::new("0")])?;
        scene.expect(acted, vec![Expected::new("open", activity::UPDATE, &second)]);
        // A file from outside, by its name in the protected place.
        let outside = scene.stage().outside("hard-links")?.join("theirs");
        std::fs::write(&outside, "x")?;
        let inside = scene.path("inside");
        std::fs::hard_link(&outside, &inside)?;
        let acted =
            scene.actor().act(&[OsStr::new("open"), inside.as_os_str(), OsStr::new("1"), OsStr::new("0")])?;
        scene.expect(acted, vec![Expected::new("open", activity::UPDATE, &inside)]);
        Ok(())
    })
}

#[test]
fn a_protected_file_that_is_changed_by_a_name_outside_is_a_record() -> Result<()> {
    scene("outside-link", |scene| {
        let file = scene.file("file")?;
        let link = scene.stage().outside("outside-link")?.join("link");
        std::fs::hard_link(&file, &link)?;
        let written = scene.actor().act(&[OsStr::new("append"), link.as_os_str(), OsStr::new("x")])?;
        let changed = scene.actor().act(&[OsStr::new("chmod"), link.as_os_str(), OsStr::new("0600")])?;
        scene.stage().fence()?;
        let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&file)?);
        let records = scene.records(&[])?;
        for acted in [written, changed] {
            let own = records.iter().find(|record| {
                record.pid() == Some(acted.pid.into()) && record.number("/unmapped/file/inode") == Some(inode)
            });
            let own = own.with_context(|| format!("{}: no record names inode {inode}", acted.said))?;
            ensure!(own.0["is_alert"] == true, "{:#}", own.0);
        }
        Ok(())
    })
}
