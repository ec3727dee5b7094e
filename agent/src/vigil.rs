//! The agent's watch over its own sensor.
//!
//! In: the sensor, the canary's deeds, the time. Out: records of hooks that stayed silent and of maps that somebody changed.
//! Always: a hook that lost its link is missed within a second; one that is attached and does not run, and a map that differs,
//! within one and a half times the interval, at a moment that nobody can foresee; what can be put right is put right, and the
//! record says whether it was. What stays wrong is said again with each round. Never: changes what is watched. A round that
//! cannot be made is said on standard error.

use std::collections::BTreeMap;
use std::time::Duration;

use graven_record::v1::{self, record::Event};

use crate::canary::{Canary, Done};
use crate::exit;
use crate::health::silent;
use crate::seal::Now;
use crate::sensor::{Sensor, SensorError};

/// What `silent` says of a hook whose link is gone.
const LOST: &str = "its link is closed";
/// And of one that was let go because of another.
const TOGETHER: &str = "it is used together with others that are off";
/// And of one whose link is there.
pub const SILENT: &str = "it did not run though what it hangs on was done";

/// See the module's text.
#[derive(Debug)]
pub struct Vigil {
    canary: Canary,
    interval: Duration,
    due: u64,
    /// When all was in order last, ns since boot.
    well: u64,
    /// What could not be put right, and why.
    off: Wrong,
    /// The last round could not be made.
    deaf: bool,
    heard: Heard,
}

/// Did the programs of a hook run? Of those that had to.
pub type Heard = BTreeMap<&'static str, bool>;

/// What came of a look.
#[derive(Debug, Default)]
pub struct Seen {
    /// To be recorded.
    pub events: Vec<Event>,
    /// Programs that were started for it.
    pub children: Vec<u32>,
}

impl Vigil {
    /// The first round is made by [`Self::round`].
    pub fn new(canary: Canary, interval: Duration, now: Now) -> Self {
        let (off, heard) = (Wrong::new(), Heard::new());
        Self { canary, interval, due: next(now, interval), well: now.boot, off, deaf: false, heard }
    }

    /// Did a hook's programs run in the last round? None where nothing was done that it hangs on.
    pub fn heard(&self, hook: &str) -> Option<bool> {
        self.heard.get(hook).copied()
    }

    /// Once a second.
    pub fn look(&mut self, sensor: &mut Sensor, now: Now) -> Seen {
        let mut seen = Seen::default();
        let lost = sensor.lost_hooks().into_iter().filter(|hook| !self.off.contains_key(hook));
        let lost: Wrong = lost.map(|hook| (hook, LOST)).collect();
        if !lost.is_empty() {
            let renewed = self.renew(sensor, &lost);
            seen.events.extend(self.silences(lost, renewed));
        }
        if now.boot >= self.due {
            self.due = next(now, self.interval);
            self.round(sensor, now, &mut seen);
        }
        seen
    }

    /// Does the canary's deeds and compares the maps.
    pub fn round(&mut self, sensor: &mut Sensor, now: Now, seen: &mut Seen) {
        let before = seen.events.len();
        let listened = self.listen(sensor, seen);
        if let Err(error) = &listened {
            tracing::error!("the sensor cannot be tried out: {}", exit::in_one_line(error));
        }
        self.deaf = listened.is_err();
        seen.events.extend(sensor.mend_maps().into_iter().map(|mended| {
            let change = match &mended.written {
                Ok(()) => mended.change,
                Err(error) => format!("{}; it cannot be written again: {error}", mended.change),
            };
            let (map, restored) = (mended.map.to_owned(), mended.written.is_ok());
            Event::MapChanged(v1::MapChanged { map, change, since: self.well, restored })
        }));
        if seen.events.len() == before && !self.deaf {
            self.well = now.boot;
        }
    }

    /// Could the last round not be made?
    pub fn is_deaf(&self) -> bool {
        self.deaf
    }

    /// Attaches again what is silent, and listens once more.
    fn listen(&mut self, sensor: &mut Sensor, seen: &mut Seen) -> Result<(), SensorError> {
        let silent = self.sing(sensor, seen)?;
        let mut wrong = self.off.clone();
        wrong.extend(silent.into_iter().map(|hook| (hook, SILENT)));
        if wrong.is_empty() {
            return Ok(());
        }
        let mut renewed = self.renew(sensor, &wrong);
        let still = self.sing(sensor, seen);
        for (hook, renewed) in &mut renewed {
            if renewed.is_ok() && still.as_ref().map_or(true, |still| still.contains(hook)) {
                *renewed = Err("it stays silent when it is attached again".to_owned());
            }
        }
        seen.events.extend(self.silences(wrong, renewed));
        still.map(drop)
    }

    /// Hooks that stay silent.
    fn sing(&mut self, sensor: &Sensor, seen: &mut Seen) -> Result<Vec<&'static str>, SensorError> {
        let (heard, child) = sing(sensor, &self.canary)?;
        seen.children.extend(child);
        self.heard = heard;
        Ok(self.heard.iter().filter(|(_, heard)| !**heard).map(|(hook, _)| *hook).collect())
    }

    fn renew(&mut self, sensor: &mut Sensor, wrong: &Wrong) -> Renewed {
        let renewed = sensor.hang_again(&wrong.keys().copied().collect());
        // What was let go because of another is no work of others.
        for hook in sensor.lost_hooks() {
            self.off.entry(hook).or_insert(TOGETHER);
        }
        renewed
    }

    /// The records, and what is tried again at the next round.
    fn silences(&mut self, wrong: Wrong, mut renewed: Renewed) -> Vec<Event> {
        let mut events = Vec::new();
        for (hook, why) in wrong {
            let renewed = renewed.remove(hook).unwrap_or(Ok(()));
            let attached_again = renewed.is_ok();
            let reason = match renewed {
                Ok(()) => {
                    self.off.remove(hook);
                    why.to_owned()
                }
                Err(error) => {
                    self.off.insert(hook, why);
                    format!("{why}; it cannot be put right: {error}")
                }
            };
            let (hook, since) = (hook.to_owned(), self.well);
            events.push(Event::ProbeSilent(v1::ProbeSilent { hook, reason, attached_again, since }));
        }
        events
    }
}

/// Hooks that are off or silent, and why.
type Wrong = BTreeMap<&'static str, &'static str>;

/// What came of attaching them again.
type Renewed = BTreeMap<&'static str, Result<(), String>>;

/// Which of the hooks that the canary's deeds go through have run, and the program that was started for it.
pub fn sing(sensor: &Sensor, canary: &Canary) -> Result<(Heard, Option<u32>), SensorError> {
    let (before, Done { hooks, child }, after) = sensor.count_runs(|attached| canary.act(attached))?;
    let silent = silent(&before, &after, &hooks);
    let tried = after.iter().map(|runs| runs.hook).filter(|hook| hooks.contains(hook));
    Ok((tried.map(|hook| (hook, !silent.contains(&hook))).collect(), child))
}

/// Half an interval from now, or up to one and a half: nobody knows when it is safe to take a program off for a while.
fn next(now: Now, interval: Duration) -> u64 {
    let interval = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
    let mut bytes = [0; 8];
    // Without randomness the moment can be foreseen, and comes all the same.
    let _random = getrandom::fill(&mut bytes);
    let offset = u64::from_le_bytes(bytes) % interval.max(1);
    now.boot.saturating_add(interval / 2).saturating_add(offset)
}
