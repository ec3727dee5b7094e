//! Does one thing again and again and says how long it took: the load of `cargo xtask bench`.
//!
//! `graven-load ACT FOLDER CPU WARM_MS TIME_MS RATE`, where ACT is a name of `graven_tests::load` and RATE is in
//! operations a second, 0 for as fast as it goes. One JSON object on standard output.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use graven_tests::load::{self, Act, Pace};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("graven-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [act, folder, cpu, warm, time, rate] = words.as_slice() else {
        bail!("write graven-load ACT FOLDER CPU WARM_MS TIME_MS RATE");
    };
    let number = |word: &str| word.parse::<u64>().with_context(|| format!("{word} is not a number"));
    load::stay_on(usize::try_from(number(cpu)?)?)?;
    let rate = number(rate)?;
    let pace = Pace {
        warm: Duration::from_millis(number(warm)?),
        time: Duration::from_millis(number(time)?),
        rate: (rate > 0).then_some(rate),
    };
    let done = load::run(Act::named(act)?, Path::new(folder), pace)?;
    let quantile = |part| done.times.quantile(part).context("nothing was timed");
    println!(
        "{}",
        serde_json::json!({
            "operations": done.operations,
            "timed": done.times.total(),
            "seconds": done.took.as_secs_f64(),
            "p50": quantile(0.5)?,
            "p99": quantile(0.99)?,
        })
    );
    Ok(())
}
