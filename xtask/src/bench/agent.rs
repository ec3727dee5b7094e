//! The agent under test: enrolled once, started and ended for each traced part, its spool read when it has ended.
//!
//! The central log is away while anything is measured: what is asked is the way from the ring to the disk.

use super::grounds::{Grounds, Work};
use super::modes::{FileSystem, Place};
use super::process;
use super::tracer::{Taken, Tracer, idle};
use crate::daemon::Daemon;
use crate::stages::Stage;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long the central log, or the agent, may take until it is ready: the verifier reads every program.
const READY: Duration = Duration::from_secs(90);

/// Most bytes of the spool: a run at full rate fits.
const SPOOL: &str = "4GiB";

/// Its files, the programs, and the process while it runs.
pub(crate) struct Agent {
    folder: PathBuf,
    programs: PathBuf,
    tally: PathBuf,
    running: Option<Daemon>,
}

/// What `graven-tally` says of a spool, as far as it is asked.
#[derive(Deserialize)]
struct Tally {
    stored: u64,
    bytes: u64,
    /// Events, by the place where they were lost.
    lost: BTreeMap<String, u64>,
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
        let agent =
            Self { folder: work.folder.clone(), programs: programs.to_path_buf(), tally, running: None };
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
             [spool]\nlimit = \"{SPOOL}\"\nreserve = \"64MiB\"\n[ship]\nuser = \"65534\"\n[sensor]\nstay = false\n"
        )
    }
}

impl Tracer for Agent {
    /// Starts it with an empty spool; its hooks are attached.
    fn begin(&mut self, stage: &mut Stage) -> Result<()> {
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
        self.running = Some(daemon);
        idle(self)
    }

    fn end(&mut self, stage: &mut Stage) -> Result<Taken> {
        let mut daemon = self.running.take().context("the agent is not running")?;
        daemon.still_runs()?;
        let status = daemon.stop()?;
        anyhow::ensure!(status.success(), "the agent {}", crate::stages::how(status));
        let mut command = Command::new(&self.tally);
        crate::cargo::clean(&mut command);
        command.arg(self.spool());
        let said = stage.output(command)?;
        let tally: Tally = serde_json::from_str(&said).context("graven-tally is not understood")?;
        Ok(Taken { stored: tally.stored, lost: tally.lost.values().sum(), bytes: tally.bytes })
    }

    /// `watch`, then `ship`.
    fn processes(&self) -> Result<Vec<u32>> {
        let watch = self.running.as_ref().context("the agent is not running")?.pid();
        let mut all = vec![watch];
        all.extend(process::children(watch)?);
        Ok(all)
    }

    fn links(&self) -> usize {
        self.running.iter().count()
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
