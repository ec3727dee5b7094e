//! The real agent with configuration, policy, state and runtime in one folder.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::central::Central;
use crate::daemon::Daemon;
use crate::programs::{self, AGENT, Ended};
use crate::sight;
use crate::wait::until;

/// `graven-agent` and its files; it may be stopped for a while.
#[derive(Debug)]
pub struct Agent {
    folder: PathBuf,
    running: Option<Daemon>,
}

/// The text of a policy that protects one directory and knows nothing else.
pub fn policy(protected: &Path) -> String {
    policy_of(&[protected])
}

/// The same with several.
pub fn policy_of(protected: &[&Path]) -> String {
    policy_but(protected, &[])
}

/// The same, and within them these are mutable.
pub fn policy_but(protected: &[&Path], mutable: &[&Path]) -> String {
    let list = |paths: &[&Path]| {
        paths.iter().map(|path| format!("\"{}\"", path.display())).collect::<Vec<_>>().join(", ")
    };
    let (protected, mutable) = (list(protected), list(&[&[Path::new("/")], mutable].concat()));
    format!(
        r#"schema = 1
[policy]
name = "tests"
version = "1"
[[protect]]
name = "watched"
paths = [{protected}]
severity = "high"
[[mutable]]
name = "everything else"
paths = [{mutable}]
[exec]
otherwise = "high"
[exec.image]
deny_from = [{protected}, "memfd", "deleted"]
"#
    )
}

impl Agent {
    /// Writes `agent.toml` and `policy.toml` into a new folder. Nothing runs yet.
    pub fn prepare(folder: &Path, server: &str, policy: &str) -> Result<Self> {
        std::fs::create_dir(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let agent = Self { folder: folder.to_owned(), running: None };
        agent.configure(server, "")?;
        std::fs::write(agent.policy(), policy)?;
        Ok(agent)
    }

    /// Writes the configuration; `more` stands at its end.
    pub fn configure(&self, server: &str, more: &str) -> Result<()> {
        let mut text = String::new();
        for (key, name) in [("state", "state"), ("runtime", "runtime"), ("policy", "policy.toml")] {
            writeln!(text, "{key} = \"{}\"", self.folder.join(name).display())?;
        }
        writeln!(text, "[central]\nservers = [\"{server}\"]\n[ship]\nuser = \"65534\"\n{more}")?;
        // One that stays is the test's own to take away.
        if !more.contains("[sensor]") {
            text += "\n[sensor]\nstay = false\n";
        }
        Ok(std::fs::write(self.config(), text)?)
    }

    /// `agent.toml`
    pub fn config(&self) -> PathBuf {
        self.folder.join("agent.toml")
    }

    /// `policy.toml`
    pub fn policy(&self) -> PathBuf {
        self.folder.join("policy.toml")
    }

    /// Where the segments are.
    pub fn spool(&self) -> PathBuf {
        self.folder.join("state/spool")
    }

    /// Its process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(Daemon::pid)
    }

    /// The processes that it started.
    pub fn children(&self) -> Result<Vec<u32>> {
        let pid = self.pid().context("the agent is not running")?;
        Ok(children_of(pid).into_iter().map(|(pid, _)| pid).collect())
    }

    /// Keys and spool lie below it.
    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// What it said since it was started last.
    pub fn said(&self) -> Result<String> {
        self.running.as_ref().context("the agent is not running")?.said()
    }

    /// `graven-agent enrol` with any token.
    pub fn enrol_with(&self, server: &str, token: &str) -> Result<Ended> {
        let config = self.config();
        let config = config.to_str().context("a path that is not text")?;
        programs::run(AGENT, ["enrol", "--config", config, "--server", server, "--token", token])
    }

    /// Enrols at a central log.
    pub fn enrol(&self, central: &Central) -> Result<()> {
        self.enrol_with(&central.url(), &central.token()?)?.succeeded().map(drop)
    }

    /// Starts `run` and waits until its hooks are attached.
    pub fn run(&mut self) -> Result<()> {
        static TURN: Mutex<()> = Mutex::new(());
        // There the kernel's verifier takes a processor for half a minute.
        let _turn = sight::is_emulated().then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner));
        let mut command = programs::command(AGENT)?;
        command
            .arg("run")
            .arg("--config")
            .arg(self.config())
            .env("RUST_LOG", "info")
            .env("RUST_BACKTRACE", "1");
        let mut daemon = Daemon::start("graven-agent run", command, &self.folder.join("agent.log"))?;
        daemon.line("the line `ready`", |line| (line == "ready").then_some(()))?;
        self.running = Some(daemon);
        Ok(())
    }

    /// `run` to its end: for what must not start.
    pub fn run_to_end(&self) -> Result<Ended> {
        programs::run(AGENT, ["run".as_ref(), "--config".as_ref(), self.config().as_os_str()])
    }

    /// SIGHUP: it reads its policy anew.
    pub fn reload(&self) -> Result<()> {
        let pid = self.pid().context("the agent is not running")?;
        let pid = Pid::from_raw(pid.cast_signed()).context("no pid")?;
        Ok(kill_process(pid, Signal::HUP)?)
    }

    /// SIGTERM; it must end in order, and what it started too.
    pub fn stop(&mut self) -> Result<()> {
        let daemon = self.running.take().context("the agent is not running")?;
        let children = children_of(daemon.pid());
        daemon.terminate()?;
        gone(&children)
    }

    /// SIGINT; it must end in order.
    pub fn interrupt(&mut self) -> Result<()> {
        let mut daemon = self.running.take().context("the agent is not running")?;
        daemon.signal(Signal::INT)?;
        let status = daemon.ended()?;
        anyhow::ensure!(status.success(), "graven-agent run ended with {status} after SIGINT");
        Ok(())
    }

    /// SIGKILL. What it started has to end by itself.
    pub fn kill(&mut self) -> Result<()> {
        let daemon = self.running.take().context("the agent is not running")?;
        let children = children_of(daemon.pid());
        daemon.kill()?;
        gone(&children)
    }
}

/// The processes that a process has started and not yet waited for, with the moments of their start.
fn children_of(pid: u32) -> Vec<(u32, String)> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"));
    let lists = threads.into_iter().flatten().flatten().filter_map(|thread| {
        // A thread that ended has no children left.
        std::fs::read_to_string(thread.path().join("children")).ok()
    });
    let pids = lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    pids.filter_map(|pid| pid.parse().ok()).filter_map(|pid| Some((pid, start_of(pid)?))).collect()
}

/// Field 22 of `/proc/PID/stat`: a pid is used again, this with it is not.
fn start_of(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let behind = stat.rsplit_once(')')?.1;
    let mut fields = behind.split_whitespace();
    let state = fields.next()?;
    // What has ended and is only not yet waited for is gone.
    (state != "Z").then(|| fields.nth(18).map(str::to_owned))?
}

fn gone(children: &[(u32, String)]) -> Result<()> {
    until(&format!("the end of the agent's children {children:?}"), || {
        let living = children.iter().any(|(pid, start)| start_of(*pid).as_ref() == Some(start));
        Ok((!living).then_some(()))
    })
}
