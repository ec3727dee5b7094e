//! The logger's own condition: what it lost, and whether its clock can be trusted.
//!
//! In: the sensor's counters, the programs' skip counters and both clocks, once a second; how often each program ran. Out:
//! what is new since the last look, how long the agent itself did not run, and which programs stayed silent. Always: a counter that grows is said once, with its kind and hook. Never: reads
//! anything itself. A counter that goes back (a new sensor) counts from zero.

mod repeated;
mod silence;

use std::collections::BTreeMap;

use graven_record::frame::LossKind;

use crate::seal::Now;
use crate::sensor::Counters;

pub use repeated::Repeated;
pub use silence::silent;

/// The wall clock drifts and is slewed; what moves more than this within a second was stepped, ns.
const STEP: i64 = 500_000_000;

/// The agent looks around each second; one that does not for this long was kept from it, ns.
const PAUSE: u64 = 10_000_000_000;

/// What was seen last.
#[derive(Debug, Default)]
pub struct Health {
    /// CLOCK_MONOTONIC and CLOCK_BOOTTIME at the last look.
    awake: Option<(u64, u64)>,
    counters: Counters,
    skipped: BTreeMap<&'static str, u64>,
    offset: Option<i64>,
}

/// One new loss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Where it was lost.
    pub kind: LossKind,
    /// How many.
    pub count: u64,
    /// The program that was skipped; empty otherwise.
    pub hook: &'static str,
}

impl Health {
    /// What was lost since the last call.
    pub fn losses(&mut self, counters: Counters, skipped: &[(&'static str, u64)]) -> Vec<Loss> {
        let before = std::mem::replace(&mut self.counters, counters);
        let [life, protected, activity] = counters.lost;
        let [life_before, protected_before, activity_before] = before.lost;
        let mut losses = vec![
            loss(LossKind::Life, life, life_before, ""),
            loss(LossKind::Protected, protected, protected_before, ""),
            loss(LossKind::Activity, activity, activity_before, ""),
            loss(LossKind::State, counters.state_full, before.state_full, ""),
        ];
        losses.extend(skipped.iter().map(|(hook, now)| {
            let before = self.skipped.insert(hook, *now).unwrap_or(0);
            loss(LossKind::Skipped, *now, before, hook)
        }));
        losses.retain(|loss| loss.count > 0);
        losses
    }

    /// Since when (CLOCK_BOOTTIME) and for how long the agent did not run, if it did not for longer than is its way: ns. The
    /// time that the host slept is not in `monotonic`.
    pub fn pause(&mut self, now: Now, monotonic: u64) -> Option<(u64, u64)> {
        let (awake, since) = self.awake.replace((monotonic, now.boot))?;
        let lasted = monotonic.saturating_sub(awake);
        (lasted >= PAUSE).then_some((since, lasted))
    }

    /// How far the wall clock was stepped since the last call, ns.
    pub fn clock_step(&mut self, now: Now) -> Option<i64> {
        let offset = now.wall.cast_signed().wrapping_sub(now.boot.cast_signed());
        let before = self.offset.replace(offset)?;
        let step = offset.wrapping_sub(before);
        (step.abs() >= STEP).then_some(step)
    }
}

fn loss(kind: LossKind, now: u64, before: u64, hook: &'static str) -> Loss {
    let count = now.checked_sub(before).unwrap_or(now);
    Loss { kind, count, hook }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_is_said() {
        let mut health = Health::default();
        let counters = Counters { lost: [0, 3, 0], ..Counters::default() };
        let first = health.losses(counters, &[("sys_exit", 2)]);
        assert_eq!(
            first,
            [
                Loss { kind: LossKind::Protected, count: 3, hook: "" },
                Loss { kind: LossKind::Skipped, count: 2, hook: "sys_exit" }
            ]
        );
        assert!(health.losses(counters, &[("sys_exit", 2)]).is_empty());
        assert_eq!(health.losses(counters, &[("sys_exit", 5)])[0].count, 3);
    }

    #[test]
    fn a_look_that_comes_late_is_a_pause_and_sleep_of_the_host_is_none() {
        let mut health = Health::default();
        let at = |boot| Now { wall: 0, boot };
        assert_eq!(health.pause(at(5), 5), None);
        assert_eq!(health.pause(at(5 + PAUSE - 1), 5 + PAUSE - 1), None);
        assert_eq!(health.pause(at(5 + 3 * PAUSE), 5 + 3 * PAUSE), Some((5 + PAUSE - 1, 2 * PAUSE + 1)));
        assert_eq!(health.pause(at(9 * PAUSE), 6 + 3 * PAUSE), None, "it slept");
    }

    #[test]
    fn a_clock_set_back_an_hour_is_a_step_and_drift_is_not() {
        let mut health = Health::default();
        let hour = 3_600_000_000_000;
        assert_eq!(health.clock_step(Now { wall: 10 * hour, boot: hour }), None);
        assert_eq!(health.clock_step(Now { wall: 10 * hour + 1_000_400, boot: hour + 1_000_000 }), None);
        let step = health.clock_step(Now { wall: 9 * hour + 2_000_000, boot: hour + 2_000_000 });
        assert!(step.is_some_and(|step| (step + 3_600_000_000_000).abs() < 1_000_000));
    }
}
