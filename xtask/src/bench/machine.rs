//! The machine: which CPU does what, and what to say of it beside the numbers.

use crate::fault;
use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// Who is where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cpus {
    pub agent: usize,
    pub load: usize,
}

/// The first CPU we may use for the agent, the last for the load.
pub(crate) fn cpus() -> Result<Cpus> {
    let allowed = sched_getaffinity(None).context("cannot ask for our CPUs")?;
    let mut numbers = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu));
    match (numbers.next(), numbers.next_back()) {
        (Some(agent), Some(load)) => Ok(Cpus { agent, load }),
        _ => Err(fault::host("the load and the agent need a CPU each, and this process may use only one")),
    }
}

/// This thread and what it starts.
pub(crate) fn stay_on(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).with_context(|| format!("cannot stay on CPU {cpu}"))
}

/// What stands with the table.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub(crate) struct Facts {
    pub agent: String,
    pub kernel: String,
    pub processor: String,
    pub cpus: usize,
    pub date: String,
}

pub(crate) fn facts(programs: &Path) -> Result<Facts> {
    let output = Command::new(programs.join("graven-agent")).arg("--version").output();
    let version = output.context("cannot start graven-agent")?.stdout;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    let about = std::fs::read_to_string("/proc/cpuinfo").context("cannot read /proc/cpuinfo")?;
    Ok(Facts {
        agent: String::from_utf8_lossy(&version).trim().to_owned(),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        processor: processor(&about),
        cpus: about.lines().filter(|line| line.starts_with("processor")).count(),
        date: date(now.as_secs() / 86_400),
    })
}

fn processor(cpuinfo: &str) -> String {
    let name = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

/// `2026-03-01` of the days since 1970, UTC.
fn date(days: u64) -> String {
    // Years begin in March, so that the day that some have more is their last.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        let known = [
            (0, "1970-01-01"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (19_782, "2024-02-29"),
            (20_453, "2025-12-31"),
        ];
        known.iter().for_each(|(days, text)| assert_eq!(date(*days), *text));
    }

    #[test]
    fn a_processor_without_a_name_is_its_architecture() {
        assert_eq!(processor("processor : 0\nmodel name\t: Some CPU\n"), "Some CPU");
        assert_eq!(processor("processor : 0\n"), std::env::consts::ARCH);
    }
}
