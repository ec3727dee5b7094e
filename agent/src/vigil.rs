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
    off: BTreeMap<&'static str, &'static str>,
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
        let (off, heard) = (BTreeMap::new(), BTreeMap::new());
        Self { canary, interval, due: next(now, interval), well: now.boot, off, heard }
    }

    /// Did a hook's programs run in the last round? None where nothing was done that it hangs on.
    pub fn heard(&self, hook: &str) -> Option<bool> {
        self.heard.get(hook).copied()
    }

    /// Once a second.
    pub fn look(&mut self, sensor: &mut Sensor, now: Now) -> Seen {
        let mut seen = Seen::default();
        let lost = sensor.lost_hooks().into_iter().filter(|hook| !self.off.contains_key(hook));
        for (hook, why) in lost.map(|hook| (hook, LOST)).collect::<Vec<_>>() {
            let renewed = renew(sensor, hook);
            seen.events.push(self.silence(hook, why, renewed));
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
        if let Err(error) = self.listen(sensor, seen) {
            tracing::error!("the sensor cannot be tried out: {}", exit::in_one_line(&error));
        }
        match sensor.mend_maps() {
            Ok(mended) => seen.events.extend(mended.into_iter().map(|(map, change)| {
                Event::MapChanged(v1::MapChanged { map: map.to_owned(), change, since: self.well })
            })),
            Err(error) => {
                tracing::error!("the sensor's maps cannot be compared: {}", exit::in_one_line(&error));
            }
        }
        if seen.events.len() == before {
            self.well = now.boot;
        }
    }

    /// Attaches again what is silent, and listens once more.
    fn listen(&mut self, sensor: &mut Sensor, seen: &mut Seen) -> Result<(), SensorError> {
        let silent = self.sing(sensor, seen)?;
        let mut wrong = self.off.clone();
        wrong.extend(silent.into_iter().map(|hook| (hook, SILENT)));
        if wrong.is_empty() {
            return Ok(());
        }
        let renewed: Vec<_> = wrong.keys().map(|hook| renew(sensor, hook)).collect();
        let still = self.sing(sensor, seen)?;
        for ((hook, why), renewed) in wrong.into_iter().zip(renewed) {
            let renewed = match still.contains(&hook) {
                true => renewed.and(Err("it stays silent when it is attached again".to_owned())),
                false => renewed,
            };
            seen.events.push(self.silence(hook, why, renewed));
        }
        Ok(())
    }

    /// Hooks that stay silent.
    fn sing(&mut self, sensor: &Sensor, seen: &mut Seen) -> Result<Vec<&'static str>, SensorError> {
        let (heard, child) = sing(sensor, &self.canary)?;
        seen.children.extend(child);
        self.heard = heard;
        Ok(self.heard.iter().filter(|(_, heard)| !**heard).map(|(hook, _)| *hook).collect())
    }

    /// The record, and what is tried again at the next round.
    fn silence(&mut self, hook: &'static str, why: &'static str, renewed: Result<(), String>) -> Event {
        let attached_again = renewed.is_ok();
        let reason = match renewed {
            Ok(()) => {
                self.off.remove(hook);
                why.to_owned()
            }
            Err(error) => {
                self.off.insert(hook, why);
                format!("{why}; {error}")
            }
        };
        Event::ProbeSilent(v1::ProbeSilent {
            hook: hook.to_owned(),
            reason,
            attached_again,
            since: self.well,
        })
    }
}

/// Which of the hooks that the canary's deeds go through have run, and the program that was started for it.
pub fn sing(sensor: &Sensor, canary: &Canary) -> Result<(Heard, Option<u32>), SensorError> {
    let (before, Done { hooks, child }, after) = sensor.count_runs(|attached| canary.act(attached))?;
    let silent = silent(&before, &after, &hooks);
    let tried = after.iter().map(|runs| runs.hook).filter(|hook| hooks.contains(hook));
    Ok((tried.map(|hook| (hook, !silent.contains(&hook))).collect(), child))
}

fn renew(sensor: &mut Sensor, hook: &'static str) -> Result<(), String> {
    sensor
        .hang_again(hook)
        .map_err(|error| format!("it cannot be attached again: {}", exit::in_one_line(&error)))
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
