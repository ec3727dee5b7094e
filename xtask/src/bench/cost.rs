//! What the agent costs itself: CPU for the events it stores, memory, and what it loses when it is given more than it
//! can take.

use super::modes::{MODES, Mode};
use super::process::Memory;
use super::rounds::{Bench, alone};
use super::statistics::Spread;
use crate::stages::Stage;
use anyhow::{Context, Result};
use serde::Serialize;
use std::time::Duration;

/// Where the most events come from: records of the fastest file system.
const MODE: &str = "protected-tmpfs";
/// Long against the rings, which hold some ten milliseconds of it.
const TIME: Duration = Duration::from_secs(3);
/// Times that it is done, for a middle.
const TIMES: usize = 3;
/// For `--quick`.
const QUICK_TIMES: usize = 1;

/// One run.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Sample {
    /// Operations asked for in a second, 0 for as many as go.
    pub rate: u32,
    pub operations: u64,
    /// Records in the spool.
    pub stored: u64,
    pub lost: u64,
    /// Of both processes, from idle before to drained after, s.
    pub cpu: f64,
    /// Of the spool.
    pub bytes: u64,
    pub watch: Memory,
    pub ship: Memory,
}

/// At full rate, and at the rate at which the modes are recorded.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cost {
    pub full: Vec<Sample>,
    pub paced: Vec<Sample>,
}

impl Sample {
    /// CPU seconds for 100,000 stored events.
    pub(crate) fn price(&self) -> f64 {
        self.cpu * 100_000.0 / self.stored as f64
    }
}

/// The middle of something over all runs.
pub(crate) fn middle(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> Option<Spread> {
    Spread::of(samples.iter().map(of))
}

impl Bench<'_> {
    pub(crate) fn cost(&self, quick: bool, mut stage: Stage) -> Result<Cost> {
        let mode = MODES.iter().find(|mode| mode.name == MODE).context("no such mode")?;
        let times = if quick { QUICK_TIMES } else { TIMES };
        let mut cost = Cost { full: Vec::new(), paced: Vec::new() };
        for _ in 0..times {
            cost.full.push(self.sample(mode, None, &mut stage)?);
            cost.paced.push(self.sample(mode, mode.rate, &mut stage)?);
        }
        stage.done(&format!("{times} times at full rate"));
        Ok(cost)
    }

    fn sample(&self, mode: &Mode, rate: Option<u32>, stage: &mut Stage) -> Result<Sample> {
        alone(stage)?;
        let running = self.agent.start(stage)?;
        let before = running.cpu()?;
        let slice = self.load.slice_at(mode, self.grounds, TIME, rate)?;
        running.idle()?;
        let cpu = running.cpu()?.saturating_sub(before);
        let [watch, ship] = running.memory()?;
        let tally = self.agent.stop(running, stage)?;
        Ok(Sample {
            rate: rate.unwrap_or(0),
            operations: slice.operations,
            stored: tally.stored,
            lost: tally.lost.values().sum(),
            cpu: Duration::from_nanos(cpu).as_secs_f64(),
            bytes: tally.bytes,
            watch,
            ship,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_is_for_a_hundred_thousand() {
        let memory = Memory::default();
        let sample = Sample {
            rate: 0,
            operations: 1,
            stored: 400_000,
            lost: 0,
            cpu: 2.0,
            bytes: 1,
            watch: memory,
            ship: memory,
        };
        assert!((sample.price() - 0.5).abs() < 1e-9);
        let none = Sample { stored: 0, cpu: 0.0, ..sample };
        assert!(middle(&[none], Sample::price).is_none());
    }

    #[test]
    fn the_mode_is_one() {
        assert!(MODES.iter().any(|mode| mode.name == MODE));
    }
}
