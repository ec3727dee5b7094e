//! `graven`: arguments, the command, the exit code.
#![forbid(unsafe_code)]

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use graven::cli::Cli;
use graven::commands::{self, Exit};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_env("GRAVEN_LOG").unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .init();
    match commands::run(cli.command) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) => {
            let exit = error.exit();
            // `{:#}` puts the causes behind the sentence.
            eprintln!("graven: {:#}", anyhow::Error::new(error));
            ExitCode::from(exit.code())
        }
    }
}

/// The codes are the contract of every Graven command.
const _: () = assert!(Exit::Done.code() == 0 && Exit::Findings.code() == 1 && Exit::Usage.code() == 2);
