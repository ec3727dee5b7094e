//! `cargo xtask up`: the central log and the agent on this host, and what they see, live.
//!
//! In: a data folder, a port, perhaps a policy. Out: violations on standard output until Ctrl-C. Always:
//! loopback only; no address is printed before it answers; agent, central log and tail end in this order and
//! nothing is left running. Never: a removal of anything but its own demo files. A daemon that dies takes the
//! rest down, and its last lines are shown.

use crate::build;
use crate::children::{TICK, interrupted};
use crate::daemon::Daemon;
use crate::demo::{Demo, quoted};
use crate::fault;
use crate::place::Place;
use crate::repo::Repo;
use crate::screen::{self, Tone, paint};
use crate::setup::{self, Install};
use crate::stages::{Stage, Stages};
use anyhow::{Context, Result};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Central log, enrolment, agent.
const STAGES: usize = 3;

/// How long the central log may take until it answers.
const CENTRAL_READY: Duration = Duration::from_secs(30);

/// How long the agent may take until its hooks are attached: the verifier reads every program.
const AGENT_READY: Duration = Duration::from_secs(90);

/// How long a listening socket may take to accept.
const CONNECT: Duration = Duration::from_secs(2);

#[derive(clap::Args)]
#[command(
    after_help = "Needs root. Builds what is missing, starts the central log on loopback, enrols this host, \
                        starts the agent and prints lines to type in a second terminal. Ctrl-C ends all of it. \
                        The data stays for the next time; remove the folder to begin anew."
)]
pub(crate) struct Arguments {
    /// Make the changes itself and print each line it runs
    #[arg(long)]
    demo: bool,
    /// End after this time (30s, 5m)
    #[arg(long = "for", value_name = "TIME", value_parser = screen::duration)]
    time: Option<Duration>,
    /// A policy of your own instead of the development policy
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The central log's port on loopback; 0 takes a free one
    #[arg(long, value_name = "N", default_value_t = 7443)]
    port: u16,
    /// Where the data is kept [default: target/up]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    install: Install,
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode> {
    if !rustix::process::geteuid().is_root() {
        return Err(fault::host("loading the sensor needs root: run `cargo xtask up` as root"));
    }
    let repo = Repo::here()?;
    let place = Place::make(&repo, arguments.data.as_deref(), arguments.policy.as_deref())?;
    let _lock = place.lock()?;
    port_is_free(arguments.port)?;
    let mut stages = Stages::new(&repo, setup::STAGES + build::STAGES + STAGES)?;
    build::run(&repo, &mut stages, arguments.install)?;
    place.write_policy()?;
    let demo = Demo::make(place.demo())?;
    let mut central = central(&place, stages.begin("central log"), arguments.port)?;
    enrol(&place, stages.begin("enrolment"), &mut central)?;
    let mut running = Running { agent: agent(&place, stages.begin("agent"))?, central, tail: None };
    explain(&place, &demo, running.central.address);
    running.tail = Some(tail(&place)?);
    let until = arguments.time.map(|time| Instant::now() + time);
    let result = running.live(until, arguments.demo.then_some(&demo));
    running.stop()?;
    result?;
    println!("\nstopped: agent and central log. The data stays in {}", quoted(&place.data));
    Ok(ExitCode::SUCCESS)
}

fn port_is_free(port: u16) -> Result<()> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_free) => Ok(()),
        Err(error) => Err(fault::usage(format!(
            "port {port} of loopback cannot be used ({error}): end what uses it or choose another with --port (0 takes a free one)"
        ))),
    }
}

/// The central log, answering.
struct Central {
    daemon: Daemon,
    address: SocketAddr,
}

