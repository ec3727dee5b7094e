//! What the suites stand on: the real programs in folders of their own, a process that makes changes, and
//! eyes for what the central log says of them.
//!
//! In: the programs of `cargo xtask build` (`GRAVEN_BIN_DIR`, or `target/release`). Always: each test owns its
//! folder and ports; it waits for conditions, with a deadline, and never for time; every process it started
//! is ended with it; the folder with its logs is kept, and said, when it failed. Never: a pass by leaving;
//! what cannot run here says `skipped: NAME: reason`, and `tests/skips.toml` must list it.

pub mod syscalls;
pub mod calls;

pub mod place;
pub mod wait;
pub mod moment;
pub mod programs;
pub mod daemon;
pub mod central;
pub mod agent;

pub mod actor;
pub mod driver;
pub mod audit;
pub mod chance;
pub mod record;
pub mod missing;
pub mod stage;
pub mod sight;
pub mod scene;
pub mod tally;
pub mod shared;
pub mod skip;

pub mod ring;
pub mod kept;
pub mod layout;

pub mod histogram;
pub mod load;
pub mod spooled;
