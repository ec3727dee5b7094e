//! What this kernel lets the sensor see: on one without inode-time tracepoints (before 6.13) less is expected.

use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::programs::{self, AGENT};
use crate::record::Expected;

/// True when changes are seen by inode, whoever makes them: then a success is confirmed, and names are the
/// kernel's. Else a path call is `reported` under the name that the caller gave, and writes are seen only of the
/// calls that the sensor looks at.
pub fn of_changes() -> bool {
    static SEEN: OnceLock<bool> = OnceLock::new();
    *SEEN.get_or_init(|| match witnessed() {
        Ok(witnessed) => witnessed,
        Err(error) => {
            eprintln!("taken for a kernel that shows all: {error:#}");
            true
        }
    })
}

/// True when the sensor is told what requests of io_uring are about (from 6.1 on). Else only that there are some.
pub fn of_requests() -> Result<bool> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor) >= (6, 1)),
        _ => bail!("kernel release {release} has no number"),
    }
}

/// Whether this kernel gives such a record at all.
pub fn sees(expected: &Expected) -> bool {
    of_changes() || expected.by_call()
}

/// What the agent's doctor says of the tracepoints that name what really changed.
fn witnessed() -> Result<bool> {
    let ended = programs::run(AGENT, ["doctor", "--json"])?.succeeded()?;
    let report: Value = serde_json::from_str(ended.text()?)?;
    report["witnessed"].as_bool().context("doctor does not say whether changes are witnessed")
}
