//! What the agent itself costs: CPU for the events it stores, memory, and what it loses when it is given more than it
//! can take.

use super::modes::{MODES, Mode};
use super::process::Memory;
use super::rounds::{Bench, alone};
use super::statistics::Spread;
use super::tracer::{self, Taken, Tracer};
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
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    /// Operations asked for in a second, 0 for as many as go.
    pub rate: u32,
    pub operations: u64,
    pub taken: Taken,
    /// Of all its processes, from idle before to drained after, s.
    pub cpu: f64,
    /// Of each process, when it had drained: `watch`, then `ship`.
    pub memory: Vec<Memory>,
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
        self.cpu * 100_000.0 / self.taken.stored as f64
    }
}

/// The middle of something over all runs.
pub(crate) fn middle(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> Option<Spread> {
    Spread::of(samples.iter().map(of))
}

impl Bench<'_> {
    pub(crate) fn cost(self, tracer: &mut dyn Tracer, quick: bool, stage: &mut Stage) -> Result<Cost> {
        let mode = MODES.iter().find(|mode| mode.name == MODE).context("no such mode")?;
        let times = if quick { QUICK_TIMES } else { TIMES };
        let mut cost = Cost { full: Vec::new(), paced: Vec::new() };
        for _ in 0..times {
            cost.full.push(self.sample(tracer, mode, None, stage)?);
            cost.paced.push(self.sample(tracer, mode, mode.rate, stage)?);
        }
        Ok(cost)
    }

    fn sample(
        self,
        tracer: &mut dyn Tracer,
        mode: &Mode,
        rate: Option<u32>,
        stage: &mut Stage,
    ) -> Result<Sample> {
        alone(stage)?;
        tracer.begin(stage)?;
        let before = tracer::cpu(tracer)?;
        let slice = self.load.slice_at(mode, self.grounds, TIME, rate)?;
        tracer::idle(tracer)?;
        let cpu = tracer::cpu(tracer)?.saturating_sub(before);
        let memory = tracer::memory(tracer)?;
        let taken = tracer.end(stage)?;
        Ok(Sample {
            rate: rate.unwrap_or(0),
            operations: slice.operations,
            taken,
            cpu: Duration::from_nanos(cpu).as_secs_f64(),
            memory,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_is_for_a_hundred_thousand() {
        let taken = Taken { stored: 400_000, ..Taken::default() };
        let sample = Sample { rate: 0, operations: 1, taken, cpu: 2.0, memory: Vec::new() };
        assert!((sample.price() - 0.5).abs() < 1e-9);
        let none = Sample { taken: Taken::default(), cpu: 0.0, ..sample };
        assert!(middle(&[none], Sample::price).is_none());
    }

    #[test]
    fn the_mode_is_one() {
        assert!(MODES.iter().any(|mode| mode.name == MODE));
    }
}
