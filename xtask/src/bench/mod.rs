//! `cargo xtask bench`: what the agent costs those it watches, and what it costs itself.
//!
//! In: the programs, two file systems, a while. Out: a table with the budgets, and exit code 1 if one is
//! exceeded. Always: each mode is done with and without the agent in the same round, the order changing from
//! round to round, and only ratios within a round are compared: machines drift. The agent is started and ended
//! for each, so that without it nothing is attached. The load and the agent have a CPU each. Never: a number
//! from a part of a run in which somebody else traced the kernel too. It fails where there are not two CPUs,
//! ext4 and tmpfs.

mod modes;
mod statistics;
mod grounds;
mod process;
mod load;
mod tracer;
mod agent;
mod audit;
mod rounds;
mod cost;
mod machine;
mod table;
mod readme;

use crate::auditd::Programs;
use crate::fault;
use crate::repo::Repo;
use crate::screen::{Tone, paint};
use crate::setup::{self, Install};
use crate::stages::Stages;
use crate::{build, cargo};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::ExitCode;

/// The generator, enrolment, rounds, cost; the last two again for auditd.
const STAGES: usize = 6;

/// Rounds of a whole run: the middle of nine stands where three are disturbed.
const ROUNDS: u32 = 11;
/// Rounds of `--quick`.
const QUICK_ROUNDS: u32 = 3;

#[derive(clap::Args)]
#[command(
    after_help = "Needs root, two CPUs, tmpfs and ext4 (or what makes one). Takes some minutes; the quieter the \
                        machine, the narrower the spread. Exit code 1: a budget is exceeded.\n\
                        auditd is measured beside the agent, by the same rules and last, where it is installed and \
                        not in use: the kernel's audit state is restored, but processes started after it take a \
                        slower way into the kernel until the machine is started anew.\n\n\
                        A build of another tree in a minute:\n  \
                        cargo xtask bench --programs DIR --only read,rename --rounds 5"
)]
pub(crate) struct Arguments {
    /// Few rounds
    #[arg(long)]
    quick: bool,
    /// So many rounds
    #[arg(long, value_name = "N", conflicts_with = "quick", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// Only modes whose names begin so, and `cost` for the agent's own CPU and memory
    #[arg(long, value_name = "MODE", value_delimiter = ',')]
    only: Vec<String>,
    /// Measure the graven-agent and graven of this folder instead of this tree's
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Fetch auditd if it is not installed, unpacked into target/toolchain, and measure it too
    #[arg(long, conflicts_with = "without_auditd")]
    with_auditd: bool,
    /// Leave the kernel's audit alone
    #[arg(long)]
    without_auditd: bool,
    /// End with one JSON object with all rounds, on the last line
    #[arg(long)]
    json: bool,
    /// Put the table into README.md
    #[arg(long, conflicts_with_all = ["quick", "rounds", "only", "programs"])]
    readme: bool,
    /// A folder on ext4 [default: an ext4 of its own in a file on the tmpfs]
    #[arg(long, value_name = "DIR")]
    ext4: Option<PathBuf>,
    /// A folder on tmpfs [default: /dev/shm]
    #[arg(long, value_name = "DIR")]
    tmpfs: Option<PathBuf>,
    #[command(flatten)]
    install: Install,
}

/// The word by which `--only` chooses what is no mode.
const COST: &str = "cost";

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode> {
    if !rustix::process::geteuid().is_root() {
        return Err(fault::host("loading the sensor needs root: run `cargo xtask bench` as root"));
    }
    let (cost, words): (Vec<_>, Vec<_>) = arguments.only.iter().cloned().partition(|word| word == COST);
    let modes = match words.is_empty() && !cost.is_empty() {
        true => Vec::new(),
        false => modes::wanted(&words).map_err(fault::usage)?,
    };
    let with_cost = arguments.only.is_empty() || !cost.is_empty();
    let cpus = machine::cpus()?;
    let repo = Repo::here()?;
    let mut stages = Stages::new(&repo, setup::STAGES + build::STAGES + STAGES)?;
    let programs = programs(&repo, arguments, &mut stages)?;
    // From here on what we start stays with the agent's CPU; the load goes to its own.
    machine::stay_on(cpus.agent)?;
    let work = grounds::Work::make(&repo)?;
    let grounds = grounds::Grounds::make(&work, arguments.ext4.as_deref(), arguments.tmpfs.as_deref())?;
    let own = repo.programs();
    let mut stage = stages.begin("enrolment");
    let mut agent = agent::Agent::prepare(&work, &grounds, &programs, own.join("graven-tally"), &mut stage)?;
    stage.done("the central log is away again");
    let load = load::Load { program: own.join("graven-load"), cpu: cpus.load, out: work.folder.join("load") };
    let bench = rounds::Bench { load: &load, grounds: &grounds };
    let number = arguments.rounds.unwrap_or(if arguments.quick { QUICK_ROUNDS } else { ROUNDS });
    let plan = Plan { modes, rounds: number, cost: with_cost, quick: arguments.quick };
    let agent = plan.run(bench, &mut agent, "the agent", &mut stages)?;
    let audit = beside(&repo, arguments, &mut stages)?;
    let audit = match audit {
        Some(programs) => {
            let mut audit = audit::Audit::start(programs, &work, &grounds)?;
            Some(plan.run(bench, &mut audit, "auditd", &mut stages)?)
        }
        None => None,
    };
    let own_ext4 = grounds.own_ext4();
    let report =
        table::Report { machine: machine::facts(&programs)?, own_ext4, rounds: number, agent, audit };
    conclude(&repo, arguments, &report)
}

