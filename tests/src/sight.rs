//! What this kernel lets the sensor see: on one without inode-time tracepoints (before 6.13) that does not let programs hang
//! on functions of the VFS either (or before 5.15) less is expected.

use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use crate::programs::{self, AGENT};
use crate::record::Expected;

/// True when changes are seen by inode, whoever makes them: then a success is confirmed, and names are the
/// kernel's. Else writes are seen only of the calls that the sensor looks at.
pub fn of_changes() -> bool {
    static SEEN: OnceLock<bool> = OnceLock::new();
    *SEEN.get_or_init(|| match says("witnessed") {
        Ok(said) => said,
        Err(error) => {
            eprintln!("taken for a kernel that shows all: {error:#}");
            true
        }
    })
}

/// True when what tells of changes knows the inode only, and not by which of its names it was reached.
pub fn of_inodes_alone() -> bool {
    report().is_ok_and(|report| report["witness"] == "inode-time tracepoints")
}

/// True when the sensor is told what requests of io_uring are about (from 6.1 on). Else only that there are some.
pub fn of_requests() -> Result<bool> {
    Ok(running()? >= (6, 1))
}

/// True when it has every kind of request but a few that came later.
pub fn of_most_requests() -> Result<bool> {
    Ok(running()? >= (6, 11))
}

/// True when the kernel may skip a run of the sensor's programs because another was preempted: from 7.0 on, and before with
/// `preempt=full` on its command line those on functions. Else it skips only what would enter itself, which the sensor never
/// does, and 5.10 does not even count that: a run that is missing there is a fault of the sensor.
pub fn may_skip() -> Result<bool> {
    static MAY: OnceLock<bool> = OnceLock::new();
    if let Some(may) = MAY.get() {
        return Ok(*may);
    }
    let orders = std::fs::read_to_string("/proc/cmdline")?;
    let is_preempted = orders.split_whitespace().any(|word| word == "preempt=full");
    let may = running()? >= SKIPS_FROM || (is_preempted && of_changes());
    Ok(*MAY.get_or_init(|| may))
}

/// See [`may_skip`].
const SKIPS_FROM: (u32, u32) = (7, 0);

/// Major and minor number of the running kernel.
fn running() -> Result<(u32, u32)> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    numbers(&release).with_context(|| format!("kernel release {release} has no number"))
}

fn numbers(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Whether this kernel gives such a record at all.
pub fn sees(expected: &Expected) -> bool {
    of_changes() || expected.by_call()
}

/// What the agent's doctor says of this kernel.
fn says(word: &str) -> Result<bool> {
    report()?[word].as_bool().with_context(|| format!("doctor does not say `{word}`"))
}

/// Asked once.
fn report() -> Result<&'static Value> {
    static REPORT: OnceLock<Result<Value, String>> = OnceLock::new();
    let ask = || -> Result<Value> {
        let ended = programs::run(AGENT, ["doctor", "--json"])?.succeeded()?;
        Ok(serde_json::from_str(ended.text()?)?)
    };
    let report = REPORT.get_or_init(|| ask().map_err(|error| format!("{error:#}")));
    report.as_ref().map_err(|words| anyhow!("{words}"))
}

/// Is this an emulated machine, in which everything takes its time? `cargo xtask vm` says so.
pub fn is_emulated() -> bool {
    std::env::var_os("GRAVEN_VM").is_some()
}

/// So many repetitions, or under emulation, where each takes many times as long, this part of them.
pub fn repetitions(count: usize, part: usize) -> usize {
    if is_emulated() { count / part } else { count }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_of_all_distributions_skip_from_7_0_on_and_no_earlier() {
        let skips = |release| numbers(release).map(|numbers| numbers >= SKIPS_FROM);
        assert_eq!(skips("5.10.0-46-cloud-amd64"), Some(false));
        assert_eq!(skips("6.18.44-fc-v657"), Some(false));
        assert_eq!(skips("7.0-rc3"), Some(true));
        assert_eq!(skips("10.1.0"), Some(true));
        assert_eq!(skips("next"), None);
    }
}
