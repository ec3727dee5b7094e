//! Bytes as they lay in the rings, through every stage of the agent, over the wire, into the central log, and out
//! of its queries. No root: the kernel's part was recorded (see `graven-recorder`).

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use graven_agent::attribute::{Attribution, Facts, Host};
use graven_agent::config::Config;
use graven_agent::pipeline::{Pipeline, is_ignored};
use graven_agent::policy::{self, Judged, Policy};
use graven_agent::sandbox::User;
use graven_agent::seal::{Now, Opening, Sealer, new_run};
use graven_agent::sensor::Raw;
use graven_agent::ship::{self, Identity, Launch, Shipper, Target};
use graven_agent::spool::{Limits, Opened, Spool};
use graven_record::id::BootId;
use graven_record::v1;
use graven_tests::agent::{self, Agent};
use graven_tests::central::Central;
use graven_tests::place::Place;
use graven_tests::programs::{self, AGENT};
use graven_tests::record::{PROCESS, Record, activity};
use graven_tests::ring;
use graven_tests::wait::until;
use serde_json::Value;

/// The host that was recorded: what it had in files, and no living process.
struct Recorded;

impl Host for Recorded {
    fn processes(&self) -> io::Result<Vec<u32>> {
        Ok(Vec::new())
    }

    fn facts(&self, _pid: u32) -> Option<Facts> {
        None
    }

    fn cgroup(&self, _pid: u32, _start: u64) -> Option<Vec<u8>> {
        None
    }

    fn inode(&self, _path: &Path) -> Option<u64> {
        None
    }

    fn is(&self, _path: &[u8], _device: u64, _inode: u64) -> bool {
        false
    }

    fn mountinfo(&self) -> io::Result<Vec<u8>> {
        std::fs::read(ring::mountinfo())
    }

    fn passwd(&mut self) -> Option<Vec<u8>> {
        Some(b"root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n".to_vec())
    }
}

/// The same host for the policy: every path is there, none is a link.
struct Plain;

impl policy::Host for Plain {
    fn exists(&self, _path: &Path) -> bool {
        true
    }

    fn resolve(&self, path: &Path) -> Option<PathBuf> {
        Some(path.to_owned())
    }

    fn read(&self, _path: &Path, _limit: u64) -> Option<Vec<u8>> {
        None
    }
}

fn pipeline() -> Result<Pipeline<Recorded>> {
    let text = agent::policy(Path::new(ring::DEMO));
    let policy = Policy::parse(text.as_bytes(), Path::new("policy.toml"), v1::Trust::Explicit, &Plain)?;
    Ok(Pipeline::new(Attribution::of(Recorded, [7; 32])?, policy))
}

/// Through decode, attribute and policy.
fn judged(pipeline: &mut Pipeline<Recorded>, records: &[Raw]) -> Result<Vec<Judged>> {
    let judged = records.iter().map(|raw| pipeline.judge(raw)).collect::<Result<Vec<_>, _>>()?;
    Ok(judged.into_iter().flatten().filter(|judged| !is_ignored(judged)).collect())
}

