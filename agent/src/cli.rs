//! The command line: what can be said, and what it means.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Who changed what on a host that must not change.
#[derive(Debug, Parser)]
#[command(
    name = "graven-agent",
    version,
    about,
    max_term_width = 100,
    after_help = "\
Try it without a central log:  graven-agent observe --format text
Exit codes: 0 ok, 1 findings, 2 usage or configuration, 3 this host cannot do it (the reason is said)."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// One command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch this host and ship what happens to the central log, until SIGTERM
    Run(Run),
    /// Print what happens on this host, one object a line, until SIGINT; needs no central log
    Observe(Observe),
    /// Say what this kernel lets the sensor see, and what it does not
    Doctor(Doctor),
    /// Take the sensor of an agent that has ended off the kernel, with what waits in it
    Detach(Detach),
    /// Work on policies
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Make this host's keys and get its certificate from the central log
    Enrol(Enrol),
    /// The half that talks to the network; started by `run` with its orders on standard input
    #[command(hide = true)]
    Ship,
}

/// `run`
#[derive(Debug, Args)]
pub struct Run {
    /// The agent's configuration
    #[arg(long, value_name = "FILE", default_value = crate::config::DEFAULT_PATH)]
    pub config: PathBuf,
}

/// `detach`
#[derive(Debug, Args)]
#[command(after_help = "\
When the agent ends its sensor stays (`[sensor] stay` in agent.toml) and the next agent takes over. This is for a host
that shall have no agent any more. Exit code 0: nothing is attached. 2: an agent runs, and its sensor stays.")]
pub struct Detach {
    /// The agent's configuration
    #[arg(long, value_name = "FILE", default_value = crate::config::DEFAULT_PATH)]
    pub config: PathBuf,
}

/// `observe`
#[derive(Debug, Args)]
#[command(after_help = "\
Standard output has one line a record; `ready` appears on standard error when everything is attached.
Examples:
  graven-agent observe --format text
  graven-agent observe --policy /etc/graven/policy.toml | jq 'select(.is_alert)'")]
pub struct Observe {
    /// Judge by this policy instead of the embedded one
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// OCSF 1.8.0 JSON, or one line for people
    #[arg(long, value_enum, default_value_t = Format::Ocsf)]
    pub format: Format,
    /// Print also what the policy ignores (not what the kernel already dropped as mutable: see --help)
    #[arg(
        long,
        long_help = "Print also what the policy ignores, and give the kernel no mutable places, so that everything is seen"
    )]
    pub all: bool,
}

/// How `observe` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One OCSF 1.8.0 object a line
    Ocsf,
    /// One line for people
    Text,
}

/// `doctor`
#[derive(Debug, Args)]
#[command(
    after_help = "Each program is attached for a moment, and what it hangs on is done: SILENT is one that did not run.
Exit code 0: the sensor works here. 1: a program does not run. 3: the sensor does not work, and why."
)]
pub struct Doctor {
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// `policy …`
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Check a policy file: every problem with its line, key and what is allowed
    Check {
        /// The file
        file: PathBuf,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
}

/// `enrol`
#[derive(Debug, Args)]
#[command(after_help = "The token comes from `graven enrol` on the central log; it works once.")]
pub struct Enrol {
    /// The agent's configuration: keys go below its `state`
    #[arg(long, value_name = "FILE", default_value = crate::config::DEFAULT_PATH)]
    pub config: PathBuf,
    /// Address of the central log
    #[arg(long, value_name = "URL")]
    pub server: String,
    /// The one-time token
    #[arg(long, env = "GRAVEN_TOKEN", hide_env_values = true)]
    pub token: String,
    /// Enrol anew: the host gets new keys and so becomes another host for the central log
    #[arg(long)]
    pub force: bool,
}
