//! Directory trees that move about, by one process and another, and through mounts of a third one's own, while the policy
//! stays what it is and while it changes.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use graven_tests::missing;
use graven_tests::shared::on_stage;
use graven_tests::stage::Stage;
use graven_tests::{sight, words};

use crate::SUITE;
use crate::world::{Places, World};

/// Steps of each seed. One step is a move or the like and a few changes.
const STEPS: usize = 600;
/// Any three: what fails is said with its seed. Of these an emulated machine takes one for each file system, which takes it as
/// long as it takes this one for all.
const SEEDS: [u64; 3] = [1, 20, 300];
/// One for each file system where the policy changes too, which takes the agent some time.
const RELOADED: [u64; 2] = [4_000, 50_000];
/// Fewer there, of which one in thirty changes the policy.
const RELOADED_STEPS: usize = 300;
const LEAST_RELOADS: usize = 4;

/// Returns how often the policy changed.
fn run(stage: &Stage, places: Places, seed: u64, steps: usize) -> Result<usize> {
    let begin = stage.begin()?;
    let mut world = World::new(stage, places, seed)?;
    for step in 0..steps {
        world.step().with_context(|| format!("step {step} of seed {seed}"))?;
    }
    stage.fence()?;
    let told: BTreeSet<(u64, PathBuf)> = stage
        .since(begin.moment, &words!["--kind", "create"])?
        .iter()
        .filter_map(|record| Some((record.pid()?, record.path())))
        .collect();
    let missing: Vec<_> =
        world.must.iter().filter(|(pid, path)| !told.contains(&(u64::from(*pid), path.clone()))).collect();
    ensure!(world.must.len() > steps / 2, "only {} changes were in the protected place", world.must.len());
    let missing = missing::none(&format!("of {} changes of seed {seed}", world.must.len()), missing);
    stage.or_lost(begin, missing)?;
    let reloads = world.reloads;
    world.end()?;
    Ok(reloads)
}

#[test]
fn no_change_is_lost_wherever_directories_move() -> Result<()> {
    on_stage(SUITE, |stage| {
        let seeds = sight::repetitions(SEEDS.len(), SEEDS.len());
        for (number, (_, folder)) in stage.grounds().into_iter().enumerate() {
            for seed in SEEDS.into_iter().cycle().skip(number).take(seeds) {
                run(stage, Places::make(folder, &format!("seed-{seed}"), false)?, seed, STEPS)?;
            }
        }
        Ok(())
    })
}

#[test]
fn no_change_is_lost_when_the_policy_changes_while_directories_move() -> Result<()> {
    let Some(stage) = Stage::unless_refused(SUITE, || Stage::start("policies"))? else { return Ok(()) };
    // Under emulation the agent takes seconds for each.
    let grounds = if sight::is_emulated() { 1 } else { RELOADED.len() };
    for ((_, folder), seed) in stage.grounds().into_iter().zip(RELOADED).take(grounds) {
        let reloads =
            run(&stage, Places::make(folder, &format!("seed-{seed}"), true)?, seed, RELOADED_STEPS)?;
        ensure!(reloads >= LEAST_RELOADS, "the policy changed only {reloads} times");
    }
    stage.finish()
}
