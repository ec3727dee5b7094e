//! What a person or CI runs: `setup`, `build`, `up`, `check`, `vm`, `test`, `bench`.
//!
//! In: the command line. Out: lines `stage n of m`, a log of each tool under `target/xtask/logs`, an exit
//! code: 0 ok, 1 findings, 2 usage or configuration, 3 this machine cannot do it, 130 stopped by a signal.
//! Always: what is there is recognised by its content and not done again; every process that was started
//! here ends before this one does. Never: a change outside `target`, but for packages that are named before
//! they are installed. Failures are one sentence with the remedy, or the end of the tool's log and its path.
#![forbid(unsafe_code)]

mod fault;
mod repo;
mod screen;
mod children;
mod stages;
mod folder;
mod strip;
mod cargo;

mod apt;
mod auditd;
mod toolchain;
mod setup;
mod build;

mod up;
mod place;
mod demo;
mod daemon;

mod check;
mod dependencies;
mod licence;
mod sources;

mod vm;

mod test;
mod suites;
mod guests;
mod count;
mod libtest;

mod bench;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    bin_name = "cargo xtask",
    about = "Builds, runs and tests Graven from a fresh machine on",
    after_help = "Start here, as root:\n  cargo xtask up        builds all, watches this host, shows violations live\n  \
                  cargo xtask test      runs every test this machine can run\n\n\
                  Each tool's output is in target/xtask/logs. Exit codes: 0 ok, 1 findings, 2 usage or\n\
                  configuration, 3 this machine cannot do it, 130 stopped by a signal."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find the BPF compiler and linker, or install them below target/toolchain
    Setup(setup::Arguments),
    /// Build the sensor for the kernel, then the agent and the central log
    Build(build::Arguments),
    /// Run the central log and the agent on this host and show violations live
    Up(up::Arguments),
    /// Format, lints, dependency rules, source rules
    Check(check::Arguments),
    /// Boot Debian's kernels in emulated machines and run a command in each
    Vm(vm::Arguments),
    /// Run the tests; the last line is `N passed, N failed, N skipped`
    Test(test::Arguments),
    /// Measure what the agent costs, against its budgets
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let result = children::watch_signals().and_then(|()| match Arguments::parse().command {
        Command::Setup(arguments) => setup::command(&arguments),
        Command::Build(arguments) => build::command(&arguments),
        Command::Up(arguments) => up::command(&arguments),
        Command::Check(arguments) => check::command(&arguments),
        Command::Vm(arguments) => vm::command(&arguments),
        Command::Test(arguments) => test::command(&arguments),
        Command::Bench(arguments) => bench::command(&arguments),
    });
    match result {
        Ok(code) => code,
        Err(error) => fault::report(&error),
    }
}
