//! One agent takes over from another that was stopped, or died: its programs were left on their hooks, and what happened
//! meanwhile waits in its rings.

use std::thread::sleep;
use std::time::Duration;

use graven_record::frame::LossKind;
use graven_record::id::HostId;

use super::Watch;
use crate::config::Config;
use crate::exit;
use crate::lock::Lock;
use crate::seal::Now;
use crate::sensor::{Counted, Counters, Inherited, Left, MARGIN, Pins, Sensor, SensorError, Twins, refusal};

/// For so long both sensors are attached: a program that had begun before the new one was there has ended by then, ns.
const OVERLAP: u64 = 100_000_000;

/// Lets go what earlier runs left, of whatever identity, without telling it: how many sensors, and how many records waited in
/// them.
pub fn detach(config: &Config) -> anyhow::Result<(usize, u64)> {
    if !rustix::process::geteuid().is_root() {
        return Err(SensorError::NotRoot.into());
    }
    let _locks = [Lock::of_runtime(&config.runtime)?, Lock::of_state(&config.state)?];
    let (mut runs, mut records, mut failure) = (0, 0, None);
    let left = Pins::all(&config.sensor.pins)?.iter().map(Pins::left).collect::<Result<Vec<_>, _>>()?;
    for left in left.iter().flatten() {
        let _lock = match left.lock() {
            Ok(Some(lock)) => lock,
            Ok(None) => continue,
            Err(error) => {
                failure = Some(anyhow::Error::new(error));
                continue;
            }
        };
        // What cannot be read is let go like the rest.
        let taken = left.take(u64::MAX).map(|taken| taken.records.len() as u64 + taken.unreadable);
        records += taken.unwrap_or_else(|error| {
            tracing::warn!("what waited cannot be counted: {}", exit::in_one_line(&error));
            0
        });
        match left.forget() {
            Ok(()) => runs += 1,
            Err(error) => {
                failure =
                    Some(anyhow::Error::new(error).context("what an earlier run left cannot be removed"));
            }
        }
    }
    match failure {
        Some(error) => Err(error.context(format!("{runs} sensors were taken off, another stays"))),
        None => Ok((runs, records)),
    }
}

/// What a start finds.
#[derive(Debug, Default)]
pub(super) struct Succession {
    left: Vec<Left>,
    /// Nobody else's, until they are forgotten.
    held: Vec<Lock>,
    inherited: Vec<Inherited>,
    /// What the new sensor's records need not tell.
    pub(super) twins: Twins,
    /// What the log should say that it may not have, one line each.
    pub(super) unseen: Vec<String>,
}

impl Succession {
    /// Records that waited.
    pub(super) fn late(&self) -> u64 {
        self.inherited.iter().map(|inherited| inherited.records.len() as u64).sum()
    }

    /// What those before have told around a moment. Where there are none, there is nothing to leave out.
    fn around(&self, moment: u64) -> Twins {
        match self.inherited.as_slice() {
            [] => Twins::default(),
            inherited => Twins::around(moment, inherited.iter().flat_map(|inherited| &inherited.records)),
        }
    }

    fn say(&mut self, error: &(dyn std::error::Error + 'static)) {
        let why = exit::in_one_line(error);
        tracing::error!("what happened while no agent ran cannot be told: {why}");
        self.unseen.push(format!("what happened before this start while no agent ran: {why}"));
    }
}

/// Of what was inherited: what the sensor's own counters do not have.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) seen: u64,
    pub(super) lost: u64,
}

