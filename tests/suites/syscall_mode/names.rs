//! Names that are made, removed and moved.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use graven_tests::actor::Acted;
use graven_tests::calls::Entry;
use graven_tests::missing;
use graven_tests::record::{Expected, FILE, Record, activity};
use graven_tests::scene::Scene;
use graven_tests::words;

use crate::{Take, actor, lacks, on_each_ground, skipped};

/// AT_REMOVEDIR
const REMOVE_DIRECTORY: &str = "0x200";

fn created(kind: &str, path: &Path) -> Expected {
    Expected::new("create", activity::CREATE, path).with("/unmapped/create/kind", kind)
}

pub(crate) fn a_directory_or_node_that_is_made_is_a_creation_of_its_kind(
    take: &mut Take<'_, '_>,
) -> Result<()> {
    for call in ["mkdir", "mkdirat"] {
        let new = take.scene.path(call);
        take.one(call, &words![new, "0755"], created("directory", &new))?;
    }
    // A FIFO, and a device: /dev/null's numbers.
    for (call, mode, device) in [("mknod", "010644", "0"), ("mknodat", "020600", "259")] {
        let new = take.scene.path(call);
        take.one(call, &words![new, mode, device], created("node", &new))?;
    }
    Ok(())
}

pub(crate) fn a_symbolic_link_is_recorded_with_its_text(take: &mut Take<'_, '_>) -> Result<()> {
    for (call, text) in [("symlink", "/etc/shadow"), ("symlinkat", "../no where")] {
        let new = take.scene.path(call);
        take.one(call, &words![text, new], created("symlink", &new).with("/unmapped/create/target", text))?;
    }
    Ok(())
}

pub(crate) fn a_hard_link_is_recorded_with_the_name_the_file_had(take: &mut Take<'_, '_>) -> Result<()> {
    let linked = |old: &Path, new: &Path| {
        created("link", new).seen_with("/unmapped/create/from/path", old.to_string_lossy().as_ref())
    };
    let (old, new) = (take.scene.file("link-old")?, take.scene.path("link-new"));
    take.one("link", &words![old, new], linked(&old, &new))?;
    let (old, new) = (take.scene.file("linkat-old")?, take.scene.path("linkat-new"));
    take.one("linkat", &words![old, new, "0"], linked(&old, &new))?;
    // AT_SYMLINK_FOLLOW: the file behind a symbolic link, by its own name.
    let (old, new) = (take.scene.file("followed")?, take.scene.path("follows"));
    let pointer =
        take.scene.stage().outside(&format!("{}-{:?}", take.entry, take.scene.ground()))?.join("pointer");
    std::os::unix::fs::symlink(&old, &pointer)?;
    take.one("linkat", &words![pointer, new, "0x400"], linked(&old, &new))
}

pub(crate) fn a_bound_socket_is_a_creation(take: &mut Take<'_, '_>) -> Result<()> {
    let new = take.scene.path("bound");
    take.scene.act(&words!["bind-path", new], vec![created("socket", &new).by(take.entry.name(), "bind")])?;
    if take.is_compat() {
        let new = take.scene.path("called");
        let expected = created("socket", &new).by("compat", "socketcall");
        take.scene.act(&words!["socketcall-bind", new], vec![expected])?;
    }
    Ok(())
}

pub(crate) fn a_removed_name_is_a_deletion(take: &mut Take<'_, '_>) -> Result<()> {
    let gone = |path: &Path| Expected::new("unlink", activity::DELETE, path);
    let file = take.scene.file("file")?;
    take.one("unlink", &words![file], gone(&file))?;
    let directory = take.scene.directory("directory")?;
    take.one("rmdir", &words![directory], gone(&directory))?;
    let file = take.scene.file("file-at")?;
    take.one("unlinkat", &words![file, "0"], gone(&file))?;
    let directory = take.scene.directory("directory-at")?;
    take.one("unlinkat", &words![directory, REMOVE_DIRECTORY], gone(&directory))
}

