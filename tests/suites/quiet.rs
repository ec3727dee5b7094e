//! On a host where nothing happens the agent sleeps, and the first thing that happens wakes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use graven_tests::stage::Stage;
use graven_tests::wait::until;

const SUITE: &str = "quiet";

/// So long a spell is looked at, and so many of them: something may happen on a machine that others use too.
const SPELL: Duration = Duration::from_secs(2);
const SPELLS: usize = 15;
/// Its timer of a second, and one that was on its way.
const WAKES: u64 = 3;
/// Each process that begins, runs a program, or ends, wakes it and keeps it awake for some looks.
const WAKES_OF_A_PROCESS: u64 = 15;

/// Changes after which the sleeper is looked at. Without being woken it would find half of them after half a second.
const CHANGES: usize = 9;
/// The machine may be busy; half of the time that a sleep without an end lasts is far more.
const SOON: Duration = Duration::from_millis(200);

#[test]
fn an_agent_that_has_nothing_to_do_sleeps_and_is_woken_by_the_first_change() -> Result<()> {
    let Some(stage) = Stage::unless_refused(SUITE, || Stage::start(SUITE))? else { return Ok(()) };
    let agent = stage.agent.pid().context("the agent is not running")?;
    let rings = thread(agent, "rings")?;
    stage.fence()?;
    let fewest = fewest_wakes(&rings)?;
    ensure!(fewest <= WAKES, "awake {fewest} times more in {SPELL:?} than there was to do");
    let mut waits = Vec::new();
    for number in 0..CHANGES {
        // It has gone to sleep, and half of its timer is over, more or less.
        sleep(Duration::from_millis(1500 + 37 * number as u64));
        let before = wakes(&rings)?;
        let begin = Instant::now();
        fs::create_dir(stage.watched().join(format!("change-{number}")))?;
        until("the agent to wake", || Ok((wakes(&rings)? != before).then_some(())))?;
        waits.push(begin.elapsed());
    }
    waits.sort_unstable();
    println!("awake after {waits:?}");
    let middle = waits.get(CHANGES / 2).context("no change")?;
    ensure!(*middle < SOON, "half of the changes wake nobody for more than {middle:?}");
    stage.fence()?;
    for number in 0..CHANGES {
        let path = stage.watched().join(format!("change-{number}"));
        ensure!(!stage.records(&path)?.is_empty(), "{} is not recorded", path.display());
    }
    stage.finish()
}

/// `/proc/PID/task/TID` of the thread with this name.
fn thread(pid: u32, name: &str) -> Result<PathBuf> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))?;
    let mut paths = tasks.filter_map(|task| Some(task.ok()?.path()));
    let found =
        paths.find(|path| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name));
    found.with_context(|| format!("the agent has no thread {name}"))
}

/// How often it has waited for something, which is how often it was woken, and once more perhaps.
fn wakes(task: &Path) -> Result<u64> {
    let status = fs::read_to_string(task.join("status"))?;
    let number = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    number.context("no count of switches")?.trim().parse().context("a count of switches")
}

/// How many processes and threads there ever were.
fn processes() -> Result<u64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let number = stat.lines().find_map(|line| line.strip_prefix("processes "));
    number.context("no count of processes")?.trim().parse().context("a count of processes")
}

/// In the quietest spell, but for what processes that began meanwhile may have caused.
fn fewest_wakes(task: &Path) -> Result<u64> {
    let mut fewest = u64::MAX;
    for _ in 0..SPELLS {
        let (before, began) = (wakes(task)?, processes()?);
        sleep(SPELL);
        let (woken, began) = (wakes(task)? - before, processes()? - began);
        println!("{woken} times awake in {SPELL:?}, {began} processes");
        fewest = fewest.min(woken.saturating_sub(began * WAKES_OF_A_PROCESS));
        if began == 0 && fewest <= WAKES {
            break;
        }
    }
    Ok(fewest)
}