fn central(place: &Place, mut stage: Stage, port: u16) -> Result<Central> {
    let is_new = !place.central().exists();
    if is_new && place.enrolled().exists() {
        return Err(fault::usage(format!(
            "the agent's data in {0} belongs to a central log that is gone: remove {0} to begin anew",
            quoted(&place.data)
        )));
    }
    let mut command = place.program("graven");
    command.arg("serve").arg("--data").arg(place.central());
    command.args(["--listen", &format!("{}:{port}", Ipv4Addr::LOCALHOST)]);
    let mut daemon = Daemon::start("the central log", command, place.log("central"))?;
    let line =
        daemon.wait_for(&mut stage, CENTRAL_READY, |line| line.strip_prefix("ready: ").map(str::to_owned))?;
    let address = line.trim().trim_start_matches("https://").parse::<SocketAddr>();
    let address =
        address.with_context(|| format!("the central log said `ready: {line}`, which is no address"))?;
    TcpStream::connect_timeout(&address, CONNECT).with_context(|| format!("nothing answers at {address}"))?;
    stage.done(&format!("https://{address}"));
    Ok(Central { daemon, address })
}

/// A token from the central log, keys and certificate for the agent. Done once for a data folder.
fn enrol(place: &Place, mut stage: Stage, central: &mut Central) -> Result<()> {
    let server = format!("https://{}", central.address);
    place.write_config(&server)?;
    if place.enrolled().exists() {
        stage.done("from a run before");
        return Ok(());
    }
    let mut ask = place.program("graven");
    ask.arg("enrol").arg("--data").arg(place.central());
    let token = stage.output(ask)?;
    let mut command = place.program("graven-agent");
    command.arg("enrol").arg("--config").arg(place.config());
    command.args(["--server", &server, "--token", token.trim()]);
    stage.run(command)?;
    central.daemon.still_runs()?;
    place.mark_enrolled()?;
    stage.done("this host is known to the central log");
    Ok(())
}

fn agent(place: &Place, mut stage: Stage) -> Result<Daemon> {
    let mut command = place.program("graven-agent");
    command.arg("run").arg("--config").arg(place.config());
    let mut daemon = Daemon::start("the agent", command, place.log("agent"))?;
    daemon.wait_for(&mut stage, AGENT_READY, |line| (line.trim() == "ready").then_some(()))?;
    stage.done("hooks attached");
    Ok(daemon)
}

fn tail(place: &Place) -> Result<Daemon> {
    let mut command = place.program("graven");
    command.args(["tail", "--violations"]).arg("--data").arg(place.central());
    Daemon::shown("the live view", command)
}

fn explain(place: &Place, demo: &Demo, address: SocketAddr) {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let graven = quoted(&place.path_of("graven"));
    let data = quoted(&place.central());
    let head = |text: &str| println!("\n{}", paint(Tone::Strong, text));
    head("Graven watches this host.");
    println!("  central log  https://{address}");
    println!("  policy       {}", quoted(place.policy()));
    println!("  logs         {}", quoted(&place.logs()));
    head("Change something, in a second terminal:");
    demo.lines().iter().for_each(|line| println!("  {line}"));
    head("Look at it again:");
    println!("  {graven} violations --data {data}");
    println!("  {graven} replay {host} --since 5m --data {data}");
    head("Violations, as they come (Ctrl-C ends):");
}

/// All that runs; dropped, it ends in the order of its fields.
struct Running {
    agent: Daemon,
    central: Central,
    tail: Option<Daemon>,
}

impl Running {
    /// Until the time is over, a signal comes or something dies.
    fn live(&mut self, until: Option<Instant>, demo: Option<&Demo>) -> Result<()> {
        if let Some(demo) = demo {
            demo.play(|| self.goes_on(until))?;
        }
        while self.goes_on(until)? {
            std::thread::sleep(TICK);
        }
        Ok(())
    }

    fn goes_on(&mut self, until: Option<Instant>) -> Result<bool> {
        if interrupted() || until.is_some_and(|until| Instant::now() >= until) {
            return Ok(false);
        }
        self.agent.still_runs()?;
        self.central.daemon.still_runs()?;
        if let Some(tail) = &mut self.tail {
            tail.still_runs()?;
        }
        Ok(true)
    }

    /// The agent first, so that its last records reach the central log and the eye.
    fn stop(&mut self) -> Result<()> {
        self.agent.stop()?;
        self.central.daemon.stop()?;
        if let Some(tail) = &mut self.tail {
            tail.stop()?;
        }
        Ok(())
    }
}
