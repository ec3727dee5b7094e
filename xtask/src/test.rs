//! `cargo xtask test`: all that can be tested here; the last line is the count.
//!
//! In: names of suites or packages, or none for all. Out: a stage for each, its closing `test result:` line,
//! the time it took and may take. Always: what was left out is listed in `tests/skips.toml` or a failure;
//! a suite over its budget is a failure. Never: a pass without a `test result:` line.

use crate::build;
use crate::cargo::{cargo, clean};
use crate::children::Ended;
use crate::fault;
use crate::libtest::{Report, Skip};
use crate::repo::Repo;
use crate::screen::{self, Tone, paint};
use crate::setup::{self, Install};
use crate::stages::{Stage, Stages, how, last_words};
use crate::suites::{Plan, Program, Suite, compile};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// A test program that has not ended after this is ended: the slowest takes a small part of it.
const UNIT_LIMIT: Duration = Duration::from_secs(300);

/// A suite is over its budget at once it is exceeded, but may run on this much longer to tell its results.
const SUITE_LIMIT: u32 = 2;

/// Lines of a failed program's log that are shown.
const LINES_SHOWN: usize = 60;

#[derive(clap::Args)]
#[command(
    after_help = "Builds what it needs first. Suites are tests/suites/*.rs; a name may also be a package, \
                        for its unit tests. Output of the tests is in target/xtask/logs. What is skipped has to be \
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
    let mut count = Count { known: known_skips(&repo)?, ..Count::default() };
    let documents = usize::from(plan.whole);
    let total = setup::STAGES + build::STAGES + 1 + plan.packages.len() + documents + plan.suites.len();
    let mut stages = Stages::new(&repo, total)?;
    build::run(&repo, &mut stages, arguments.install)?;
    let mut stage = stages.begin("test programs");
    let programs = compile(&repo, &mut stage, &plan)?;
    stage.done("built");
    for package in &plan.packages {
        let own: Vec<&Program> = programs.iter().filter(|p| p.package == *package && !p.is_suite).collect();
        units(&repo, stages.begin(&format!("unit tests of {package}")), &own, &mut count)?;
    }
    if plan.whole {
        let mut stage = stages.begin("examples in the documentation");
        let ended = stage.attempt(cargo(&repo, &["test", "--release", "--workspace", "--doc"]), None)?;
        let outcome = count.take("documentation", &mut stage, &ended)?;
        close(stage, &outcome);
    }
    for suite in &plan.suites {
        let program = programs.iter().find(|program| program.is_suite && program.name == suite.name);
        let program = program.with_context(|| format!("cargo compiled no suite {}", suite.name))?;
        run_suite(&repo, stages.begin(&format!("suite {}", suite.name)), suite, program, &mut count)?;
    }
    Ok(count.conclude(stages.elapsed()))
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
        close(stage, &outcome);
    }
    Ok(())
}

fn run_suite(
    repo: &Repo,
    mut stage: Stage,
    suite: &Suite,
    program: &Program,
    count: &mut Count,
) -> Result<()> {
    let ended = stage.attempt(command_of(repo, program), Some(suite.budget * SUITE_LIMIT))?;
    let mut outcome = count.take(&suite.name, &mut stage, &ended)?;
    outcome.text += &format!("  budget {} s", suite.budget.as_secs());
    if stage.elapsed() > suite.budget {
        count.fail(format!("{} took {}", suite.name, screen::elapsed(stage.elapsed())));
        outcome.good = false;
        outcome.text += ", exceeded";
    }
    close(stage, &outcome);
    Ok(())
}

fn command_of(repo: &Repo, program: &Program) -> Command {
    let mut command = Command::new(&program.executable);
    clean(&mut command);
    command.args(["--show-output", "--color=never"]).current_dir(&program.folder);
    command.env("CARGO_MANIFEST_DIR", &program.folder).env("GRAVEN_BIN_DIR", repo.programs());
    command
}

fn succeeded(ended: &Ended) -> bool {
    matches!(ended, Ended::Itself(status) if status.success())
}

fn close(stage: Stage, outcome: &Outcome) {
    let mut lines = outcome.results.clone();
    if outcome.good {
        stage.done(&outcome.text);
    } else {
        lines.push(format!("the end of {}:", stage.shown_log().display()));
        lines.extend(last_words(stage.log(), LINES_SHOWN));
        stage.failed(&outcome.text);
    }
    lines.iter().for_each(|line| println!("  {line}"));
}

/// How one stage of tests ended.
struct Outcome {
    good: bool,
    text: String,
    /// The programs' own closing lines, if there are several.
    results: Vec<String>,
}

/// What `tests/skips.toml` says may be left out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Skips {
    #[serde(default)]
    skip: Vec<Listed>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    name: String,
    reason: String,
}

