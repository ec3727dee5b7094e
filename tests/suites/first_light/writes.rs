//! Opening, writing, truncating; and what only reads.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use graven_tests::actor::Acted;
use graven_tests::record::{Expected, FILE, activity};

use crate::scene;

#[test]
fn a_shell_that_writes_is_seen_opening_and_writing() -> Result<()> {
    scene("shell", |scene| {
        let motd = scene.path("motd");
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "> motd"]).current_dir(scene.folder());
        let acted = scene.actor().run(shell)?;
        scene.expect(acted, vec![Expected::new("open", activity::CREATE, &motd)]);
        // As in `Scene::file`.
        motd.metadata()?;
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "echo x >> motd"]).current_dir(scene.folder());
        let acted = scene.actor().run(shell)?;
        let opened = Expected::new("open", activity::UPDATE, &motd);
        scene.expect(acted, vec![opened, Expected::new("modify", activity::UPDATE, &motd)]);
        Ok(())
    })
}

#[test]
fn the_writer_through_an_inherited_descriptor_is_named() -> Result<()> {
    scene("inherited", |scene| {
        let file = scene.file("log")?;
        let open = std::fs::OpenOptions::new().append(true).open(&file)?;
        let acted = scene.actor().act_on(Stdio::from(open), &["print", "more"])?;
        scene.expect(acted, vec![Expected::new("modify", activity::UPDATE, file)]);
        Ok(())
    })
}

#[test]
fn an_open_that_only_truncates_is_a_change() -> Result<()> {
    scene("truncated", |scene| {
        let file = scene.file("file")?;
        // O_RDONLY | O_TRUNC
        let acted = scene.actor().act(&[
            OsStr::new("open"),
            file.as_os_str(),
            OsStr::new("01000"),
            OsStr::new("0"),
        ])?;
        scene.expect(acted.clone(), vec![Expected::new("open", activity::UPDATE, &file)]);
        scene.stage().fence()?;
        let records = scene.stage().records(&file)?;
        let own = records.iter().find(|record| record.pid() == Some(acted.pid.into()));
        ensure!(own.is_some_and(|record| record.0["unmapped"]["truncated"] == true), "{records:#?}");
        Ok(())
    })
}

#[test]
fn what_only_reads_makes_no_record() -> Result<()> {
    scene("read", |scene| {
        let file = scene.file("file")?;
        let acted = scene.actor().act(&[OsStr::new("read"), file.as_os_str()])?;
        let listed = scene.actor().run({
            let mut list = Command::new("/bin/ls");
            list.arg("-laR").arg(scene.folder()).stdout(Stdio::null());
            list
        })?;
        // A change after them: when it is there, they would be.
        let after =
            scene.actor().act(&[OsStr::new("mkdir"), scene.path("after").as_os_str(), OsStr::new("0755")])?;
        scene.expect(after.clone(), vec![Expected::new("create", activity::CREATE, scene.path("after"))]);
        scene.stage().fence()?;
        let records = scene.records(&[])?;
        let of = |acted: &Acted| {
            let pid = acted.pid;
            records
                .iter()
                .filter(move |record| record.class() == FILE && record.pid() == Some(pid.into()))
                .count()
        };
        ensure!(
            (of(&acted), of(&listed), of(&after)) == (0, 0, 1),
            "{} {} {}",
            of(&acted),
            of(&listed),
            of(&after)
        );
        // The fence's own directory is the test's; of this process there are the changes it made itself only.
        let opened = records.iter().filter(|record| record.kind() == "open" && record.path() == file);
        ensure!(opened.count() == 1, "only making the file opened it for writing");
        Ok(())
    })
}
