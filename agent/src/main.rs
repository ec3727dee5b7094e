//! `graven-agent`: arguments → configuration → run → exit code.
#![deny(unsafe_code)]

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use graven_agent::cli::{Cli, Command, PolicyCommand};
use graven_agent::config::Config;
use graven_agent::{doctor, exit, observe, policy, ship, watch};

/// Exit code of a command that worked and found something.
const FINDINGS: u8 = 1;

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_standard_error();
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("graven-agent: {}", exit::sentence(&error));
            exit::code(&error)
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(arguments) => watch::run(&Config::load(&arguments.config)?)?,
        Command::Detach(arguments) => {
            let (runs, records) = watch::detach(&Config::load(&arguments.config)?)?;
            println!("{runs} sensors were attached; {records} records that waited are in no log");
        }
        Command::Observe(arguments) => observe::observe(&arguments)?,
        Command::Doctor(arguments) => {
            let report = doctor::examine()?;
            match arguments.json {
                true => writeln!(io::stdout(), "{}", report.json())?,
                false => report.write(&mut io::stdout())?,
            }
            if report.is_silent() {
                return Ok(ExitCode::from(FINDINGS));
            }
        }
        Command::Policy(PolicyCommand::Check { file, json }) => {
            let policy = policy::Policy::load(&file, graven_record::v1::Trust::Explicit)?;
            report_policy(&policy, json)?;
        }
        Command::Enrol(arguments) => {
            let config = Config::load(&arguments.config)?;
            let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
            let enrolled =
                ship::enrol(&config, &arguments.server, &arguments.token, &hostname, arguments.force)?;
            println!("enrolled as {} in group {}", enrolled.host, enrolled.group);
        }
        Command::Ship => ship::run_process()?,
    }
    Ok(ExitCode::SUCCESS)
}

fn report_policy(policy: &policy::Policy, json: bool) -> anyhow::Result<()> {
    let about = policy.about();
    let mut out = io::stdout();
    if json {
        let report = serde_json::json!({
            "name": about.name, "version": about.version, "sha256": hex::encode(&about.hash),
            "warnings": policy.warnings(),
        });
        writeln!(out, "{report}")?;
        return Ok(());
    }
    for warning in policy.warnings() {
        writeln!(out, "warning: {warning}")?;
    }
    writeln!(
        out,
        "{} {} is a valid policy (sha256 {})",
        about.name,
        about.version,
        hex::encode(&about.hash)
    )?;
    Ok(())
}

/// `RUST_LOG` chooses what; warnings by default.
fn log_to_standard_error() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false).init();
}
