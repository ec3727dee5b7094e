//! The sensor is attacked: a program is taken off its hook, marks are removed, the kernel is told to call no programs. Each is
//! a critical record, and what can be put right is.

use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use graven_tests::record::Record;
use graven_tests::shared::on_stage_by;
use graven_tests::stage::Stage;
use graven_tests::syscalls::bpf::{Map, program_name};
use graven_tests::syscalls::hold::close_in;
use graven_tests::wait::until;
use graven_tests::{skip, words};
use rustix::process::{Pid, Signal, kill_process};

const SUITE: &str = "self_protection";

/// The sensor is tried out every second or two.
const OFTEN: &str = "[canary]\nevery = \"1s\"\n";

/// One attack at a time.
static TURN: Mutex<()> = Mutex::new(());

fn attack(test: impl FnOnce(&Stage) -> Result<()>) -> Result<()> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    on_stage_by(
        SUITE,
        |name| Stage::staying(name, OFTEN),
        |stage| {
            test(stage)?;
            // Whatever was done, changes are recorded again.
            stage.fence().map(drop)
        },
    )
}

/// The first record of this kind that is so, from now on: a critical violation.
fn told(
    stage: &Stage,
    kind: &str,
    attack: impl FnOnce() -> Result<()>,
    is_it: impl Fn(&Record) -> bool,
) -> Result<Record> {
    let begin = stage.begin()?;
    attack()?;
    let record = until(&format!("the record of kind {kind}"), || {
        Ok(stage.since(begin.moment, &words!["--kind", kind])?.into_iter().find(&is_it))
    })?;
    ensure!(record.text("/severity") == "Critical" && record.lane() == "protected", "{:#}", record.0);
    ensure!(record.0["is_alert"] == true, "{:#}", record.0);
    Ok(record)
}

