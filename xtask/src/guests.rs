//! Suites in emulated machines, on Debian's kernels: the same programs, counted like any suite, with the kernel
//! in their name.
//!
//! Always: a boot for each, so that what one leaves behind, or a kernel that dies, is nobody else's. A machine
//! that cannot have an emulator or the kernels skips all of them as `vm`, with the reason.

use crate::auditd::Programs;
use crate::children::Ended;
use crate::count::Count;
use crate::fault::Fault;
use crate::libtest::Skip;
use crate::repo::Repo;
use crate::setup::Install;
use crate::stages::{Stage, Stages};
use crate::suites::{Guest, Program};
use crate::test::{AUDITED, OPTIONS, suite_program};
use crate::vm::{self, Choice, Job, Lab, Machine, Outcome, Wanted, Work};
use anyhow::Result;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// What a boot takes, many times over, so that a loaded machine does not fail a suite.
const BOOT: Duration = Duration::from_secs(60);

/// An emulated processor takes five to ten times as long as the one it runs on; twice that is not slow, but hung.
const EMULATION: u32 = 20;

/// Files of this repository that suites read.
const FIXTURES: &str = "tests/fixtures";

/// What the suites are made of.
pub(crate) struct Built<'a> {
    pub programs: &'a [Program],
    /// For the suite that compares with audit, where it can be had.
    pub audit: Option<&'a Programs>,
}

impl Built<'_> {
    /// auditd, if this suite needs it.
    fn audit(&self, guest: &Guest) -> Option<&Programs> {
        self.audit.filter(|_| guest.suite == AUDITED)
    }
}

/// Stages of [`run`].
pub(crate) fn stages(guests: &[Guest]) -> usize {
    if guests.is_empty() { 0 } else { vm::STAGES + guests.len() }
}

/// Boots and counts all of them.
pub(crate) fn run(
    repo: &Repo,
    stages: &mut Stages,
    install: Install,
    guests: &[Guest],
    built: &Built<'_>,
    count: &mut Count,
) -> Result<()> {
    if guests.is_empty() {
        return Ok(());
    }
    let mut wanted: Vec<Wanted> = guests.iter().map(|guest| guest.kernel).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let lab = match Lab::open(repo, stages, install, &wanted, false) {
        Ok(lab) => lab,
        Err(error) => {
            let skip = cannot(&error).ok_or(error)?;
            stages.say(&format!("skipped: {}: {}", skip.name, skip.reason));
            count.skip("guests", skip);
            return Ok(());
        }
    };
    let mut files: Vec<PathBuf> = vm::present(&repo.programs())?;
    files.push(repo.root.join(FIXTURES));
    for guest in guests {
        files.push(suite_program(built.programs, &guest.suite)?.executable.clone());
    }
    files.extend(guests.iter().find_map(|guest| built.audit(guest)).map_or_else(Vec::new, Programs::files));
    let machine = lab.furnish(stages.begin("disks"), &Choice::default(), &files)?;
    let room = Room { repo, lab: &lab, machine, built };
    let work = Work {
        title: &|guest: &Guest| format!("suite {}", guest.name()),
        run: &|guest, stage| room.boot(stage, guest),
        finish: &mut |guest, stage, outcome| room.close(stage, guest, outcome, count),
    };
    vm::together::all(stages, guests, work)
}

/// Where suites are booted.
struct Room<'a> {
    repo: &'a Repo,
    lab: &'a Lab,
    machine: Machine,
    built: &'a Built<'a>,
}

impl Room<'_> {
    fn boot(&self, stage: &mut Stage, guest: &Guest) -> Result<Outcome> {
        let program = suite_program(self.built.programs, &guest.suite)?;
        let kernel = self.lab.kernel(guest.kernel)?;
        let append = guest.append.clone();
        let machine = Machine { limit: BOOT + guest.budget * EMULATION, append, ..self.machine.clone() };
        self.lab.boot(stage, kernel, &machine, &self.job(guest, program), &guest.name())
    }

    /// Counts what it said, and says how it ended.
    fn close(&self, mut stage: Stage, guest: &Guest, outcome: Outcome, count: &mut Count) -> Result<()> {
        let name = guest.name();
        let (ended, died) = match outcome {
            Outcome::Status(code) => (Ended::Itself(ExitStatus::from_raw(code << 8)), None),
            Outcome::OutOfTime => (Ended::OutOfTime, None),
            // No program ends with this; that it is no success is what counts.
            Outcome::Died(words) => (Ended::Itself(ExitStatus::from_raw(255 << 8)), Some(words)),
        };
        let mut outcome = count.take(&name, &mut stage, &ended)?;
        if died.is_some() {
            outcome.text += "  the guest died";
        }
        outcome.text += &format!("  {}", self.lab.kernel(guest.kernel)?.release);
        outcome.close(stage);
        if !outcome.good {
            let place = self.lab.results(&name);
            println!(
                "  the kernel's messages and what the suite kept: {}",
                self.repo.short(&place).display()
            );
        }
        Ok(())
    }

    fn job(&self, guest: &Guest, program: &Program) -> Job {
        let mut command = vec![program.executable.to_string_lossy().into_owned()];
        command.extend(OPTIONS.map(str::to_owned));
        let mut job = Job::new(&command, &self.repo.programs(), &guest.kernel.to_string(), &program.folder);
        let folder = program.folder.to_string_lossy().into_owned();
        job.environment.push(("CARGO_MANIFEST_DIR".to_owned(), folder));
        let audit = self.built.audit(guest).map(Programs::environment).into_iter().flatten();
        job.environment
            .extend(audit.map(|(name, value)| (name.to_owned(), value.to_string_lossy().into_owned())));
        job
    }
}

/// The machine's fault is a skip; none for any other.
fn cannot(error: &anyhow::Error) -> Option<Skip> {
    let Some(Fault::Host(reason)) = error.downcast_ref::<Fault>() else { return None };
    let reason = reason.lines().map(str::trim).collect::<Vec<_>>().join("; ");
    Some(Skip { name: "vm".to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault;

    #[test]
    fn only_what_the_machine_cannot_do_is_a_skip() {
        assert_eq!(cannot(&anyhow::anyhow!("a mistake of ours")), None);
        let reason = "missing: an emulator; install it".to_owned();
        let skip = Skip { name: "vm".to_owned(), reason };
        assert_eq!(cannot(&fault::host("missing: an emulator\n install it")), Some(skip));
    }
}
