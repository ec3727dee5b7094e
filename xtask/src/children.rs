//! Processes started here, and how they end.
//!
//! Each is the leader of a process group of its own, so that a Ctrl-C at the terminal reaches this program
//! only, and this program ends them in its order. Dropping one ends it: terminate, wait, kill.

use crate::fault::Fault;
use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// How often a waiting loop looks again: below what a person notices.
pub(crate) const TICK: Duration = Duration::from_millis(50);

/// How long a process has to end after SIGTERM: the agent's flush of its spool fits in it many times.
const GRACE: Duration = Duration::from_secs(10);

/// How long the rest of a group has once its leader is gone.
const GROUP_GRACE: Duration = Duration::from_secs(2);

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From here on SIGINT, SIGTERM and SIGHUP are asked for with [`interrupted`] and end nothing by themselves.
pub(crate) fn watch_signals() -> Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let flag = INTERRUPTED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(flag)).context("cannot watch for signals")?;
    }
    Ok(())
}

/// True once a signal asked for the end.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// Who gets the SIGTERM of a stop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The leader: a daemon that ends its own children in its order.
    Leader,
    /// All of them: a build tool.
    Group,
}

/// A running process; dropping it ends it.
pub(crate) struct Child {
    inner: std::process::Child,
    pid: Pid,
    stop: Stop,
    ended: Option<ExitStatus>,
}

impl Child {
    /// Starts the command as the leader of a new process group.
    pub(crate) fn start(mut command: Command, stop: Stop) -> Result<Self> {
        let program = command.get_program().to_os_string();
        let inner = command
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", program.to_string_lossy()))?;
        let pid = Pid::from_child(&inner);
        Ok(Self { inner, pid, stop, ended: None })
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.inner.id()
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() && self.has_exited()? {
            self.reap()?;
        }
        Ok(self.ended)
    }

    /// Waits for the end; `tick` runs meanwhile. A signal or the time limit ends the process.
    pub(crate) fn wait(&mut self, limit: Option<Duration>, mut tick: impl FnMut()) -> Result<Ended> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(Ended::Itself(status));
            }
            if interrupted() {
                self.stop()?;
                return Err(Fault::Interrupted.into());
            }
            if limit.is_some_and(|limit| started.elapsed() > limit) {
                self.stop()?;
                return Ok(Ended::OutOfTime);
            }
            tick();
            std::thread::sleep(TICK);
        }
    }

    /// Ends it: terminate, wait, kill. Nothing of its group is left afterwards.
    pub(crate) fn stop(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.ended {
            return Ok(status);
        }
        // An error here means that it is already gone.
        let _gone = match self.stop {
            Stop::Leader => kill_process(self.pid, Signal::TERM),
            Stop::Group => kill_process_group(self.pid, Signal::TERM),
        };
        let started = Instant::now();
        while !self.has_exited()? {
            if started.elapsed() > GRACE {
                let _gone = kill_process_group(self.pid, Signal::KILL);
            }
            std::thread::sleep(TICK);
        }
        self.reap()
    }

    /// Leaves the zombie in place: until it is reaped its number cannot belong to another group.
    fn has_exited(&self) -> Result<bool> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(self.pid), options).context("cannot wait for a process")?.is_some())
    }

    fn reap(&mut self) -> Result<ExitStatus> {
        let started = Instant::now();
        while group_has_members(self.pid) {
            let signal = if started.elapsed() < GROUP_GRACE { Signal::TERM } else { Signal::KILL };
            let _gone = kill_process_group(self.pid, signal);
            if started.elapsed() > GROUP_GRACE * 2 {
                break;
            }
            std::thread::sleep(TICK);
        }
        let status = self.inner.wait().context("cannot wait for a process")?;
        self.ended = Some(status);
        Ok(status)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("process {} may still run: {error:#}", self.pid);
        }
    }
}

/// How a wait came to its end.
pub(crate) enum Ended {
    Itself(ExitStatus),
    OutOfTime,
}

/// True if a process other than the (dead) leader is still in its group.
fn group_has_members(leader: Pid) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    processes.flatten().any(|entry| {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { return false };
        pid != leader.as_raw_nonzero().get()
            && std::fs::read_to_string(entry.path().join("stat"))
                .is_ok_and(|stat| group_of(&stat) == Some(leader.as_raw_nonzero().get()))
    })
}

/// The process group in a line of `/proc/PID/stat`; none for a zombie, which cannot act.
fn group_of(stat: &str) -> Option<i32> {
    // The command's name is in brackets and may contain anything, brackets too.
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?;
    let group = fields.nth(1)?;
    (state != "Z").then(|| group.parse().ok()).flatten()
}

/// The same program, arguments and environment, to be ended by the kernel with SIGTERM should this process be killed.
pub(crate) fn bound_to_us(command: Command) -> Command {
    if crate::toolchain::in_path("setpriv").is_none() {
        return command;
    }
    let mut bound = Command::new("setpriv");
    bound.args(["--pdeathsig", "TERM", "--"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    bound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_is_read_behind_any_command_name() {
        assert_eq!(group_of("12 (a) b) (c) S 1 77 77 0"), Some(77));
        assert_eq!(group_of("12 (sh) Z 1 77 77 0"), None);
        assert_eq!(group_of("garbage"), None);
    }

    #[test]
    fn stopping_leaves_nothing_of_the_group() -> Result<()> {
        let mut command = Command::new("sh");
        command.args(["-c", "(trap '' TERM; exec sleep 600) & exec sleep 601"]);
        let mut child = Child::start(command, Stop::Leader)?;
        std::thread::sleep(Duration::from_millis(200));
        let _status = child.stop()?;
        assert!(!group_has_members(child.pid));
        Ok(())
    }

    #[test]
    fn a_time_limit_ends_the_process() -> Result<()> {
        let mut command = Command::new("sleep");
        command.arg("600");
        let mut child = Child::start(command, Stop::Group)?;
        assert!(matches!(child.wait(Some(Duration::from_millis(100)), || ())?, Ended::OutOfTime));
        Ok(())
    }
}
