//! Names that lead elsewhere.

use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Result, ensure};
use graven_tests::actor::{Actor, Attempt};
use graven_tests::calls::Entry;
use graven_tests::missing;
use graven_tests::record::{Expected, activity};
use graven_tests::scene::Scene;
use graven_tests::words;

use crate::{actor, ensure_true, records, skipped, true_scene};

/// A file is removed, and one made, by paths below `way`, which leads to the scene's directory.
fn through(scene: &mut Scene<'_>, actor: &Actor, way: &Path, name: &str) -> Result<()> {
    let (gone, new) = (scene.file(&format!("{name}-gone"))?, scene.path(&format!("{name}-new")));
    let last = |path: &Path| way.join(path.file_name().unwrap_or_default());
    let expected =
        Expected::new("unlink", activity::DELETE, &gone).with("/unmapped/file/path_source", "inode");
    scene.act_by(actor, &words!["unlink", last(&gone)], vec![expected])?;
    let expected =
        Expected::new("create", activity::CREATE, &new).with("/unmapped/file/path_source", "inode");
    scene.act_by(actor, &words!["mkdir", last(&new), "0755"], vec![expected])
}

#[test]
fn a_symbolic_link_to_the_directory_does_not_hide_it() -> Result<()> {
    true_scene("linked", |scene| {
        let first = scene.stage().outside("harmless")?;
        let link = first.join("link");
        symlink(scene.folder(), &link)?;
        let chain = first.join("chain");
        symlink("link/../linked", &chain)?;
        for (name, way) in [("link", &link), ("chain", &chain)] {
            through(scene, &scene.actor().clone(), way, name)?;
        }
        Ok(())
    })
}

#[test]
fn a_symbolic_link_does_not_hide_it_from_the_32_bit_entry() -> Result<()> {
    true_scene("linked-compat", |scene| {
        let link = scene.stage().outside("harmless-compat")?.join("link");
        symlink(scene.folder(), &link)?;
        let actor = actor()?.by(Entry::Compat);
        if let Attempt::Lacking(why) = actor.attempt(&["getpid"])? {
            skipped("compat", &why);
            return Ok(());
        }
        through(scene, &actor, &link, "compat")
    })
}

#[test]
fn a_symbolic_link_does_not_hide_it_from_io_uring() -> Result<()> {
    true_scene("linked-uring", |scene| {
        let link = scene.stage().outside("harmless-uring")?.join("link");
        symlink(scene.folder(), &link)?;
        let mut compared = Vec::new();
        for way in ["plain", "worker+silent", "polled+silent"] {
            let gone = scene.file(way)?;
            let acted = match actor()?.by_uring(way).attempt(&words!["unlinkat", link.join(way), "0"])? {
                Attempt::Made(acted) => acted,
                Attempt::Lacking(why) => {
                    skipped("io_uring", &why);
                    continue;
                }
            };
            ensure!(!gone.exists(), "{way}: nothing was done");
            let records = records(scene, &acted)?;
            // What was asked for leads elsewhere, and says that it is only what was asked for.
            for said in records.iter().filter(|record| record.kind() != "modify") {
                ensure!(said.text("/unmapped/outcome") == "reported", "{:#}", said.0);
                ensure!(said.text("/unmapped/file/path_source") == "argument", "{:#}", said.0);
            }
            let real = records.iter().find(|record| record.kind() == "modify" && record.path() == gone);
            let real = missing::found(format_args!("{way}: {} in {records:#?}", gone.display()), real);
            compared.push(real.and_then(ensure_true));
        }
        missing::all(compared)
    })
}

#[test]
fn names_in_proc_do_not_hide_it() -> Result<()> {
    true_scene("proc", |scene| {
        let root = Path::new("/proc/self/root").join(scene.folder().strip_prefix("/")?);
        through(scene, &scene.actor().clone(), &root, "root")?;
        let actor = scene.actor().within(scene.folder());
        through(scene, &actor, Path::new("/proc/self/cwd"), "cwd")?;
        let actor = scene.actor().at(scene.folder());
        // The directory's descriptor is the actor's first.
        through(scene, &actor, Path::new("/proc/self/fd/3"), "fd")
    })
}

#[test]
fn another_root_does_not_hide_it() -> Result<()> {
    true_scene("chroot", |scene| {
        let (gone, new) = (scene.file("gone")?, scene.path("new"));
        let words =
            words!["chroot", scene.folder(), "then", "unlink", "/gone", "then", "mkdir", "/../new", "0755"];
        let expected = vec![
            Expected::new("unlink", activity::DELETE, gone),
            Expected::new("create", activity::CREATE, new),
        ];
        scene.act(&words, expected)
    })
}

#[test]
fn a_bind_mount_of_ones_own_does_not_hide_it() -> Result<()> {
    true_scene("bound", |scene| {
        let gone = scene.file("gone")?;
        let elsewhere = scene.stage().outside("elsewhere")?;
        let words = words![
            "private",
            "then",
            "mount",
            scene.folder(),
            elsewhere,
            "NULL",
            "4096",
            "NULL",
            "then",
            "unlink",
            elsewhere.join("gone")
        ];
        let acted = scene.actor().act(&words)?;
        let records = records(scene, &acted)?;
        let unlink = records.iter().find(|record| record.kind() == "unlink");
        let unlink = missing::found(format_args!("the removal in {records:#?}"), unlink)?;
        Expected::new("unlink", activity::DELETE, &gone).is(unlink, &acted)
    })
}