/// Seals and spools as `watch` does, with a real `ship` and a real central log behind; gives what the log has.
fn deliver(place: &Place, pipeline: &Pipeline<Recorded>, records: Vec<Judged>) -> Result<Vec<Record>> {
    let mut central = Central::start(place.path())?;
    let agent = Agent::prepare(&place.join("agent"), &central.url(), "")?;
    let config = Config::load(&agent.config())?;
    ship::enrol(&config, &central.url(), &central.token()?, "recorded", false)?;
    let identity = Identity::load(&config)?;
    let (boot, run) = (BootId([7; 16]), new_run()?);
    let limits = Limits { limit: config.spool.limit, reserve: 0 };
    let Opened { mut spool, heads } = Spool::open(&config.spool_folder(), limits, identity.host, boot)?;
    let last = records.iter().map(|judged| judged.record.boot_time).max().context("nothing recorded")?;
    // Half a second after the last event, at a round moment.
    let now = Now { wall: 1_790_000_000_000_000_000, boot: last + 500_000_000 };
    let context = v1::Context {
        hostname: "recorded".to_owned(),
        mode: v1::Mode::Syscall.into(),
        policy: Some(pipeline.policy().about().clone()),
        ..v1::Context::default()
    };
    let start_key = &identity.start_key;
    let opening =
        Opening { host: identity.host, start_key, boot, run, heads, context, reason: "start".to_owned() };
    let mut sealer = Sealer::open(opening, now)?;
    let target = Target {
        servers: config.central.servers.clone(),
        host: identity.host,
        boot,
        run,
        hostname: "recorded".to_owned(),
        tls: identity.tls.clone(),
    };
    let launch = Launch {
        program: programs::path(AGENT)?,
        arguments: vec!["ship".into()],
        user: User::find(&config.ship.user)?,
    };
    let shipper = Shipper::start(launch, &target, spool.reader())?;
    // Each chain begins with an epoch's start.
    let wanted = records.len() + 2;
    records.into_iter().for_each(|judged| sealer.push(judged, now));
    while let Some(frame) = sealer.rest(now)? {
        spool.append(&frame)?;
    }
    spool.sync()?;
    shipper.notify();
    let found = until("all records in the central log", || {
        let found = central.events::<&str>(&[])?;
        ensure!(found.len() <= wanted, "{} records instead of {wanted}", found.len());
        Ok((found.len() == wanted).then_some(found))
    })?;
    shipper.stop();
    let host = central.host()?;
    ensure!(host["hostname"] == "recorded" && host["findings"] == Value::Array(Vec::new()), "{host:#}");
    replayed(&central)?;
    central.stop()?;
    Ok(found)
}

/// The replay has the shell's changes below the shell.
fn replayed(central: &Central) -> Result<()> {
    let words = ["recorded", "--since", "2026-01-01T00:00:00Z", "--json"];
    let replay = central.graven("replay", &words)?.succeeded()?;
    let text = replay.text()?;
    for word in ["motd", "conf", "program", "theirs"] {
        ensure!(text.contains(&format!("{}/{word}", ring::DEMO)), "{word} is not in the replay: {text}");
    }
    Ok(())
}

/// What a violation must say.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    kind: String,
    activity: u64,
    /// Below the demo directory.
    name: OsString,
    /// The other name of a rename.
    result: OsString,
    comm: String,
    user: String,
}

