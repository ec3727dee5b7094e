//! The agent under test: enrolled once, started and ended for each traced part, its spool read when it has ended.
//!
//! The central log is away while anything is measured: what is asked is the way from the ring to the disk.

use super::grounds::{Grounds, Work};
use super::modes::{FileSystem, Place};
use super::process::{self, Memory};
use crate::daemon::Daemon;
use crate::stages::Stage;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long the central log, or the agent, may take until it is ready: the verifier reads every program.
const READY: Duration = Duration::from_secs(90);

/// The agent has nothing left to do when it uses less than this part of a CPU over [`LULL`].
const IDLE_PART: f64 = 0.02;
/// Longer than the agent's own timers hold anything back.
const LULL: Duration = Duration::from_millis(300);
/// What is in the rings and queues is worked off in a few seconds, or something is wrong.
const DRAINED_WITHIN: Duration = Duration::from_secs(60);

/// Most bytes of the spool: a run at full rate fits.
const SPOOL: &str = "4GiB";

/// Its files, and the programs.
pub(crate) struct Agent {
    folder: PathBuf,
    programs: PathBuf,
    tally: PathBuf,
}

/// What an agent that has ended left in its spool.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Tally {
    /// Records.
    pub stored: u64,
    pub bytes: u64,
    /// Events, by the place where they were lost.
    pub lost: BTreeMap<String, u64>,
}

impl Agent {
    /// Writes its files and enrols it at a central log that is ended again.
    pub(crate) fn prepare(
        work: &Work,
        grounds: &Grounds,
        programs: &Path,
        tally: PathBuf,
        stage: &mut Stage,
    ) -> Result<Self> {
        let agent = Self { folder: work.folder.clone(), programs: programs.to_path_buf(), tally };
        std::fs::write(agent.file("policy.toml"), policy(grounds)).context("cannot write a policy")?;
        let mut serve = agent.program("graven");
        serve.arg("serve").arg("--data").arg(agent.file("central")).args(["--listen", "127.0.0.1:0"]);
        let mut central = Daemon::start("the central log", serve, agent.file("central.log"))?;
        let url = central.wait_for(stage, READY, |line| line.strip_prefix("ready: ").map(str::to_owned))?;
        std::fs::write(agent.config(), agent.configuration(&url)).context("cannot write a configuration")?;
        let mut ask = agent.program("graven");
        ask.arg("enrol").arg("--data").arg(agent.file("central"));
        let token = stage.output(ask)?;
        let mut enrol = agent.program("graven-agent");
        enrol.arg("enrol").arg("--config").arg(agent.config());
        enrol.args(["--server", &url, "--token", token.trim()]);
        stage.run(enrol)?;
        central.stop()?;
        Ok(agent)
    }

    /// Starts it with an empty spool; its hooks are attached.
    pub(crate) fn start(&self, stage: &mut Stage) -> Result<Running> {
        match std::fs::remove_dir_all(self.spool()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).context("cannot empty the spool");
            }
            _ => {}
        }
        let mut command = self.program("graven-agent");
        command.arg("run").arg("--config").arg(self.config());
        let mut daemon = Daemon::start("the agent", command, self.file("agent.log"))?;
        daemon.wait_for(stage, READY, |line| (line.trim() == "ready").then_some(()))?;
        let running = Running { daemon };
        running.idle()?;
        Ok(running)
    }

    /// Ends it, in order, and counts what it left.
    pub(crate) fn stop(&self, mut running: Running, stage: &mut Stage) -> Result<Tally> {
        running.daemon.still_runs()?;
        let status = running.daemon.stop()?;
        anyhow::ensure!(status.success(), "the agent {}", crate::stages::how(status));
        let mut command = Command::new(&self.tally);
        crate::cargo::clean(&mut command);
        command.arg(self.spool());
        serde_json::from_str(&stage.output(command)?).context("graven-tally is not understood")
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        crate::cargo::clean(&mut command);
        for name in ["GRAVEN_DATA", "RUST_LOG", "GRAVEN_LOG"] {
            command.env_remove(name);
        }
        command
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn config(&self) -> PathBuf {
        self.file("agent.toml")
    }

    fn spool(&self) -> PathBuf {
        self.file("state/spool")
    }

    fn configuration(&self, server: &str) -> String {
        let [state, runtime, policy] = ["state", "run", "policy.toml"].map(|name| text_of(&self.file(name)));
        format!(
            "state = {state}\nruntime = {runtime}\npolicy = {policy}\n[central]\nservers = [\"{server}\"]\n\
             [spool]\nlimit = \"{SPOOL}\"\nreserve = \"64MiB\"\n[ship]\nuser = \"65534\"\n"
        )
    }
}

/// An agent that runs.
pub(crate) struct Running {
    daemon: Daemon,
}

impl Running {
    /// CPU time of both its processes, ns.
    pub(crate) fn cpu(&self) -> Result<u64> {
        let mut sum = process::cpu(self.daemon.pid())?;
        for child in process::children(self.daemon.pid())? {
            sum += process::cpu(child)?;
        }
        Ok(sum)
    }

    /// Of `watch` and of `ship`.
    pub(crate) fn memory(&self) -> Result<[Memory; 2]> {
        let watch = self.daemon.pid();
        let children = process::children(watch)?;
        let ship = children.first().context("the agent has no ship process")?;
        Ok([process::memory(watch)?, process::memory(*ship)?])
    }

    /// Waits until it has nothing left to do.
    pub(crate) fn idle(&self) -> Result<()> {
        let begin = Instant::now();
        loop {
            let (before, since) = (self.cpu()?, Instant::now());
            std::thread::sleep(LULL);
            let used = self.cpu()?.saturating_sub(before);
            if used as f64 <= since.elapsed().as_nanos() as f64 * IDLE_PART {
                return Ok(());
            }
            anyhow::ensure!(begin.elapsed() < DRAINED_WITHIN, "the agent does not come to rest");
        }
    }
}

/// Protects what the budgets say, and knows everything else as mutable.
fn policy(grounds: &Grounds) -> String {
    let protected = FileSystem::ALL.map(|system| text_of(&grounds.folder(system, Place::Protected)));
    format!(
        "schema = 1\n[policy]\nname = \"bench\"\nversion = \"1\"\n\
         [[protect]]\nname = \"system\"\npaths = [\"/usr\", \"/etc\"]\nseverity = \"high\"\n\
         [[protect]]\nname = \"bench\"\npaths = [{}]\nseverity = \"high\"\n\
         [[mutable]]\nname = \"everything else\"\npaths = [\"/\"]\n\
         [exec]\notherwise = \"high\"\n[exec.image]\ndeny_from = [\"memfd\", \"deleted\"]\n",
        protected.join(", ")
    )
}

/// A path as a TOML string.
fn text_of(path: &Path) -> String {
    toml::Value::from(path.to_string_lossy().into_owned()).to_string()
}
