//! The agent itself: what it may do, who can read what it keeps, how it stops, what it prints.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use graven_tests::actor::NOBODY;
use graven_tests::daemon::Daemon;
use graven_tests::place::Place;
use graven_tests::programs::AGENT;
use graven_tests::record::{Expected, Record, activity};
use graven_tests::shared::on_stage;
use graven_tests::stage::Stage;
use graven_tests::{agent, programs, skip};
use rustix::process::Signal;
use serde_json::Value;

use crate::{SUITE, actor};

#[test]
fn the_process_that_talks_to_the_network_is_nobody_and_can_do_nothing() -> Result<()> {
    on_stage(SUITE, |stage| {
        let children = stage.agent.children()?;
        ensure!(children.len() == 1, "{children:?}");
        let status = std::fs::read_to_string(format!("/proc/{}/status", children[0]))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.map(|rest| rest.split_whitespace().collect::<Vec<_>>()).unwrap_or_default()
        };
        let nobody = NOBODY.to_string();
        ensure!(field("Uid:") == vec![nobody.as_str(); 4], "{status}");
        ensure!(field("Gid:") == vec![nobody.as_str(); 4] && field("Groups:").is_empty(), "{status}");
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            ensure!(field(set) == ["0000000000000000"], "{set} {status}");
        }
        ensure!(field("NoNewPrivs:") == ["1"], "{status}");
        Ok(())
    })
}

#[test]
fn nobody_else_can_read_keys_spool_or_log() -> Result<()> {
    on_stage(SUITE, |stage| {
        stage.fence()?;
        let mut folders = vec![stage.agent.state(), stage.central.data().to_owned()];
        let mut files = 0;
        while let Some(folder) = folders.pop() {
            let mode = folder.metadata()?.permissions().mode();
            ensure!(mode & 0o077 == 0, "{} has mode {mode:o}", folder.display());
            for entry in std::fs::read_dir(&folder)? {
                let entry = entry?;
                let metadata = entry.metadata()?;
                if metadata.is_dir() {
                    folders.push(entry.path());
                } else {
                    let mode = metadata.permissions().mode();
                    ensure!(mode & 0o077 == 0, "{} has mode {mode:o}", entry.path().display());
                    files += 1;
                }
            }
        }
        ensure!(files > 10, "only {files} files were looked at");
        Ok(())
    })
}

#[test]
fn observe_prints_one_object_a_line_without_a_central_log() -> Result<()> {
    if skip::needs_root(SUITE) {
        return Ok(());
    }
    let mut place = Place::new("observe")?;
    let watched = place.folder("watched")?;
    let policy = place.join("policy.toml");
    std::fs::write(&policy, agent::policy(&watched))?;
    let mut command = programs::command(AGENT)?;
    command.arg("observe").arg("--policy").arg(&policy);
    let mut observe = Daemon::start("graven-agent observe", command, &place.join("observe.log"))?;
    observe.line("the line `ready`", |line| (line == "ready").then_some(()))?;
    let file = watched.join("file");
    let acted = actor()?.act(&[OsStr::new("creat"), file.as_os_str(), OsStr::new("0600")])?;
    let name = file.to_str().context("not text")?;
    let line = observe.line("the record", |line| {
        let of_file = line.contains(name) && line.contains("\"kind\":\"open\"");
        of_file.then(|| line.to_owned())
    })?;
    let record = Record::parse(&line)?;
    Expected::new("open", activity::CREATE, &file).is(&record, &acted)?;
    observe.signal(Signal::INT)?;
    ensure!(observe.ended()?.success(), "{}", observe.said()?);
    place.done();
    Ok(())
}

#[test]
fn what_happened_right_before_a_stop_arrives_after_the_next_start() -> Result<()> {
    const CHANGES: usize = 200;
    if skip::needs_root(SUITE) {
        return Ok(());
    }
    let mut stage = match Stage::start("stop") {
        Err(error) if skip::is_refused(SUITE, &error) => return Ok(()),
        stage => stage?,
    };
    let folder = stage.watched().join("storm");
    std::fs::create_dir(&folder)?;
    stage.central.stop()?;
    let count = CHANGES.to_string();
    let storm = actor()?.act_on(
        Stdio::null(),
        &[OsStr::new("storm"), folder.as_os_str(), OsStr::new(&count), OsStr::new("100000")],
    )?;
    stage.agent.stop()?;
    stage.central.restart()?;
    stage.agent.run()?;
    stage.fence()?;
    let mut records = stage.records(&folder)?;
    records.retain(|record| record.pid() == Some(storm.pid.into()));
    let mut seen: Vec<(PathBuf, String)> =
        records.iter().map(|record| (record.path(), record.kind().to_owned())).collect();
    seen.sort();
    let mut wanted: Vec<(PathBuf, String)> = (0..CHANGES / 2)
        .flat_map(|n| ["create", "unlink"].map(|kind| (folder.join(n.to_string()), kind.to_owned())))
        .collect();
    wanted.sort();
    ensure!(seen == wanted, "{} records of {CHANGES} changes", seen.len());
    let stops = stage.central.events(&["--kind", "stop"])?;
    ensure!(stops.len() == 1, "{stops:#?}");
    ensure!(stops[0].number("/unmapped/counters/lost") == Some(0), "{:#}", stops[0].0);
    ensure!(stage.central.events(&["--kind", "start"])?.len() == 2);
    ensure!(stage.central.events(&["--kind", "lost"])?.is_empty());
    ensure!(
        stage.central.host()?["findings"].as_array().is_some_and(Vec::is_empty),
        "{:#}",
        stage.central.host()?
    );
    stage.finish()
}

#[test]
fn doctor_says_what_this_kernel_lets_the_sensor_see() -> Result<()> {
    if skip::needs_root(SUITE) {
        return Ok(());
    }
    let ended = programs::run(AGENT, ["doctor", "--json"])?.succeeded()?;
    let report: Value = serde_json::from_str(ended.text()?)?;
    ensure!(report.is_object(), "{report}");
    let people = programs::run(AGENT, ["doctor"])?.succeeded()?;
    ensure!(!people.text()?.is_empty());
    Ok(())
}
