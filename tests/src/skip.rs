//! What cannot run here says so.

use anyhow::{Error, Result, ensure};

use crate::sight;

/// True, with the line that `tests/skips.toml` must list, when the suite needs root and has it not.
pub fn needs_root(suite: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        say(suite, "needs root: the kernel loads the sensor for nobody else");
    }
    !root
}

/// True, with that line, when the kernel forbids tracing to root too. A sensor that does not load for another
/// reason is a failure.
pub fn is_refused(suite: &str, error: &Error) -> bool {
    let refused = format!("{error:#}").contains("the kernel refuses tracing programs to this process");
    if refused {
        say(suite, "the kernel refuses tracing programs to root");
    }
    refused
}

/// What is missing because the kernel skipped so many runs cannot be looked at. On a kernel that may skip none it is a
/// failure.
pub fn say_losses(runs: usize) -> Result<()> {
    ensure!(
        sight::may_skip()?,
        "{runs} runs of the sensor's programs were skipped on a kernel that has no reason to"
    );
    say("losses", &format!("the kernel skipped {runs} runs of the sensor's programs"));
    Ok(())
}

/// Leaves something out.
pub fn say(name: &str, reason: &str) {
    println!("skipped: {name}: {reason}");
}
