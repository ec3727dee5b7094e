//! Waiting for conditions. A deadline only ends what would otherwise never end.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::sight;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// An emulated machine takes so many times as long for what the kernel's verifier does when an agent starts, half a minute
/// where nothing else runs.
const EMULATED: u32 = 3;
/// Between two looks, at least and at most.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(500)];
/// The pause is this part of what was waited already: a look takes a processor from what it looks for.
const PART: u32 = 8;

/// How long to wait for what must come.
pub fn patience() -> Duration {
    if sight::is_emulated() { PATIENCE * EMULATED } else { PATIENCE }
}

/// Looks again and again until there is something. `what` says what was waited for when there is nothing.
pub fn until<T>(what: &str, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    until_within(patience(), what, look)
}

/// The same with another deadline.
pub fn until_within<T>(
    patience: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let begin = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        let waited = begin.elapsed();
        if waited >= patience {
            bail!("waited {} s in vain for {what}", patience.as_secs());
        }
        sleep((waited / PART).clamp(PAUSES[0], PAUSES[1]));
    }
}
