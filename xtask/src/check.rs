//! `cargo xtask check`: what has to hold of the sources before they are run.

use crate::build;
use crate::cargo::cargo;
use crate::children::Ended;
use crate::dependencies;
use crate::fault::{self, Fault};
use crate::repo::Repo;
use crate::screen::{self, Tone, paint};
use crate::setup::Install;
use crate::sources;
use crate::stages::{Stage, Stages, how, last_words};
use anyhow::Result;
use std::process::{Command, ExitCode};

/// Lines of a tool's log that are shown when it objects: several lints fit.
const LINES_SHOWN: usize = 60;

#[derive(clap::Args)]
#[command(
    after_help = "Goes on after a step that fails, and says at the end which did. The sensor is built first, \
                        because the agent embeds it. Compiles with --release, so that `cargo xtask test` finds \
                        build scripts and macros compiled."
)]
pub(crate) struct Arguments {
    /// Only these steps: format, sensor-format, lints, dependencies, sources, cargo-deny
    steps: Vec<String>,
    #[command(flatten)]
    install: Install,
}

/// The step that compiles, and so needs the sensor.
const LINTS: &str = "lints";

/// A step: its name, and what runs it.
type Step = (&'static str, fn(&Repo, &mut Stage) -> Result<Verdict>);

enum Verdict {
    Good(&'static str),
    Bad(Vec<String>),
}

const STEPS: [Step; 6] = [
    ("format", |repo, stage| tool(stage, cargo(repo, &["fmt", "--all", "--", "--check", "--color=never"]))),
    ("sensor-format", |repo, stage| {
        tool(
            stage,
            cargo(repo, &["fmt", "--manifest-path=ebpf/sensor/Cargo.toml", "--", "--check", "--color=never"]),
        )
    }),
    (LINTS, |repo, stage| {
        let lints = ["clippy", "--release", "--workspace", "--all-targets", "--", "--deny=warnings"];
        tool(stage, cargo(repo, &lints))
    }),
    ("dependencies", |repo, stage| Ok(verdict(dependencies::findings(repo, stage)?))),
    ("sources", |repo, _| Ok(verdict(sources::findings(repo)?))),
    ("cargo-deny", |repo, stage| {
        if crate::toolchain::in_path("cargo-deny").is_none() {
            return Ok(Verdict::Good("not installed; `dependencies` has checked its licences and bans"));
        }
        tool(stage, cargo(repo, &["deny", "check", "bans", "licenses", "sources"]))
    }),
];

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode> {
    let repo = Repo::here()?;
    let steps = wanted(&arguments.steps)?;
    let prepare = steps.iter().any(|(name, _)| *name == LINTS);
    let mut stages = Stages::new(&repo, steps.len() + if prepare { build::PREPARE_STAGES } else { 0 })?;
    if prepare {
        build::prepare(&repo, &mut stages, arguments.install)?;
    }
    let mut bad = Vec::new();
    for (name, step) in steps {
        let mut stage = stages.begin(name);
        match step(&repo, &mut stage) {
            Ok(Verdict::Good(outcome)) => stage.done(outcome),
            Ok(Verdict::Bad(lines)) => {
                stage.failed("failed");
                lines.iter().for_each(|line| println!("  {line}"));
                bad.push(name);
            }
            Err(error) if error.is::<Fault>() => return Err(error),
            Err(error) => {
                stage.failed("failed");
                println!("  {error:#}");
                bad.push(name);
            }
        }
    }
    Ok(conclude(&bad, &screen::elapsed(stages.elapsed())))
}

fn wanted(names: &[String]) -> Result<Vec<Step>> {
    let known = |name: &String| STEPS.iter().any(|(step, _)| step == name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        let all: Vec<&str> = STEPS.iter().map(|(name, _)| *name).collect();
        return Err(fault::usage(format!("no step is named {unknown}; steps: {}", all.join(" "))));
    }
    Ok(STEPS
        .into_iter()
        .filter(|(name, _)| names.is_empty() || names.iter().any(|wanted| wanted == name))
        .collect())
}

fn conclude(bad: &[&str], time: &str) -> ExitCode {
    if bad.is_empty() {
        println!("{} in {time}", paint(Tone::Good, "check passed"));
        return ExitCode::SUCCESS;
    }
    let text = format!("check failed: {}", bad.join(", "));
    println!("{} in {time}", paint(Tone::Bad, &text));
    ExitCode::from(1)
}

fn verdict(findings: Vec<String>) -> Verdict {
    if findings.is_empty() { Verdict::Good("passed") } else { Verdict::Bad(findings) }
}

fn tool(stage: &mut Stage, command: Command) -> Result<Verdict> {
    match stage.attempt(command, None)? {
        Ended::Itself(status) if status.success() => Ok(Verdict::Good("passed")),
        Ended::Itself(status) => {
            let mut lines = last_words(stage.log(), LINES_SHOWN);
            lines.push(format!("{}; all of it: {}", how(status), stage.shown_log().display()));
            Ok(Verdict::Bad(lines))
        }
        Ended::OutOfTime => Ok(Verdict::Bad(vec!["ran out of time".to_owned()])),
    }
}
