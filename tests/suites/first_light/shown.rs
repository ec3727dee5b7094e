//! What the operator sees: live, replayed, asked for.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use graven_tests::actor::NOBODY;
use graven_tests::daemon::Daemon;
use graven_tests::programs;
use graven_tests::programs::CENTRAL;
use graven_tests::record::Record;
use graven_tests::shared::on_stage;
use graven_tests::wait::until;
use rustix::process::Signal;
use serde_json::Value;

use crate::{SUITE, scene};

#[test]
fn a_violation_is_shown_live() -> Result<()> {
    on_stage(SUITE, |stage| {
        let log = stage.outside("tail")?.join("tail.json");
        let mut command = programs::command(CENTRAL)?;
        command.args(["tail", "--violations", "--json", "--data"]).arg(stage.central.data());
        let mut tail = Daemon::start("graven tail", command, &log)?;
        // The tail begins at what is there when it starts: changes are made until it shows one.
        let mut made = 0;
        until("a violation in the tail", || {
            made += 1;
            std::fs::create_dir(stage.watched().join(format!("live-{made}")))?;
            Ok(tail.said()?.lines().any(|line| line.contains("/live-")).then_some(()))
        })?;
        let line = tail.line("a whole line", |line| line.contains("/live-").then(|| line.to_owned()))?;
        ensure!(Record::parse(&line)?.kind() == "create", "{line}");
        tail.signal(Signal::INT)?;
        ensure!(tail.ended()?.success());
        Ok(())
    })
}

#[test]
fn a_replay_shows_the_process_tree_in_order() -> Result<()> {
    scene("replayed", |scene| {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "mkdir a && mkdir b && rmdir a; exit"]).current_dir(scene.folder());
        let acted = scene.actor().run(shell)?;
        scene.stage().fence()?;
        let host = scene.stage().central.host()?;
        let host = host["host"].as_str().context("no host id")?;
        let replay =
            scene.stage().central.graven("replay", &[host, "--since", "5m", "--json"])?.succeeded()?;
        let tree: Value = serde_json::from_str(replay.text()?.trim())?;
        let mut changes = Vec::new();
        for boot in tree["boots"].as_array().context("no boots")? {
            let roots = boot["processes"].as_array().context("no processes")?;
            roots.iter().for_each(|process| collect(process, &mut Vec::new(), &mut changes));
        }
        changes.retain(|(pids, change)| {
            change.path().starts_with(scene.folder()) && pids.contains(&acted.pid.into())
        });
        for (pids, _) in &changes {
            let chain = pids.iter().rev().take(3).copied().collect::<Vec<_>>();
            let above = [u64::from(acted.pid), u64::from(std::process::id())];
            ensure!(chain.ends_with(&above), "not by a child of the shell of this test: {pids:?}");
        }
        let told: Vec<(&str, PathBuf)> =
            changes.iter().map(|(_, change)| (change.kind(), change.path())).collect();
        let (a, b) = (scene.path("a"), scene.path("b"));
        ensure!(told == [("create", a.clone()), ("create", b.clone()), ("unlink", a)], "{told:#?}");
        let people = scene.stage().central.graven("replay", &[host, "--since", "5m"])?.succeeded()?;
        ensure!(people.text()?.contains(&*b.to_string_lossy()), "{}", people.text()?);
        Ok(())
    })
}

/// The changes of a tree with the pids from its root down, in the tree's order.
fn collect(process: &Value, above: &mut Vec<u64>, found: &mut Vec<(Vec<u64>, Record)>) {
    above.push(process["pid"].as_u64().unwrap_or(0));
    for item in process["items"].as_array().into_iter().flatten() {
        match item.get("child") {
            Some(child) => collect(child, above, found),
            None => found.push((above.clone(), Record(item["change"].clone()))),
        }
    }
    above.pop();
}

#[test]
fn a_line_for_people_names_what_who_from_where_and_why() -> Result<()> {
    scene("line", |scene| {
        let made = scene.path("made");
        let acted = scene.actor().as_user(NOBODY).act(&[
            OsStr::new("mkdir"),
            made.as_os_str(),
            OsStr::new("0755"),
        ])?;
        scene.stage().fence()?;
        let shown = scene
            .stage()
            .central
            .graven("violations", &[OsStr::new("--path"), made.as_os_str()])?
            .succeeded()?;
        let line = shown.text()?.trim_end();
        ensure!(line.lines().count() == 1, "{line}");
        let (process, parent) = (format!("graven-actor[{}]", acted.pid), format!("[{}]", std::process::id()));
        let path = made.to_str().context("not text")?;
        for word in ["HIGH", "mkdir", path, &process, "nobody", &parent, "rule \"watched\"", "is protected"] {
            ensure!(line.contains(word), "{word} is not in: {line}");
        }
        Ok(())
    })
}

#[test]
fn a_query_gives_what_it_was_asked_for_and_nothing_else() -> Result<()> {
    scene("query", |scene| {
        let (mine, theirs) = (scene.path("mine"), scene.path("theirs"));
        scene.actor().act(&[OsStr::new("mkdir"), mine.as_os_str(), OsStr::new("0755")])?;
        scene.actor().as_user(NOBODY).act(&[OsStr::new("mkdir"), theirs.as_os_str(), OsStr::new("0755")])?;
        scene.actor().act(&[OsStr::new("rmdir"), mine.as_os_str()])?;
        scene.stage().fence()?;
        let folder = format!("{}/*", scene.folder().display());
        let ask = |words: &[&str]| {
            let words: Vec<&str> = ["--path", &folder].into_iter().chain(words.iter().copied()).collect();
            let found = scene.stage().central.events(&words)?;
            anyhow::Ok(
                found.iter().map(|record| (record.kind().to_owned(), record.path())).collect::<Vec<_>>(),
            )
        };
        let create = |path: &PathBuf| ("create".to_owned(), path.clone());
        let unlink = ("unlink".to_owned(), mine.clone());
        ensure!(ask(&[])? == [create(&mine), create(&theirs), unlink.clone()], "{:?}", ask(&[])?);
        ensure!(ask(&["--kind", "unlink"])? == std::slice::from_ref(&unlink));
        ensure!(ask(&["--user", "nobody"])? == [create(&theirs)]);
        ensure!(ask(&["--user", "nobody", "--kind", "unlink"])?.is_empty());
        ensure!(ask(&["--since", "10m"])?.len() == 3 && ask(&["--until", "10m"])?.is_empty());
        ensure!(ask(&["--limit", "1"]).is_err(), "what was cut is said on standard error");
        let other = scene.stage().central.graven("events", &["--host", "ffffffffffffffff"])?;
        other.refused(2, &["graven hosts"])
    })
}

#[test]
fn the_host_is_alive_and_says_what_it_lost() -> Result<()> {
    on_stage(SUITE, |stage| {
        let host = until("a heartbeat", || {
            let host = stage.central.host()?;
            Ok(host["heartbeat"].is_object().then_some(host))
        })?;
        let beat = &host["heartbeat"];
        ensure!(host["state"] == "live" && beat["mode"] == "syscall", "{host:#}");
        ensure!(beat["lost"].is_u64() && beat["seen"].is_u64() && beat["stored"].is_u64(), "{host:#}");
        ensure!(host["findings"] == Value::Array(Vec::new()), "{host:#}");
        Ok(())
    })
}