fn known_skips(repo: &Repo) -> Result<BTreeMap<String, String>> {
    let path = repo.root.join("tests/skips.toml");
    let text = std::fs::read_to_string(&path).context("cannot read tests/skips.toml")?;
    let skips: Skips =
        toml::from_str(&text).map_err(|error| fault::usage(format!("tests/skips.toml: {error}")))?;
    if let Some(bare) = skips.skip.iter().find(|listed| listed.reason.trim().is_empty()) {
        return Err(fault::usage(format!("tests/skips.toml: {} needs a reason", bare.name)));
    }
    Ok(skips.skip.into_iter().map(|listed| (listed.name, listed.reason)).collect())
}

/// All counts so far.
#[derive(Default)]
struct Count {
    passed: usize,
    failed: usize,
    skips: Vec<Skip>,
    failures: Vec<String>,
    known: BTreeMap<String, String>,
}

impl Count {
    fn fail(&mut self, what: String) {
        self.failed += 1;
        self.failures.push(what);
    }

    /// Adds what a stage's log says.
    fn take(&mut self, name: &str, stage: &mut Stage, ended: &Ended) -> Result<Outcome> {
        let log =
            File::open(stage.log()).with_context(|| format!("cannot read {}", stage.log().display()))?;
        let report = Report::read(name, BufReader::new(log)).context("cannot read a test's log")?;
        Ok(self.add(name, report, ended))
    }

    fn add(&mut self, name: &str, report: Report, ended: &Ended) -> Outcome {
        let before = self.failed;
        self.passed += report.truly_passed();
        self.failed += report.failed;
        self.failures.extend(report.failures.iter().map(|test| format!("{name}: {test}")));
        match ended {
            Ended::OutOfTime => self.fail(format!("{name} did not end and was ended")),
            // With counted failures the exit code says nothing new.
            Ended::Itself(status) if !status.success() && report.failed == 0 => {
                self.fail(format!("{name} {}", how(*status)));
            }
            Ended::Itself(_) if report.results.is_empty() => {
                self.fail(format!("{name} printed no `test result:` line"));
            }
            Ended::Itself(_) => {}
        }
        for skip in report.skips {
            if self.known.contains_key(&skip.name) {
                self.skips.push(skip);
            } else {
                let Skip { name: what, reason } = skip;
                self.fail(format!("{name}: {what} was skipped ({reason}) and is not in tests/skips.toml"));
            }
        }
        let good = self.failed == before;
        match <[String; 1]>::try_from(report.results) {
            Ok([text]) => Outcome { good, text, results: Vec::new() },
            Err(results) if results.is_empty() => Outcome { good, text: "no result".to_owned(), results },
            Err(results) => Outcome { good, text: format!("{} programs", results.len()), results },
        }
    }

    fn conclude(&self, time: Duration) -> ExitCode {
        for skip in &self.skips {
            let listed = self.known.get(&skip.name).map_or("", String::as_str);
            println!("skipped  {}: {} ({listed})", skip.name, skip.reason);
        }
        for failure in &self.failures {
            println!("{}  {failure}", paint(Tone::Bad, "failed"));
        }
        println!("tests took {}", screen::elapsed(time));
        println!("{}", self.last_line());
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) }
    }

    fn last_line(&self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skips.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn exit(code: i32) -> Ended {
        Ended::Itself(ExitStatus::from_raw(code << 8))
    }

    fn added(text: &str, ended: &Ended) -> Result<Count> {
        let known = BTreeMap::from([("root".to_owned(), "needs root".to_owned())]);
        let mut count = Count { known, ..Count::default() };
        count.add("suite", Report::read("suite", text.as_bytes())?, ended);
        Ok(count)
    }

    const RESULT: &str = "test result: ok. 2 passed; 0 failed; 0 ignored\n";

    #[test]
    fn a_program_without_a_result_line_fails() -> Result<()> {
        assert_eq!(added("", &exit(0))?.last_line(), "0 passed, 1 failed, 0 skipped");
        Ok(())
    }

    #[test]
    fn a_crash_after_good_tests_is_a_failure() -> Result<()> {
        assert_eq!(added(RESULT, &exit(134))?.last_line(), "2 passed, 1 failed, 0 skipped");
        assert_eq!(added(RESULT, &Ended::OutOfTime)?.last_line(), "2 passed, 1 failed, 0 skipped");
        Ok(())
    }

    #[test]
    fn a_skip_is_taken_only_if_it_is_listed() -> Result<()> {
        let text = |name: &str| format!("---- a stdout ----\nskipped: {name}: uid 1000\n{RESULT}");
        assert_eq!(added(&text("root"), &exit(0))?.last_line(), "1 passed, 0 failed, 1 skipped");
        assert_eq!(added(&text("moon"), &exit(0))?.last_line(), "1 passed, 1 failed, 0 skipped");
        Ok(())
    }

    #[test]
    fn failed_tests_are_counted_once() -> Result<()> {
        let text = "test a ... FAILED\ntest result: FAILED. 1 passed; 1 failed; 0 ignored\n";
        let count = added(text, &exit(101))?;
        assert_eq!(count.last_line(), "1 passed, 1 failed, 0 skipped");
        assert_eq!(count.failures, ["suite: a"]);
        Ok(())
    }
}
