//! What runs, by whatever way it was started.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use graven_tests::actor::Acted;
use graven_tests::missing;
use graven_tests::record::Record;
use graven_tests::scene::Scene;
use graven_tests::words;

use crate::{scene, skipped};

/// The last launch by a process: the actor starts others in its place.
fn launch(scene: &Scene<'_>, acted: &Acted) -> Result<Record> {
    scene.stage().fence()?;
    let mut own = scene.records(&words!["--kind", "exec"])?;
    own.retain(|record| record.pid() == Some(acted.pid.into()));
    missing::found(format_args!("{}: its launch", acted.said), own.pop())
}

fn executable(path: &Path) -> Result<()> {
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?)
}

#[test]
fn a_script_that_was_called_by_a_relative_name_is_named_and_judged() -> Result<()> {
    scene("script", |scene| {
        let script = scene.path("script");
        // The actor is the interpreter: it gets the script's name as what to do, and fails at that.
        std::fs::write(&script, format!("#!{} print\n", scene.actor().program().display()))?;
        executable(&script)?;
        let actor = scene.actor().within(scene.folder());
        let acted = actor.act(&["exec", "./script"])?;
        let record = launch(scene, &acted)?;
        ensure!(record.text("/unmapped/script") == script.to_string_lossy(), "{:#}", record.0);
        ensure!(record.text("/unmapped/called_as") == "./script", "{:#}", record.0);
        ensure!(record.text("/unmapped/cwd") == scene.folder().to_string_lossy(), "{:#}", record.0);
        ensure!(record.0["is_alert"] == true, "{:#}", record.0);
        let rule = record.text("/unmapped/verdict/rule");
        ensure!(rule.starts_with("exec.deny_from"), "not judged by the script: {:#}", record.0);
        Ok(())
    })
}

#[test]
fn a_program_that_the_dynamic_loader_was_given_is_named_and_judged() -> Result<()> {
    const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
    const ANY: &str = "/bin/true";
    scene("loaded", |scene| {
        if !Path::new(LOADER).exists() || !Path::new(ANY).exists() {
            skipped("loader", "this system has no dynamic loader");
            return Ok(());
        }
        let program = scene.path("true");
        std::fs::copy(ANY, &program)?;
        let mut run = Command::new(LOADER);
        run.arg(&program);
        let acted = scene.actor().run(run)?;
        let record = launch(scene, &acted)?;
        ensure!(record.text("/unmapped/loaded") == program.to_string_lossy(), "{:#}", record.0);
        ensure!(record.0["is_alert"] == true, "{:#}", record.0);
        let rule = record.text("/unmapped/verdict/rule");
        ensure!(rule.starts_with("exec.deny_from"), "not judged by what was loaded: {:#}", record.0);
        Ok(())
    })
}

#[test]
fn a_program_whose_name_is_a_descriptor_is_judged_by_where_it_lies() -> Result<()> {
    scene("descriptor", |scene| {
        let program = scene.path("program");
        scene.actor().copy_to(&program)?;
        executable(&program)?;
        let actor = scene.actor().at(scene.folder());
        // The descriptor of the directory is the actor's first.
        let acted = actor.act(&[
            OsStr::new("exec"),
            OsStr::new("/proc/self/fd/3/program"),
            OsStr::new("print"),
            OsStr::new("x"),
        ])?;
        let record = launch(scene, &acted)?;
        ensure!(record.path() == program, "{:#}", record.0);
        ensure!(record.0["is_alert"] == true, "{:#}", record.0);
        Ok(())
    })
}
