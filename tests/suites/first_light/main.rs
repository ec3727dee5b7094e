//! On the real kernel, with the real agent and central log: every kind of change of a protected place is a
//! violation with the real path, the process, its ancestors, its user and the policy's entry, exactly once;
//! what changes nothing is no record.
//!
//! All tests share one agent; each has a directory of its own.

mod calls;
mod writes;
mod renames;
mod programs;
mod hostile;
mod shown;
mod agent;

use anyhow::Result;
use graven_tests::actor::Actor;
use graven_tests::scene::Scene;
use graven_tests::shared::on_stage;

const SUITE: &str = "first_light";

fn actor() -> Result<Actor> {
    Actor::new(env!("CARGO_BIN_EXE_graven-actor"))
}

/// A test in a directory of its own; what it expects is compared at the end.
fn scene(name: &str, test: impl FnOnce(&mut Scene<'_>) -> Result<()>) -> Result<()> {
    on_stage(SUITE, |stage| {
        let mut scene = Scene::new(stage, name, &actor()?)?;
        test(&mut scene)?;
        scene.check()
    })
}
