//! A program that runs until it is told to end: started, awaited, missed.

use crate::children::{Child, Stop, TICK, bound_to_us, interrupted};
use crate::fault::Fault;
use crate::stages::{Stage, how, tail};
use anyhow::{Context, Result};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Lines of its log that are shown when it dies.
const LINES_SHOWN: usize = 20;

/// A running daemon; dropping it ends it.
pub(crate) struct Daemon {
    name: &'static str,
    child: Child,
    log: Option<PathBuf>,
}

impl Daemon {
    /// Starts it with its output in a new log.
    pub(crate) fn start(name: &'static str, command: Command, log: PathBuf) -> Result<Self> {
        let out = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let errors = out.try_clone().context("cannot open the log twice")?;
        let mut command = bound_to_us(command);
        command.stdin(Stdio::null()).stdout(out).stderr(errors);
        let child = Child::start(command, Stop::Leader)?;
        Ok(Self { name, child, log: Some(log) })
    }

    /// Starts it with its output on ours.
    pub(crate) fn shown(name: &'static str, command: Command) -> Result<Self> {
        let mut command = bound_to_us(command);
        command.stdin(Stdio::null());
        let child = Child::start(command, Stop::Leader)?;
        Ok(Self { name, child, log: None })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Waits until a line of its log says so.
    pub(crate) fn wait_for<T>(
        &mut self,
        stage: &mut Stage,
        limit: Duration,
        said: impl Fn(&str) -> Option<T>,
    ) -> Result<T> {
        let started = Instant::now();
        loop {
            if let Some(found) = self.find(&said)? {
                return Ok(found);
            }
            self.still_runs()?;
            if interrupted() {
                return Err(Fault::Interrupted.into());
            }
            if started.elapsed() > limit {
                let seconds = limit.as_secs();
                anyhow::bail!("{} was not ready within {seconds} s{}", self.name, self.last_lines());
            }
            stage.moves();
            std::thread::sleep(TICK);
        }
    }

    /// An error with its last words if it has ended.
    pub(crate) fn still_runs(&mut self) -> Result<()> {
        let Some(status) = self.child.ended()? else { return Ok(()) };
        let text = format!("{} {}{}", self.name, how(status), self.last_lines());
        // Its own exit code says whose fault it is.
        match status.code() {
            Some(2) => Err(Fault::Usage(text).into()),
            Some(3) => Err(Fault::Host(text).into()),
            _ => Err(anyhow::anyhow!(text)),
        }
    }

    /// Ends it.
    pub(crate) fn stop(&mut self) -> Result<ExitStatus> {
        self.child.stop()
    }

    fn find<T>(&self, said: &impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
        let Some(log) = &self.log else { return Ok(None) };
        let file = File::open(log).with_context(|| format!("cannot read {}", log.display()))?;
        let lines = BufReader::new(file).split(b'\n').map_while(Result::ok);
        Ok(lines.map(|line| String::from_utf8_lossy(&line).into_owned()).find_map(|line| said(&line)))
    }

    fn last_lines(&self) -> String {
        let Some(log) = &self.log else { return String::new() };
        let lines: Vec<String> = tail(log, LINES_SHOWN).iter().map(|line| format!("\n  {line}")).collect();
        format!("; the end of {}:{}", log.display(), lines.concat())
    }
}
