//! The end of `cargo xtask vm`: a table for people, one JSON document for programs.

use crate::screen::{self, Tone, paint};
use crate::stages::Stage;
use crate::vm::boot::Outcome;
use crate::vm::kernel::Kernel;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// What one boot gave.
#[derive(Debug)]
pub(crate) struct Boot {
    pub kernel: String,
    pub release: String,
    pub time: Duration,
    pub outcome: Outcome,
    /// What the command printed.
    pub output: String,
    pub log: PathBuf,
    pub console: PathBuf,
}

impl Boot {
    /// A boot that has just ended.
    pub(crate) fn read(stage: &Stage, kernel: &Kernel, outcome: Outcome, console: PathBuf) -> Result<Self> {
        let output = std::fs::read(stage.log()).context("cannot read the guest's output")?;
        Ok(Self {
            kernel: kernel.name.clone(),
            release: kernel.release.clone(),
            time: stage.elapsed(),
            outcome,
            output: String::from_utf8_lossy(&output).into_owned(),
            log: stage.log().to_path_buf(),
            console,
        })
    }

    pub(crate) fn is_good(&self) -> bool {
        self.outcome == Outcome::Status(0)
    }

    fn json(&self) -> Value {
        let status = match self.outcome {
            Outcome::Status(code) => Some(code),
            Outcome::OutOfTime | Outcome::Died(_) => None,
        };
        json!({
            "kernel": self.kernel,
            "release": self.release,
            "seconds": (self.time.as_secs_f64() * 10.0).round() / 10.0,
            "result": self.outcome.to_string(),
            "status": status,
            "output": self.output,
            "log": self.log,
            "console": self.console,
        })
    }
}

/// One document.
pub(crate) fn json(boots: &[Boot]) -> Value {
    json!({ "boots": boots.iter().map(Boot::json).collect::<Vec<_>>() })
}

/// One line for each kernel.
pub(crate) fn table(boots: &[Boot]) -> Vec<String> {
    let width = |of: fn(&Boot) -> usize| boots.iter().map(of).max().unwrap_or(0);
    let kernel = width(|boot| boot.kernel.len()).max("kernel".len());
    let release = width(|boot| boot.release.len()).max("release".len());
    let head = format!("{:kernel$}  {:release$}  {:>8}  result", "kernel", "release", "time");
    let rows = boots.iter().map(|boot| {
        let tone = if boot.is_good() { Tone::Good } else { Tone::Bad };
        let time = screen::elapsed(boot.time);
        let result = paint(tone, &boot.outcome.to_string());
        format!("{:kernel$}  {:release$}  {time:>8}  {result}", boot.kernel, boot.release)
    });
    [head].into_iter().chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(kernel: &str, outcome: Outcome) -> Boot {
        Boot {
            kernel: kernel.to_owned(),
            release: format!("{kernel}.1-cloud-amd64"),
            time: Duration::from_millis(4321),
            outcome,
            output: "said\n".to_owned(),
            log: PathBuf::from("l"),
            console: PathBuf::from("c"),
        }
    }

    #[test]
    fn every_boot_has_its_line_and_its_object() {
        let boots = [
            boot("6.12", Outcome::Status(0)),
            boot("7.3", Outcome::OutOfTime),
            boot("8", Outcome::Status(3)),
        ];
        let rows = table(&boots);
        assert_eq!(rows[1], "6.12    6.12.1-cloud-amd64     4.3 s  ok");
        assert_eq!(rows[2], "7.3     7.3.1-cloud-amd64      4.3 s  out of time");
        assert!(rows[3].ends_with("exit code 3"));
        let text = json(&boots);
        assert_eq!(text["boots"][0]["seconds"], 4.3);
        assert_eq!(text["boots"][1]["status"], Value::Null);
        assert_eq!(text["boots"][2]["status"], 3);
    }
}
