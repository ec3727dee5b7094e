//! What runs, and who made it run.

use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::{Result, ensure};
use graven_tests::actor::{Acted, NOBODY};
use graven_tests::record::{PROCESS, Record};
use graven_tests::skip;
use graven_tests::stage::Stage;

use crate::scene;

#[test]
fn a_program_in_the_protected_place_that_runs_is_a_violation() -> Result<()> {
    scene("program", |scene| {
        let program = scene.path("true");
        std::fs::copy("/bin/true", &program)?;
        let mut run = Command::new(&program);
        run.args(["--first", "a b"]);
        let acted = scene.actor().run(run)?;
        let nobody = scene.actor().as_user(NOBODY).run(Command::new(&program))?;
        scene.stage().fence()?;
        for acted in [acted, nobody] {
            let record = launch(scene.stage(), &acted)?;
            ensure!(record.path() == program, "{:#}", record.0);
            let rule = format!("exec.deny_from \"{}\"", scene.stage().watched().display());
            record.is_violation_by(&acted, &rule)?;
        }
        Ok(())
    })
}

/// The one launch by a process.
fn launch(stage: &Stage, acted: &Acted) -> Result<Record> {
    let mut own = stage.central.violations(&["--kind", "exec"])?;
    own.retain(|record| record.pid() == Some(acted.pid.into()));
    ensure!(own.len() == 1, "{}: {} launches: {own:#?}", acted.said, own.len());
    let record = own.remove(0);
    ensure!(record.class() == PROCESS && record.number("/activity_id") == Some(1), "{:#}", record.0);
    Ok(record)
}

#[test]
fn a_script_in_the_protected_place_that_runs_is_a_violation() -> Result<()> {
    scene("script", |scene| {
        let script = scene.path("script");
        std::fs::write(&script, "#!/bin/sh\nexit 0\n")?;
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
        let acted = scene.actor().run(Command::new(&script))?;
        scene.stage().fence()?;
        let record = launch(scene.stage(), &acted)?;
        let said = record.0.to_string();
        ensure!(said.contains(&*script.to_string_lossy()), "the script is not named: {:#}", record.0);
        Ok(())
    })
}

#[test]
fn a_program_without_a_name_that_runs_is_a_violation() -> Result<()> {
    scene("nameless", |scene| {
        let content = std::fs::read("/bin/true")?;
        // Not the last descriptor for writing: such a file cannot be run.
        let memory = rustix::fs::memfd_create("hidden", rustix::fs::MemfdFlags::empty())?;
        rustix::io::write(&memory, &content)?;
        let deleted = scene.stage().outside("nameless")?.join("true");
        std::fs::write(&deleted, &content)?;
        std::fs::set_permissions(&deleted, std::fs::Permissions::from_mode(0o755))?;
        let open = std::fs::File::open(&deleted)?;
        std::fs::remove_file(&deleted)?;
        for (number, what) in [(memory.as_raw_fd(), "memfd"), (open.as_raw_fd(), "deleted")] {
            let program = format!("/proc/{}/fd/{number}", std::process::id());
            let acted = scene.actor().run(Command::new(program))?;
            scene.stage().fence()?;
            let record = launch(scene.stage(), &acted)?;
            ensure!(
                record.text("/unmapped/verdict/rule") == format!("exec.deny_from \"{what}\""),
                "{:#}",
                record.0
            );
            ensure!(record.0["unmapped"][what] == true, "{:#}", record.0);
        }
        Ok(())
    })
}

#[test]
fn a_secret_in_the_arguments_is_not_in_the_record() -> Result<()> {
    scene("secret", |scene| {
        let program = scene.path("true");
        std::fs::copy("/bin/true", &program)?;
        let mut run = Command::new(&program);
        run.args(["--user=alice", "--password=correct-horse-battery"]);
        let acted = scene.actor().run(run)?;
        scene.stage().fence()?;
        let record = launch(scene.stage(), &acted)?;
        let line = record.text("/process/cmd_line");
        ensure!(line.contains("--user=alice") && line.contains("--password"), "{line}");
        ensure!(!record.0.to_string().contains("correct-horse"), "{:#}", record.0);
        Ok(())
    })
}

#[test]
fn who_logged_in_is_the_person_whatever_the_process_became() -> Result<()> {
    scene("person", |scene| {
        let mut shell = Command::new("/bin/sh");
        // What pam_loginuid does.
        let line = format!("echo {NOBODY} > /proc/self/loginuid && mkdir made; exit");
        shell.args(["-c", &line]).current_dir(scene.folder());
        if scene.actor().run(shell).is_err() {
            skip::say("first_light::person", "this kernel does not let root set the login user");
            return Ok(());
        }
        scene.stage().fence()?;
        let records = scene.stage().records(&scene.path("made"))?;
        ensure!(records.len() == 1, "{records:#?}");
        let person = &records[0].0["unmapped"]["person"];
        ensure!(person["name"] == "nobody" && person["evidence"] == "loginuid", "{:#}", records[0].0);
        ensure!(records[0].text("/actor/process/user/uid") == "0", "{:#}", records[0].0);
        ensure!(records[0].number("/actor/process/auid") == Some(NOBODY.into()), "{:#}", records[0].0);
        Ok(())
    })
}
