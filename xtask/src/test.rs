//! `cargo xtask test`: all that can be tested here; the last line is the count.
//!
//! In: names of suites or packages, or none for all. Out: a stage for each, its closing `test result:` line,
//! the time it took and may take. Always: what was left out is listed in `tests/skips.toml` or a failure;
//! a suite over its budget is a failure. Never: a pass without a `test result:` line.

use crate::auditd::Programs;
use crate::build;
use crate::cargo::{cargo, clean};
use crate::children::Ended;
use crate::count::Count;
use crate::guests::{self, Built};
use crate::repo::Repo;
use crate::screen;
use crate::setup::{self, Install};
use crate::stages::{Stage, Stages};
use crate::suites::{Plan, Program, Suite, compile};
use anyhow::{Context, Result};
use std::process::{Command, ExitCode};
use std::time::Duration;

/// A test program that has not ended after this is ended: the slowest takes a small part of it.
const UNIT_LIMIT: Duration = Duration::from_secs(300);

/// The suite that compares with the kernel's audit. Its budget makes it the last one.
pub(crate) const AUDITED: &str = "differential";

/// A suite is over its budget at once it is exceeded, but may run on this much longer to tell its results.
const SUITE_LIMIT: u32 = 2;

/// What every test program is told: the counting reads what passed tests printed.
pub(crate) const OPTIONS: [&str; 2] = ["--show-output", "--color=never"];

#[derive(clap::Args)]
#[command(
    after_help = "Builds what it needs first. Suites are tests/suites/*.rs; a name may also be a package, \
                        for its unit tests, or SUITE@KERNEL for a suite in an emulated machine; which suites run there \
                        too is in tests/Cargo.toml. Output of the tests is in target/xtask/logs. What is skipped has to be \
                        listed in tests/skips.toml."
)]
pub(crate) struct Arguments {
    /// Only these suites or packages
    names: Vec<String>,
    #[command(flatten)]
    install: Install,
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode> {
    let repo = Repo::here()?;
    let plan = Plan::make(&repo, &arguments.names)?;
    let mut count = Count::new(&repo)?;
    let documents = usize::from(plan.whole);
    let here = plan.packages.len() + documents + plan.suites.len();
    let audited = plan.suites.iter().any(|suite| suite.name == AUDITED)
        || plan.guests.iter().any(|guest| guest.suite == AUDITED);
    let total =
        setup::STAGES + build::STAGES + 1 + usize::from(audited) + here + guests::stages(&plan.guests);
    let mut stages = Stages::new(&repo, total)?;
    build::run(&repo, &mut stages, arguments.install)?;
    let mut stage = stages.begin("test programs");
    let programs = compile(&repo, &mut stage, &plan)?;
    stage.done("built");
    let audit = audited.then(|| auditd(&repo, stages.begin("auditd"), arguments.install)).flatten();
    for package in &plan.packages {
        let own: Vec<&Program> = programs.iter().filter(|p| p.package == *package && !p.is_suite).collect();
        units(&repo, stages.begin(&format!("unit tests of {package}")), &own, &mut count)?;
    }
    if plan.whole {
        let mut stage = stages.begin("examples in the documentation");
        let ended = stage.attempt(cargo(&repo, &["test", "--release", "--workspace", "--doc"]), None)?;
        let outcome = count.take("documentation", &mut stage, &ended)?;
        outcome.close(stage);
    }
    for suite in &plan.suites {
        let program = suite_program(&programs, &suite.name)?;
        let mut command = command_of(&repo, program);
        if suite.name == AUDITED {
            command.envs(audit.iter().flat_map(Programs::environment));
        }
        run_suite(stages.begin(&format!("suite {}", suite.name)), suite, command, &mut count)?;
    }
    let built = Built { programs: &programs, audit: audit.as_ref() };
    guests::run(&repo, &mut stages, arguments.install, &plan.guests, &built, &mut count)?;
    Ok(count.conclude(stages.elapsed()))
}

/// The program of a suite.
pub(crate) fn suite_program<'a>(programs: &'a [Program], name: &str) -> Result<&'a Program> {
    let program = programs.iter().find(|program| program.is_suite && program.name == name);
    program.with_context(|| format!("cargo compiled no suite {name}"))
}

/// One package's own test programs, one after the other.
fn units(repo: &Repo, mut stage: Stage, programs: &[&Program], count: &mut Count) -> Result<()> {
    if programs.is_empty() {
        stage.done("none");
        return Ok(());
    }
    let mut ended = None;
    for program in programs {
        let this = stage.attempt(command_of(repo, program), Some(UNIT_LIMIT))?;
        if ended.is_none() || !succeeded(&this) {
            ended = Some(this);
        }
    }
    if let Some(ended) = ended {
        let outcome = count.take(&programs[0].package, &mut stage, &ended)?;
        outcome.close(stage);
    }
    Ok(())
}

/// auditd, fetched if it may be; none where it cannot be had: then the suite says so.
fn auditd(repo: &Repo, mut stage: Stage, install: Install) -> Option<Programs> {
    let found = match Programs::find(repo, true) {
        None if !install.no_install => Programs::fetch(repo, &mut stage),
        found => found.context("--no-install was given"),
    };
    match found {
        Ok(programs) => {
            stage.done("found");
            Some(programs)
        }
        Err(error) => {
            stage.done(&format!("not to be had: {error:#}"));
            None
        }
    }
}

fn run_suite(mut stage: Stage, suite: &Suite, command: Command, count: &mut Count) -> Result<()> {
    let ended = stage.attempt(command, Some(suite.budget * SUITE_LIMIT))?;
    let mut outcome = count.take(&suite.name, &mut stage, &ended)?;
    outcome.text += &format!("  budget {} s", suite.budget.as_secs());
    if stage.elapsed() > suite.budget {
        count.fail(format!("{} took {}", suite.name, screen::elapsed(stage.elapsed())));
        outcome.good = false;
        outcome.text += ", exceeded";
    }
    outcome.close(stage);
    Ok(())
}

fn command_of(repo: &Repo, program: &Program) -> Command {
    let mut command = Command::new(&program.executable);
    clean(&mut command);
    command.args(OPTIONS).current_dir(&program.folder);
    command.env("CARGO_MANIFEST_DIR", &program.folder).env("GRAVEN_BIN_DIR", repo.programs());
    command
}

fn succeeded(ended: &Ended) -> bool {
    matches!(ended, Ended::Itself(status) if status.success())
}