pub(crate) fn a_rename_has_both_names(take: &mut Take<'_, '_>) -> Result<()> {
    for (call, more) in [("rename", None), ("renameat", None), ("renameat2", Some("0"))] {
        let (from, to) = (take.scene.file(&format!("{call}-from"))?, take.scene.path(&format!("{call}-to")));
        let mut operands = words![from, to].to_vec();
        operands.extend(more.map(OsString::from));
        take.one(call, &operands, Expected::rename(&from, &to))?;
    }
    // RENAME_NOREPLACE
    let (from, to) = (take.scene.directory("tree")?, take.scene.path("moved"));
    take.one("renameat2", &words![from, to, "1"], Expected::rename(&from, &to))?;
    let (from, over) = (take.scene.file("new")?, take.scene.file("replaced")?);
    let path = over.to_string_lossy().into_owned();
    take.one(
        "rename",
        &words![from, over],
        Expected::rename(&from, &over).seen_with("/unmapped/replaced/path", path),
    )
}

/// A file with four names in one directory, all in memory.
fn many(scene: &Scene<'_>) -> Result<[PathBuf; 4]> {
    let names = ["a", "b", "c", "d"].map(|name| scene.path(name));
    std::fs::write(&names[0], "x")?;
    for name in &names[1..] {
        std::fs::hard_link(&names[0], name)?;
    }
    names.iter().try_for_each(|name| name.metadata().map(drop))?;
    Ok(names)
}

/// The one record of this kind by a process; beside it there may be some of the file under its other names. Of a call
/// whose end was not seen there is only what it changed at `names`.
fn one_beside_others(
    scene: &Scene<'_>,
    acted: &Acted,
    kind: &str,
    names: &[&PathBuf],
    others: &[&PathBuf],
) -> Result<Record> {
    let mut records = scene.records(&[])?;
    records.retain(|record| record.pid() == Some(acted.pid.into()) && record.class() == FILE);
    let (beside, own): (Vec<_>, Vec<_>) = records.into_iter().partition(|record| record.kind() == "modify");
    let (beside, left): (Vec<_>, Vec<_>) =
        beside.into_iter().partition(|record| others.contains(&&record.path()));
    if let Some(wrong) = left.iter().find(|record| !record.is_left_of(names.iter().copied())) {
        bail!("{}: {:#}", acted.said, wrong.0);
    }
    let own = missing::only(&format!("{}: {kind}, beside {beside:#?}", acted.said), own)?;
    ensure!(own.kind() == kind, "{}: {:#}", acted.said, own.0);
    missing::none(&format!("{}: told with its own call", acted.said), left)?;
    Ok(own)
}

fn of_several_names(entry: Entry) -> Result<()> {
    let actor = actor()?.by(entry);
    if let Some(why) = lacks(entry, &actor)? {
        skipped(entry.name(), why);
        return Ok(());
    }
    on_each_ground(&format!("{entry}-several"), &actor, |scene| {
        let [a, b, c, d] = many(scene)?;
        let to = scene.file("to")?;
        // From the middle, the end and the beginning.
        let steps = [(&c, vec![&a, &b, &d]), (&d, vec![&a, &b]), (&a, vec![&b])];
        let mut gone = Vec::new();
        for (name, others) in steps {
            gone.push((scene.actor().act(&words!["unlink", name])?, name, others));
        }
        std::fs::hard_link(&b, &a)?;
        let moved = scene.actor().act(&words!["rename", b, to])?;
        scene.stage().fence()?;
        for (acted, name, others) in gone {
            let record = one_beside_others(scene, &acted, "unlink", &[name], &others);
            let expected = Expected::new("unlink", activity::DELETE, name);
            scene.or_lost(record.and_then(|record| expected.is(&record, &acted)))?;
        }
        let record = one_beside_others(scene, &moved, "rename", &[&b, &to], &[&a]);
        let expected = Expected::rename(&b, &to).seen_with("/unmapped/file/path_source", "inode");
        scene.or_lost(record.and_then(|record| expected.is(&record, &moved)))
    })
}

#[test]
fn of_several_names_in_one_directory_the_one_that_went_is_recorded() -> Result<()> {
    of_several_names(Entry::Native)
}

#[test]
fn of_several_names_the_one_that_went_by_the_32_bit_entry_is_recorded() -> Result<()> {
    of_several_names(Entry::Compat)
}
