//! The kernel remembers which directories are mutable, so that it need not walk up for every change. Whatever
//! moves directories between protected and mutable places must make it forget in time: a change in a protected
//! place is never lost to a remembered `ignore`.
//!
//! Seeded chance, many steps: after each, changes are made where it matters, and all of them must be in the log.

mod along;
mod moves;
mod race;
mod roots;
mod world;

use anyhow::Result;
use graven_tests::actor::Actor;

const SUITE: &str = "cache";

fn actor() -> Result<Actor> {
    Actor::new(env!("CARGO_BIN_EXE_graven-actor"))
}