/// What `/proc` says of the agent's descriptors: number and text of each that has this key.
fn descriptors(stage: &Stage, key: &str) -> Result<Vec<(u32, String)>> {
    let pid = stage.agent.pid().context("the agent is not running")?;
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        let entry = entry?;
        // One that was closed meanwhile has no text.
        let Ok(text) = fs::read_to_string(entry.path()) else { continue };
        if text.lines().any(|line| line.starts_with(key)) {
            found.push((entry.file_name().to_string_lossy().parse()?, text));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn number(text: &str, key: &str) -> Result<u32> {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    Ok(line.with_context(|| format!("no {key} in {text}"))?.trim().parse()?)
}

/// The agent's maps.
fn maps(stage: &Stage) -> Result<Vec<Map>> {
    let found = descriptors(stage, "map_id:")?;
    found.iter().map(|(_, text)| Ok(Map::of(number(text, "map_id:")?)?)).collect()
}

fn map(stage: &Stage, name: &str) -> Result<Map> {
    maps(stage)?.into_iter().find(|map| map.name == name).with_context(|| format!("no map {name}"))
}

/// Gone through only on file systems of certain kinds.
const BY_KIND: [&str; 5] =
    ["file_update_time", "file_modified", "kiocb_modified", "ctime_ns_xchg", "ctime_xchg_skip"];

#[test]
fn the_first_record_says_that_each_program_was_heard() -> Result<()> {
    attack(|stage| {
        let start = stage.central.events(&["--kind", "start"])?.pop().context("no start")?;
        for hook in start.list("/unmapped/hooks").iter().filter(|hook| hook["attached"] == true) {
            ensure!(hook["canary"] != "silent", "{hook}");
            let ran = hook["canary"] == "ran";
            ensure!(ran || BY_KIND.iter().any(|name| hook["name"] == *name), "{hook}");
        }
        ensure!(start.text("/unmapped/sensor_sha256").len() == 64, "{:#}", start.0);
        ensure!(!start.text("/unmapped/witness").is_empty(), "{:#}", start.0);
        ensure!(!start.text("/unmapped/preemption").is_empty(), "{:#}", start.0);
        Ok(())
    })
}

#[test]
fn what_the_agent_does_to_try_its_sensor_out_is_no_record() -> Result<()> {
    attack(|stage| {
        // What is left of another attack is told by then; and then two rounds at least.
        std::thread::sleep(Duration::from_secs(2));
        let begin = stage.begin()?;
        std::thread::sleep(Duration::from_secs(4));
        stage.fence()?;
        let agent = stage.agent.pid().context("the agent is not running")?;
        for record in stage.since(begin.moment, &[])? {
            let by = record.0["actor"]["process"]["pid"].as_u64();
            ensure!(by != Some(agent.into()), "{:#}", record.0);
            ensure!(
                !["probe_silent", "map_changed", "paused", "tamper"].contains(&record.kind()),
                "{:#}",
                record.0
            );
        }
        Ok(())
    })
}

#[test]
fn a_program_that_is_taken_off_its_hook_is_missed_at_once_and_attached_again() -> Result<()> {
    attack(|stage| {
        let links = descriptors(stage, "link_id:")?;
        let mut of_calls = None;
        for (descriptor, text) in &links {
            if program_name(number(text, "prog_id:")?)?.starts_with("sys_exit") {
                of_calls = Some(descriptor);
            }
        }
        let descriptor = of_calls.context("sys_exit has no link")?;
        let agent = stage.agent.pid().context("the agent is not running")?;
        let record = told(
            stage,
            "probe_silent",
            || until("a moment at which it waits", || Ok(close_in(agent, *descriptor).ok())),
            |record| record.text("/unmapped/reason").contains("closed"),
        )?;
        ensure!(record.text("/unmapped/hook") == "sys_exit", "{:#}", record.0);
        ensure!(record.0["unmapped"]["attached_again"] == true, "{:#}", record.0);
        ensure!(record.number("/start_time") < record.number("/end_time"), "{:#}", record.0);
        ensure!(descriptors(stage, "link_id:")?.len() == links.len(), "a link is missing");
        Ok(())
    })
}

#[test]
fn marks_that_are_removed_are_put_back() -> Result<()> {
    attack(|stage| {
        let marks = map(stage, "MARKS")?;
        let keys = marks.keys()?;
        ensure!(!keys.is_empty(), "no marks");
        told(
            stage,
            "map_changed",
            || keys.iter().try_for_each(|key| Ok(marks.delete(key)?)),
            |record| record.text("/unmapped/map") == "MARKS" && record.0["unmapped"]["restored"] == true,
        )?;
        // A round may come in between: then the next one tells of the rest.
        until("the marks", || Ok((marks.keys()?.len() == keys.len()).then_some(())))?;
        let again = marks.keys()?;
        ensure!(
            again.len() == keys.len() && keys.iter().all(|key| again.contains(key)),
            "{again:?}, not {keys:?}"
        );
        Ok(())
    })
}

#[test]
fn bits_and_pids_that_are_cleared_are_written_again() -> Result<()> {
    attack(|stage| {
        for name in ["MARKED", "OWN", "WITNESS"] {
            let map = map(stage, name)?;
            let keys = map.keys()?;
            if name == "WITNESS" && !graven_tests::sight::of_changes() {
                skip::say(&format!("{SUITE}::witness"), "nothing tells of writes on this kernel");
                continue;
            }
            told(
                stage,
                "map_changed",
                || keys.iter().try_for_each(|key| Ok(map.clear(key)?)),
                |record| record.text("/unmapped/map") == name,
            )?;
        }
        Ok(())
    })
}

/// Longer than the agent may go without a look around.
const STOPPED: Duration = Duration::from_secs(12);

#[test]
fn an_agent_that_is_stopped_says_so_when_it_runs_again_and_has_what_happened_meanwhile() -> Result<()> {
    attack(|stage| {
        let begin = stage.begin()?;
        let agent = stage.agent.pid().context("the agent is not running")?;
        let pid = Pid::from_raw(agent.cast_signed()).context("no pid")?;
        let meanwhile = stage.watched().join("meanwhile");
        kill_process(pid, Signal::STOP)?;
        let made = fs::create_dir(&meanwhile);
        std::thread::sleep(STOPPED);
        kill_process(pid, Signal::CONT)?;
        made?;
        let paused = until("the record of the pause", || {
            Ok(stage.since(begin.moment, &words!["--kind", "paused"])?.pop())
        })?;
        ensure!(paused.0["is_alert"] == true && paused.text("/severity") == "High", "{:#}", paused.0);
        let lasted = paused.0["unmapped"]["lasted_ns"].as_u64().map(Duration::from_nanos);
        ensure!(lasted.is_some_and(|lasted| lasted + Duration::from_secs(2) >= STOPPED), "{:#}", paused.0);
        until("what happened meanwhile", || Ok((!stage.records(&meanwhile)?.is_empty()).then_some(())))?;
        let tampers = stage.since(begin.moment, &words!["--kind", "tamper"])?;
        let stop = tampers.iter().find(|record| record.number("/unmapped/tamper/number") == Some(19));
        ensure!(stop.is_some_and(|stop| stop.0["is_alert"] == true), "{tampers:?}");
        Ok(())
    })
}

/// Which maps user space may write: the agent does, or reads rings.
const WRITTEN: [&str; 10] =
    ["MARKS", "MARKED", "OWN", "WITNESS", "ASLEEP", "TOLD", "OVERFLOW", "LIFE", "PROTECTED", "ACTIVITY"];

#[test]
fn what_only_programs_write_nobody_else_can_write() -> Result<()> {
    attack(|stage| {
        let mut tried = 0;
        for map in maps(stage)? {
            if WRITTEN.contains(&map.name.as_str()) || map.name == "AYA_LOGS" {
                continue;
            }
            let key = vec![0; map.key_size()];
            let refused = map.clear(&key).err().with_context(|| format!("{} was written", map.name))?;
            ensure!(
                refused.raw_os_error() == Some(rustix::io::Errno::PERM.raw_os_error()),
                "{}: {refused}",
                map.name
            );
            tried += 1;
        }
        ensure!(tried >= 10, "only {tried} maps");
        Ok(())
    })
}

/// Functions of the kernel call nothing while this is 0.
const SWITCH: &str = "/proc/sys/kernel/ftrace_enabled";

#[test]
fn functions_that_are_told_to_call_nobody_are_missed() -> Result<()> {
    attack(|stage| {
        let start = stage.central.events(&["--kind", "start"])?.pop().context("no start")?;
        if start.text("/unmapped/witness") != "functions of the VFS" {
            skip::say(&format!("{SUITE}::ftrace"), "the sensor does not hang on functions here");
            return Ok(());
        }
        let silent = told(
            stage,
            "probe_silent",
            || Ok(fs::write(SWITCH, "0")?),
            |record| record.text("/unmapped/hook") == "vfs_unlink",
        );
        let back = fs::write(SWITCH, "1");
        let silent = silent?;
        back?;
        ensure!(silent.0["unmapped"]["attached_again"] == false, "{:#}", silent.0);
        told(
            stage,
            "probe_silent",
            || Ok(()),
            |record| {
                record.text("/unmapped/hook") == "vfs_unlink"
                    && record.0["unmapped"]["attached_again"] == true
            },
        )?;
        Ok(())
    })
}
