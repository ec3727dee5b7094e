//! One operation again and again, each timed: what `cargo xtask bench` puts the agent under.
//!
//! In: what to do, in which folder, for how long, perhaps how fast. Out: how many and how long they took.
//! Always: one thread, on one CPU; the time of an operation runs from the end of the one before, so it has one
//! reading of the clock in it, traced or not; names are the same each time, so that the file system's own state does
//! not grow. Never: sleeps. A rate is kept by bursts with a busy wait between them: a CPU that sleeps is
//! slow for a while when it wakes, and that would be measured.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{Mode, OFlags, open, rename, unlink};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::histogram::Histogram;

/// Written into each file.
const CONTENT: [u8; 64] = [b'g'; 64];
/// Operations between two looks at the rate: long enough that caches are as warm as at full speed, short
/// enough that the records of one burst fill a small part of the sensor's smallest ring.
const BURST: u64 = 64;
/// What `spawn` starts: it does nothing.
const PROGRAM: &str = "/bin/true";

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// open(O_RDONLY), close.
    Read,
    /// open(O_CREAT|O_WRONLY|O_TRUNC), write of 64 bytes, close, unlink.
    Change,
    /// rename, there and back in turn.
    Rename,
    /// posix_spawn of a program that ends at once, and waiting for it.
    Spawn,
}

impl Act {
    /// By its word on the command line.
    pub fn named(word: &str) -> Result<Self> {
        Ok(match word {
            "read" => Self::Read,
            "change" => Self::Change,
            "rename" => Self::Rename,
            "spawn" => Self::Spawn,
            _ => bail!("{word} is none of read, change, rename, spawn"),
        })
    }
}

/// How long and how fast.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Done before anything is timed.
    pub warm: Duration,
    /// Timed for so long.
    pub time: Duration,
    /// Operations a second; none is as fast as it goes.
    pub rate: Option<u64>,
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// With those of the warming.
    pub operations: u64,
    /// The timed ones.
    pub times: Histogram,
    /// How long the timed ones took altogether, waits included.
    pub took: Duration,
}

/// Puts this thread, and what it starts, on one CPU.
pub fn stay_on(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    ensure!(cpu < CpuSet::MAX_CPU, "there is no CPU {cpu}");
    set.set(cpu);
    sched_setaffinity(None, &set).with_context(|| format!("cannot stay on CPU {cpu}"))
}

/// Makes the files that it needs, does it, and removes them.
pub fn run(act: Act, folder: &Path, pace: Pace) -> Result<Done> {
    let (one, other) = (folder.join("load"), folder.join("load.other"));
    let (first, second) = (text(&one)?, text(&other)?);
    if matches!(act, Act::Read | Act::Rename) {
        std::fs::write(&one, CONTENT).with_context(|| format!("cannot write {}", one.display()))?;
    }
    let done = match act {
        Act::Read => repeat(pace, || read(&first)),
        Act::Change => repeat(pace, || change(&first)),
        Act::Rename => {
            let (mut from, mut to) = (&first, &second);
            repeat(pace, || {
                rename(from, to).context("rename")?;
                std::mem::swap(&mut from, &mut to);
                Ok(())
            })
        }
        Act::Spawn => {
            let mut program = Command::new(PROGRAM);
            program.stdin(Stdio::null()).env_clear();
            repeat(pace, || spawn(&mut program))
        }
    };
    remove(&[one, other])?;
    done.with_context(|| format!("in {}", folder.display()))
}

fn repeat(pace: Pace, mut operation: impl FnMut() -> Result<()>) -> Result<Done> {
    let mut done = Done::default();
    let begin = Instant::now();
    let timed = begin + pace.warm;
    let end = timed + pace.time;
    let mut before = begin;
    // Something is timed even if a disk stood still all the while.
    while before < end || done.times.total() == 0 {
        for _ in 0..BURST {
            operation()?;
            done.operations += 1;
            let now = Instant::now();
            if before >= timed {
                let time = u64::try_from((now - before).as_nanos()).unwrap_or(u64::MAX);
                done.times.add(time);
            }
            before = now;
            if now >= end && done.times.total() > 0 {
                break;
            }
        }
        if let Some(rate) = pace.rate {
            let due =
                begin + Duration::from_nanos(done.operations.saturating_mul(1_000_000_000) / rate.max(1));
            while before < due.min(end) {
                std::hint::spin_loop();
                before = Instant::now();
            }
        }
    }
    done.took = before.saturating_duration_since(timed);
    Ok(done)
}

fn read(path: &CString) -> Result<()> {
    drop(open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).context("open for reading")?);
    Ok(())
}

fn change(path: &CString) -> Result<()> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::from_raw_mode(0o644)).context("create")?;
    ensure!(rustix::io::write(&file, &CONTENT).context("write")? == CONTENT.len(), "a file took only a part");
    drop(file);
    unlink(path).context("unlink")
}

fn spawn(program: &mut Command) -> Result<()> {
    ensure!(program.status()?.success(), "{PROGRAM} did not succeed");
    Ok(())
}

fn text(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).context("a path with a NUL")
}

fn remove(paths: &[PathBuf]) -> Result<()> {
    for path in paths {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(rate: Option<u64>) -> Pace {
        Pace { warm: Duration::from_millis(5), time: Duration::from_millis(50), rate }
    }

    #[test]
    fn every_act_is_timed_and_leaves_nothing() -> Result<()> {
        let folder = tempfile::tempdir()?;
        for word in ["read", "change", "rename", "spawn"] {
            let done = run(Act::named(word)?, folder.path(), short(None))?;
            let timed = done.times.total();
            ensure!(timed > 0 && timed <= done.operations, "{word}: {timed} of {} timed", done.operations);
            ensure!(done.times.quantile(0.5) > Some(0.0), "{word} takes no time");
            ensure!(std::fs::read_dir(folder.path())?.count() == 0, "{word} leaves something");
        }
        Ok(())
    }

    #[test]
    fn a_rate_is_not_exceeded_by_more_than_a_burst() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let pace = short(Some(10_000));
        let done = run(Act::Read, folder.path(), pace)?;
        let most = 10_000 * 55 / 1000 + BURST;
        ensure!(done.operations <= most, "{} operations, at most {most} are due", done.operations);
        Ok(())
    }

    #[test]
    fn what_is_not_known_is_refused() {
        assert!(Act::named("append").is_err());
    }
}
