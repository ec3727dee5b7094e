//! One slice: `graven-load` does one thing for a moment.

use super::grounds::Grounds;
use super::modes::Mode;
use crate::children::{Child, Ended, Stop};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Long enough for caches, the file system and the sensor's own tables to be as they stay.
const WARM: Duration = Duration::from_millis(60);

/// A slice that has not ended this long after its time never will.
const LATE: Duration = Duration::from_secs(20);

/// What a slice gave; times in ns.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Slice {
    /// With those of the warming.
    pub operations: u64,
    pub timed: u64,
    pub seconds: f64,
    pub p50: f64,
    pub p99: f64,
}

/// The generator.
pub(crate) struct Load {
    pub program: PathBuf,
    pub cpu: usize,
    /// Where it writes what it found.
    pub out: PathBuf,
}

impl Load {
    /// The mode at its own rate.
    pub(crate) fn slice(&self, mode: &Mode, grounds: &Grounds, time: Duration) -> Result<Slice> {
        self.slice_at(mode, grounds, time, mode.rate)
    }

    /// The mode at another rate.
    pub(crate) fn slice_at(
        &self,
        mode: &Mode,
        grounds: &Grounds,
        time: Duration,
        rate: Option<u32>,
    ) -> Result<Slice> {
        let mut command = Command::new(&self.program);
        crate::cargo::clean(&mut command);
        command.arg(mode.act).arg(grounds.folder(mode.file_system, mode.place));
        let numbers = [self.cpu.to_string(), WARM.as_millis().to_string(), time.as_millis().to_string()];
        command.args(numbers).arg(rate.unwrap_or(0).to_string());
        self.run(command, time)
    }

    fn run(&self, mut command: Command, time: Duration) -> Result<Slice> {
        let shown = self.out.display();
        let out = File::create(&self.out).with_context(|| format!("cannot write {shown}"))?;
        let errors = out.try_clone().context("cannot open a file twice")?;
        command.stdin(Stdio::null()).stdout(out).stderr(errors);
        let ended = Child::start(command, Stop::Group)?.wait(Some(time + LATE), || ())?;
        let mut said = String::new();
        File::open(&self.out)
            .and_then(|mut file| file.read_to_string(&mut said))
            .with_context(|| format!("cannot read {shown}"))?;
        match ended {
            Ended::Itself(status) if status.success() => {
                serde_json::from_str(&said).with_context(|| format!("graven-load said: {said}"))
            }
            Ended::Itself(_) => anyhow::bail!("{}", said.trim()),
            Ended::OutOfTime => anyhow::bail!("graven-load did not end"),
        }
    }
}