/// Once the sensor is attached: keeps it, if it is to stay, and takes what earlier ones left, which are let go. Whatever fails
/// is said; the agent watches all the same.
pub(super) fn succeed(config: &Config, host: &HostId, sensor: &mut Sensor) -> Succession {
    let mut succession = Succession::default();
    let pins = Pins::of(&config.sensor.pins, host);
    let left = pins.left().unwrap_or_else(|error| {
        succession.say(&error);
        Vec::new()
    });
    // Another agent of this identity has another state; its sensor is not left.
    let (left, held): (Vec<Left>, Vec<Lock>) = left
        .into_iter()
        .filter_map(|left| match left.lock() {
            Ok(lock) => Some(left).zip(lock),
            Err(error) => {
                succession.say(&error);
                None
            }
        })
        .unzip();
    // Known before the sensor is kept: whoever comes after a crash in between knows whose each moment is.
    let from = if left.is_empty() { 0 } else { Now::read().boot.saturating_add(OVERLAP) };
    if let Err(error) = sensor.begin_at(from) {
        succession.say(&error);
    }
    if config.sensor.stay {
        let kept = refusal(&config.sensor.pins).map_or(Ok(()), |why| Err(anyhow::anyhow!(why)));
        if let Err(error) = kept.and_then(|()| Ok(sensor.stay(&pins)?)) {
            let why = exit::sentence(&error);
            tracing::warn!("a restart of the agent leaves a moment unwatched: {why}");
            succession.unseen.push(format!("what happens while the agent does not run: {why}"));
        }
    }
    if left.is_empty() {
        return succession;
    }
    // The old ones' word counts until then.
    let end = from.saturating_add(MARGIN);
    sleep(Duration::from_nanos(end.saturating_sub(Now::read().boot)));
    // What cannot be is not believed.
    let begins: Vec<Option<u64>> =
        left.iter().map(|left| left.from().filter(|begin| *begin <= from)).collect();
    for (index, left) in left.iter().enumerate() {
        let until = begins.iter().skip(index + 1).flatten().min().copied().unwrap_or(from);
        match left.take(until) {
            Ok(mut inherited) => {
                // One that was killed while it took over itself tells what is its own.
                let mut twins = begins[index].map(|begin| succession.around(begin)).unwrap_or_default();
                inherited.records.retain(|raw| twins.is_new(raw));
                succession.inherited.push(inherited);
            }
            Err(error) => succession.say(&error),
        }
    }
    succession.twins = succession.around(from);
    (succession.left, succession.held) = (left, held);
    succession
}

impl Watch {
    /// Tells what has waited, and forgets it once it is on disk.
    pub(super) fn inherit(&mut self, succession: Succession) {
        for inherited in succession.inherited {
            self.feed(inherited.records.iter());
            self.inherited.seen += inherited.records.len() as u64;
            self.inherited.lost += inherited.lost.losses();
            let now = Now::read();
            inherited.rows.iter().for_each(|row| self.tell_row(row));
            let Counted { lost: [life, protected, activity], state_full, skipped, .. } = inherited.lost;
            for (kind, count) in [
                (LossKind::Life, life),
                (LossKind::Protected, protected),
                (LossKind::Activity, activity),
                (LossKind::State, state_full),
                (LossKind::Skipped, skipped),
                (LossKind::Undecodable, inherited.unreadable),
                (LossKind::Queue, inherited.in_hand),
            ] {
                self.sealer.lose(kind, count, "", now);
            }
            self.write(true);
        }
        for left in &succession.left {
            if let Err(error) = left.forget() {
                tracing::error!(
                    "what an earlier run left cannot be removed, and will be counted again: {error}"
                );
            }
        }
        drop(succession.held);
        self.twins = succession.twins;
    }

    /// What the sensor has counted, and is told by now.
    pub(super) fn count(&mut self, counters: &Counters, skipped: &[(&'static str, u64)]) {
        self.counted.lost = counters.lost;
        self.counted.state_full = counters.state_full;
        self.counted.skipped = skipped.iter().map(|(_, misses)| misses).sum();
        self.safe.handed(Now::read().boot, self.counted);
    }

    /// What is on disk by now, a successor need not tell.
    pub(super) fn tell_successor(&mut self) {
        if !self.sensor.stays() || self.disk_says.is_bad() {
            return;
        }
        if let Some(counted) = self.safe.stored(self.sealer.oldest())
            && let Err(error) = self.sensor.tell(counted)
        {
            tracing::error!("{}", exit::in_one_line(&error));
        }
    }
}
