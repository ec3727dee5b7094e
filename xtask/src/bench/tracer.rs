//! What is attached in the traced half of a round: the agent, or the logger that stands beside it.

use super::process::{self, Memory};
use crate::stages::Stage;
use anyhow::Result;
use serde::Serialize;
use std::time::{Duration, Instant};

/// It has nothing left to do when it uses less than this part of a CPU over [`LULL`].
const IDLE_PART: f64 = 0.02;
/// Longer than the agent's own timers hold anything back.
const LULL: Duration = Duration::from_millis(300);
/// What is in the rings and queues is worked off in a few seconds, or something is wrong.
const DRAINED_WITHIN: Duration = Duration::from_secs(60);

/// Something that records what happens, and can be there or not.
pub(crate) trait Tracer {
    /// From here on it records; it is idle when this returns.
    fn begin(&mut self, stage: &mut Stage) -> Result<()>;
    /// Nothing of it is attached any more, and what it recorded is counted.
    fn end(&mut self, stage: &mut Stage) -> Result<Taken>;
    /// The processes whose CPU time is its own; the one that matters first.
    fn processes(&self) -> Result<Vec<u32>>;
    /// How many processes hold links of tracing programs for it.
    fn links(&self) -> usize;
}

/// What was recorded between a begin and an end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Taken {
    /// Records on the disk.
    pub stored: u64,
    pub lost: u64,
    /// Of the disk.
    pub bytes: u64,
}

/// CPU time so far, ns.
pub(crate) fn cpu(tracer: &dyn Tracer) -> Result<u64> {
    tracer.processes()?.into_iter().map(process::cpu).sum()
}

/// Of each process; a thread of the kernel has none.
pub(crate) fn memory(tracer: &dyn Tracer) -> Result<Vec<Memory>> {
    Ok(tracer.processes()?.into_iter().filter_map(|pid| process::memory(pid).ok()).collect())
}

/// Waits until it has nothing left to do.
pub(crate) fn idle(tracer: &dyn Tracer) -> Result<()> {
    let begin = Instant::now();
    loop {
        let (before, since) = (cpu(tracer)?, Instant::now());
        std::thread::sleep(LULL);
        let used = cpu(tracer)?.saturating_sub(before);
        if used as f64 <= since.elapsed().as_nanos() as f64 * IDLE_PART {
            return Ok(());
        }
        anyhow::ensure!(begin.elapsed() < DRAINED_WITHIN, "what was recorded is not worked off in a minute");
    }
}