/// What is to be measured of each.
struct Plan {
    modes: Vec<&'static modes::Mode>,
    rounds: u32,
    cost: bool,
    quick: bool,
}

impl Plan {
    fn run(
        &self,
        bench: rounds::Bench<'_>,
        tracer: &mut dyn tracer::Tracer,
        name: &str,
        stages: &mut Stages,
    ) -> Result<table::Measured> {
        let mut measured = table::Measured::default();
        if !self.modes.is_empty() {
            let mut stage = stages.begin(&format!("rounds with and without {name}"));
            (measured.rows, measured.taken) = bench.rounds(tracer, &self.modes, self.rounds, &mut stage)?;
            stage.done(&format!("{} rounds of {} modes", self.rounds, self.modes.len()));
        }
        if self.cost {
            let mut stage = stages.begin(&format!("what {name} itself costs"));
            measured.cost = Some(bench.cost(tracer, self.quick, &mut stage)?);
            stage.done("measured");
        }
        Ok(measured)
    }
}

/// auditd, if it is to be measured too and can be.
fn beside(repo: &Repo, arguments: &Arguments, stages: &mut Stages) -> Result<Option<Programs>> {
    if arguments.without_auditd {
        return Ok(None);
    }
    let programs = match Programs::find(repo, arguments.with_auditd) {
        None if arguments.with_auditd => {
            let mut stage = stages.begin("auditd");
            let programs = Programs::fetch(repo, &mut stage)?;
            stage.done("unpacked");
            Some(programs)
        }
        found => found,
    };
    let Some(programs) = programs else {
        println!("auditd is not installed: --with-auditd fetches it and measures it beside the agent");
        return Ok(None);
    };
    if let Some(why) = programs.in_use()? {
        println!("auditd is not measured: {why}");
        return Ok(None);
    }
    Ok(Some(programs))
}

/// The folder of the agent and the central log; the generator is always this tree's.
fn programs(repo: &Repo, arguments: &Arguments, stages: &mut Stages) -> Result<PathBuf> {
    let programs = match &arguments.programs {
        Some(folder) => {
            build::prepare(repo, stages, arguments.install)?;
            folder.canonicalize().map_err(|error| fault::usage(format!("{}: {error}", folder.display())))?
        }
        None => {
            build::run(repo, stages, arguments.install)?;
            repo.programs()
        }
    };
    for name in ["graven-agent", "graven"] {
        let program = programs.join(name);
        if !program.is_file() {
            return Err(fault::usage(format!("there is no {}", program.display())));
        }
    }
    let mut stage = stages.begin("load generator");
    let bins = ["build", "--release", "--package=graven-tests", "--bin=graven-load", "--bin=graven-tally"];
    stage.run(cargo::cargo(repo, &bins))?;
    stage.done("built");
    Ok(programs)
}

fn conclude(repo: &Repo, arguments: &Arguments, report: &table::Report) -> Result<ExitCode> {
    let table = report.markdown();
    println!("\n{table}");
    if arguments.readme {
        let path = repo.root.join("README.md");
        let text = std::fs::read_to_string(&path).context("cannot read README.md")?;
        let new = readme::with(&text, &table).map_err(|error| anyhow::anyhow!("README.md {error}"))?;
        std::fs::write(&path, new).context("cannot write README.md")?;
        println!("README.md has this table now");
    }
    let exceeded = report.exceeded();
    exceeded.iter().for_each(|line| println!("{}  {line}", paint(Tone::Bad, "exceeded")));
    if arguments.json {
        println!("{}", report.json()?);
    }
    Ok(if exceeded.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