/// Kind, OCSF's activity, name, other name, comm, user.
type Row = (&'static str, u64, &'static [u8], &'static str, &'static str, &'static str);

/// What the recorded lines must come to, in their order.
const VIOLATIONS: [Row; 13] = [
    ("create", activity::CREATE, b"conf", "", "mkdir", "root"),
    ("open", activity::CREATE, b"motd", "", "sh", "root"),
    ("open", activity::UPDATE, b"motd", "", "sh", "root"),
    ("modify", activity::UPDATE, b"motd", "", "sh", "root"),
    ("attr", activity::SECURITY, b"motd", "", "chmod", "root"),
    ("rename", activity::RENAME, b"motd", "conf/motd", "mv", "root"),
    ("open", activity::CREATE, b"program", "", "cp", "root"),
    ("modify", activity::UPDATE, b"program", "", "cp", "root"),
    ("exec", LAUNCH, b"program", "", "program", "root"),
    ("unlink", activity::DELETE, b"conf/motd", "", "rm", "root"),
    ("unlink", activity::DELETE, b"conf", "", "rmdir", "root"),
    ("open", activity::CREATE, b"theirs", "", "sh", "nobody"),
    ("create", activity::CREATE, b"red\x1b[31m\xff\n", "", "mkdir", "root"),
];

/// OCSF's number of a launch.
const LAUNCH: u64 = 1;

fn wanted() -> Vec<Told> {
    let told = VIOLATIONS.iter().map(|(kind, activity, name, result, comm, user)| Told {
        kind: (*kind).to_owned(),
        activity: *activity,
        name: OsStr::from_bytes(name).to_owned(),
        result: result.into(),
        comm: (*comm).to_owned(),
        user: (*user).to_owned(),
    });
    told.collect()
}

fn told(record: &Record) -> Result<Told> {
    let at = if record.class() == PROCESS { "/process" } else { "/actor/process" };
    let below = |path: PathBuf| anyhow::Ok(path.strip_prefix(ring::DEMO)?.as_os_str().to_owned());
    let result = if record.kind() == "rename" { below(record.result())? } else { OsString::new() };
    Ok(Told {
        kind: record.kind().to_owned(),
        activity: record.number("/activity_id").unwrap_or_default(),
        name: below(record.path())?,
        result,
        comm: record.text(&format!("{at}/name")).to_owned(),
        user: record.text(&format!("{at}/user/name")).to_owned(),
    })
}

/// Those that are alerts, in the order in which they happened.
fn violations(records: &[Record]) -> Vec<&Record> {
    let mut alerts: Vec<&Record> = records.iter().filter(|record| record.0["is_alert"] == true).collect();
    alerts.sort_by_key(|record| record.number("/unmapped/boot_time_ns"));
    alerts
}

#[test]
fn what_was_recorded_comes_out_of_the_central_log_as_it_happened() -> Result<()> {
    let mut place = Place::new("pipeline")?;
    let mut pipeline = pipeline()?;
    let judged = judged(&mut pipeline, &ring::read(&ring::path())?)?;
    let records = deliver(&place, &pipeline, judged)?;
    let violations = violations(&records);
    let told: Vec<Told> = violations.iter().map(|record| told(record)).collect::<Result<_>>()?;
    ensure!(told == wanted(), "{told:#?}");
    for record in &violations {
        ensure!(record.number("/severity_id") == Some(4), "{:#}", record.0);
        ensure!(!record.text("/unmapped/verdict/rule").is_empty(), "{:#}", record.0);
        ensure!(is_below_the_shell(record), "{:#}", record.0);
    }
    let lines: Vec<String> = records.iter().map(|record| record.0.to_string()).collect();
    ensure!(lines.iter().any(|line| line.contains("--password")), "no command line");
    ensure!(!lines.iter().any(|line| line.contains("correct-horse")), "a secret came through");
    place.done();
    Ok(())
}

/// Every change was made by a child of a shell, by the shell itself, or by a child of the recorder.
fn is_below_the_shell(record: &Record) -> bool {
    let at = if record.class() == PROCESS { "/process" } else { "/actor/process" };
    let names =
        record.list(&format!("{at}/ancestry")).iter().map(|run| run["name"].as_str().unwrap_or_default());
    let names: Vec<&str> = names.collect();
    // Of the recorder's own parent nothing is known but its pid.
    matches!(names.as_slice(), ["graven-recorder", ""] | ["sh", "graven-recorder", ""])
}

#[test]
fn the_recorded_programs_are_told_with_their_ends() -> Result<()> {
    let mut pipeline = pipeline()?;
    let judged = judged(&mut pipeline, &ring::read(&ring::path())?)?;
    let of = |kind: &str| {
        judged.iter().filter(|judged| graven_record::event::word(&judged.record) == kind).count()
    };
    // Nine programs of the first shell's lines, two shells, and the last mkdir.
    ensure!((of("exec"), of("exit")) == (PROGRAMS, PROGRAMS), "{} {}", of("exec"), of("exit"));
    Ok(())
}

/// Programs that the recorder and its shells started.
const PROGRAMS: usize = 10;

#[test]
fn a_recording_that_is_damaged_anywhere_breaks_nothing() -> Result<()> {
    let whole = ring::read(&ring::path())?;
    let mut pipeline = pipeline()?;
    let mut refused = 0;
    for raw in &whole {
        for cut in 0..raw.0.len() {
            let bytes = raw.0.get(..cut).context("beyond the end")?.to_vec();
            refused += u64::from(pipeline.judge(&Raw(bytes.into())).is_err());
            let mut turned = raw.0.to_vec();
            turned[cut] ^= 0xff;
            // It may well be another event; it is never the end.
            drop(pipeline.judge(&Raw(turned.into())));
        }
    }
    ensure!(refused > 0 && pipeline.undecodable() >= refused, "{refused} {}", pipeline.undecodable());
    ensure!(judged(&mut pipeline, &whole).is_ok(), "what is whole is no longer read");
    Ok(())
}
