//! `graven-tally SPOOL`: what an agent that has ended left in its spool, as one JSON object.

use std::path::Path;
use std::process::ExitCode;

use graven_tests::spooled::Tally;

fn main() -> ExitCode {
    let Some(spool) = std::env::args_os().nth(1) else {
        eprintln!("graven-tally: write graven-tally SPOOL");
        return ExitCode::FAILURE;
    };
    match Tally::of(Path::new(&spool)) {
        Ok(tally) => {
            println!("{}", tally.json());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("graven-tally: {error:#}");
            ExitCode::FAILURE
        }
    }
}
