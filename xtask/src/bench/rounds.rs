//! Rounds: each mode without the agent and with it, one right after the other, the order changing. Of either half the
//! quietest of some slices counts.

use super::grounds::Grounds;
use super::load::{Load, Slice};
use super::modes::Mode;
use super::process;
use super::tracer::{Taken, Tracer};
use crate::children::{TICK, interrupted};
use crate::fault::Fault;
use crate::stages::Stage;
use anyhow::Result;
use serde::Serialize;
use std::time::{Duration, Instant};

/// Some thousand operations of even the slowest mode that is no program start, and short against the drift of
/// a machine.
const SLICE: Duration = Duration::from_millis(150);

/// Slices of a half of a pair, of which the quietest counts: a machine that is shared runs at half its pace for tenths of
/// a second and for seconds, and a half that met more of that than the other would say nothing of the agent.
const SLICES: u32 = 4;

/// It takes more until one is as quiet as the same half of another round was, at most so many, some seconds.
const MOST_SLICES: u32 = 24;

/// As quiet: by how much the median of one operation may be longer.
const AS_QUIET: f64 = 1.1;

/// How long is waited for others who trace this kernel to end.
const PATIENCE: Duration = Duration::from_secs(300);

/// A round is done again when somebody traced meanwhile, at most so often.
const AGAIN: u32 = 10;

/// What is needed for a slice.
#[derive(Clone, Copy)]
pub(crate) struct Bench<'a> {
    pub load: &'a Load,
    pub grounds: &'a Grounds,
}

/// One mode's slices of one round.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Pair {
    pub untraced: Slice,
    pub traced: Slice,
}

/// One mode, all rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    #[serde(serialize_with = "name")]
    pub mode: &'static Mode,
    pub pairs: Vec<Pair>,
}

fn name<S: serde::Serializer>(mode: &&'static Mode, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(mode.name)
}

impl Row {
    /// The lowest median so far, without the agent and with it, ns.
    fn quietest(&self) -> [Option<f64>; 2] {
        let least = |of: fn(&Pair) -> f64| self.pairs.iter().map(of).min_by(f64::total_cmp);
        [least(|pair| pair.untraced.p50), least(|pair| pair.traced.p50)]
    }
}

impl Bench<'_> {
    /// All rounds, and what was recorded in their traced halves.
    pub(crate) fn rounds(
        self,
        tracer: &mut dyn Tracer,
        modes: &[&'static Mode],
        number: u32,
        stage: &mut Stage,
    ) -> Result<(Vec<Row>, Taken)> {
        let mut rows: Vec<Row> = modes.iter().map(|mode| Row { mode, pairs: Vec::new() }).collect();
        let mut taken = Taken::default();
        for round in 0..number {
            for (row, place) in rows.iter_mut().zip(0..) {
                let [quiet, quiet_traced] = row.quietest();
                let (untraced, traced) = if (round + place).is_multiple_of(2) {
                    let untraced = self.untraced(row.mode, quiet, stage)?;
                    (untraced, self.traced(tracer, row.mode, quiet_traced, stage, &mut taken)?)
                } else {
                    let traced = self.traced(tracer, row.mode, quiet_traced, stage, &mut taken)?;
                    (self.untraced(row.mode, quiet, stage)?, traced)
                };
                row.pairs.push(Pair { untraced, traced });
            }
        }
        Ok((rows, taken))
    }

    fn untraced(self, mode: &Mode, before: Option<f64>, stage: &mut Stage) -> Result<Slice> {
        for _ in 0..AGAIN {
            alone(stage)?;
            let slice = self.quietest(mode, before, stage)?;
            if process::tracers().is_empty() {
                return Ok(slice);
            }
        }
        Err(disturbed())
    }

    fn traced(
        self,
        tracer: &mut dyn Tracer,
        mode: &Mode,
        before: Option<f64>,
        stage: &mut Stage,
        sum: &mut Taken,
    ) -> Result<Slice> {
        for _ in 0..AGAIN {
            alone(stage)?;
            tracer.begin(stage)?;
            let slice = self.quietest(mode, before, stage)?;
            let only = process::tracers().len() == tracer.links();
            let taken = tracer.end(stage)?;
            if only {
                sum.stored += taken.stored;
                sum.lost += taken.lost;
                sum.bytes += taken.bytes;
                return Ok(slice);
            }
        }
        Err(disturbed())
    }

    /// The slice with the lowest median. `before`: that of the same half in other rounds.
    fn quietest(self, mode: &Mode, before: Option<f64>, stage: &mut Stage) -> Result<Slice> {
        let mut quietest = self.slice(mode, stage)?;
        for taken in 1..MOST_SLICES {
            let is_quiet = before.is_none_or(|before| quietest.p50 <= before * AS_QUIET);
            if taken >= SLICES && is_quiet {
                break;
            }
            let slice = self.slice(mode, stage)?;
            if slice.p50 < quietest.p50 {
                quietest = slice;
            }
        }
        Ok(quietest)
    }

    fn slice(self, mode: &Mode, stage: &mut Stage) -> Result<Slice> {
        stage.moves();
        self.load.slice(mode, self.grounds, SLICE)
    }
}

fn disturbed() -> anyhow::Error {
    let who = process::tracers().join(", ");
    anyhow::anyhow!("another process traces this kernel again and again ({who}): end it, then again")
}

/// Waits until nobody traces this kernel.
pub(crate) fn alone(stage: &mut Stage) -> Result<()> {
    let begin = Instant::now();
    loop {
        let tracers = process::tracers();
        if tracers.is_empty() {
            return Ok(());
        }
        if interrupted() {
            return Err(Fault::Interrupted.into());
        }
        if begin.elapsed() > PATIENCE {
            let who = tracers.join(", ");
            anyhow::bail!("{who} traces this kernel too, so nothing here is untraced: end it, then again");
        }
        stage.moves();
        std::thread::sleep(TICK);
    }
}
