//! From sealed records to a central log and back: seal, spool, the ship process, TLS, enrolment. The central log is
//! a fake in this process; the ship process is a real one.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod fake;

use std::path::Path;
use std::time::{Duration, Instant};

use fake::{Authority, Central, Running};
use graven_agent::config::Config;
use graven_agent::policy::Judged;
use graven_agent::sandbox::{SandboxError, User};
use graven_agent::seal::{Now, Opening, Sealer, new_run};
use graven_agent::ship::{EnrolError, Identity, Launch, ProcessError, Shipper, Target, enrol, run_process};
use graven_agent::spool::{Limits, Opened, Spool};
use graven_record::id::{BootId, Lane, RunId};
use graven_record::v1::{self, Counters, record::Event};

const BOOT: BootId = BootId([2; 16]);
const PATIENCE: Duration = Duration::from_secs(60);

/// The ship process of the tests below: this program again, with this test alone. Run by hand it must end with a
/// reason.
#[test]
fn a_ship_process_that_is_started_by_hand_ends_with_a_reason() {
    match run_process() {
        Ok(()) | Err(ProcessError::ByHand(_) | ProcessError::Settings) => {}
        Err(ProcessError::Sandbox(SandboxError::Root)) => {}
        Err(error) => unreachable!("{error}"),
    }
}

/// The mark is one more name of a test, of which there is none: by it the process is found again.
fn launch(mark: &Path) -> Launch {
    let test = Path::new("a_ship_process_that_is_started_by_hand_ends_with_a_reason");
    let arguments = [test, mark, Path::new("--exact"), Path::new("--nocapture")].map(Into::into).to_vec();
    let user = User::find("nobody").unwrap();
    Launch { program: "/proc/self/exe".into(), arguments, user }
}

fn config(state: &Path, server: &Running) -> Config {
    let text = format!("state = {state:?}\n[central]\nservers = [\"https://{}\"]\n", server.address);
    Config::parse(&text, Path::new("agent.toml")).unwrap()
}

fn enrolled(config: &Config, central: &Central) -> Identity {
    let server = config.central.servers[0].to_string();
    enrol(config, &server, &central.authority.token(), "host", false).unwrap();
    Identity::load(config).unwrap()
}

/// Waits for something, and says what did not happen.
fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !happened() {
        assert!(begin.elapsed() < PATIENCE, "did not happen: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An agent without a sensor.
struct Host {
    sealer: Sealer,
    spool: Spool,
    shipper: Option<Shipper>,
}

impl Host {
    fn start(config: &Config, identity: &Identity, boot: BootId) -> Self {
        let limits = Limits { limit: 1 << 30, reserve: 0 };
        let Opened { spool, heads } =
            Spool::open(&config.spool_folder(), limits, identity.host, boot).unwrap();
        let run = new_run().unwrap();
        let opening = Opening {
            host: identity.host,
            start_key: &identity.start_key,
            boot,
            run,
            heads,
            context: v1::Context::default(),
            reason: "start".into(),
        };
        let sealer = Sealer::open(opening, Now::read()).unwrap();
        let shipper =
            Shipper::start(launch(&config.state), &target(config, identity, boot, run), spool.reader())
                .unwrap();
        Self { sealer, spool, shipper: Some(shipper) }
    }

    /// So many frames of one record each.
    fn write(&mut self, lane: Lane, frames: usize) {
        for _ in 0..frames {
            let record =
                v1::Record { event: Some(Event::Exit(v1::Exit::default())), ..v1::Record::default() };
            self.sealer
                .push(Judged { record: Box::new(record), lane, private: vec![b"x"[..].into()] }, Now::read());
            let frame = self.sealer.rest(Now::read()).unwrap().unwrap();
            self.spool.append(&frame).unwrap();
        }
        self.spool.sync().unwrap();
        self.shipper.as_ref().unwrap().notify();
    }

    fn stop(mut self) {
        self.shipper.take().unwrap().stop();
    }
}

fn target(config: &Config, identity: &Identity, boot: BootId, run: RunId) -> Target {
    Target {
        servers: config.central.servers.clone(),
        host: identity.host,
        boot,
        run,
        hostname: "host".into(),
        tls: identity.tls.clone(),
    }
}

/// Every frame of the lane was taken once, in order, as it lies on the disk.
fn assert_whole(central: &Central, spool: &Spool, boot: BootId, lane: Lane) {
    use graven_agent::spool::{Place, Stream};
    let reader = spool.reader();
    let mut place = Place::after(Stream { boot, lane }, 0);
    let kept: Vec<_> = std::iter::from_fn(|| reader.next(&mut place).unwrap()).collect();
    let state = central.state();
    let taken = &state.taken[&(boot, lane)];
    assert_eq!(taken.len(), kept.len());
    assert!(taken.iter().map(|f| f.bytes()).eq(kept.iter().map(|f| f.bytes())));
}

/// The ship process of a host, and what the kernel says of the thread that does its work.
fn ship_of(config: &Config) -> Option<(rustix::process::Pid, String)> {
    let mark = config.state.to_str().unwrap();
    let all = Path::new("/proc").read_dir().unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    all.filter(|path| std::fs::read_to_string(path.join("cmdline")).is_ok_and(|line| line.contains(mark)))
        .find_map(|path| {
            let tasks = path.join("task").read_dir().ok()?;
            let pid = rustix::process::Pid::from_raw(path.file_name()?.to_str()?.parse().ok()?)?;
            let statuses =
                tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok());
            Some((pid, statuses.into_iter().find(|status| status.contains("Name:\tgraven-ship\n"))?))
        })
}

#[test]
fn frames_arrive_verbatim_and_the_process_that_sends_them_can_do_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let central = Central::new();
    let server = central.listen(0);
    let config = config(dir.path(), &server);
    let identity = enrolled(&config, &central);
    let mut host = Host::start(&config, &identity, BOOT);
    host.write(Lane::Activity, 30);
    host.write(Lane::Protected, 30);
    let beat = host.sealer.heartbeat(Counters::default(), Now::read()).unwrap();
    host.shipper.as_ref().unwrap().heartbeat(beat);
    until("all frames arrive", || {
        let state = central.state();
        state.count(Lane::Protected) == 30 && state.count(Lane::Activity) == 30 && state.beats.len() == 1
    });
    for lane in Lane::ALL {
        assert_whole(&central, &host.spool, BOOT, lane);
    }
    let state = central.state();
    assert!(state.under_way <= 8, "more under way than the window");
    assert_eq!((state.duplicates, state.streams), (0, 1));
    drop(state);
    host.stop();
}

#[test]
fn the_ship_process_is_nobody_without_capabilities_and_is_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let central = Central::new();
    let server = central.listen(0);
    let config = config(dir.path(), &server);
    let identity = enrolled(&config, &central);
    let mut host = Host::start(&config, &identity, BOOT);
    host.write(Lane::Protected, 3);
    until("the first frames arrive", || central.state().count(Lane::Protected) == 3);
    let (first, status) = ship_of(&config).unwrap();
    if rustix::process::geteuid().is_root() {
        assert!(!status.contains("Uid:\t0") && !status.contains("Gid:\t0"), "{status}");
        assert!(status.contains("Groups:\t \n"), "{status}");
    }
    for line in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert!(status.contains(&format!("{line}:\t0000000000000000\n")), "{status}");
    }
    assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
    rustix::process::kill_process(first, rustix::process::Signal::KILL).unwrap();
    host.write(Lane::Protected, 3);
    until("the rest arrives", || central.state().count(Lane::Protected) == 6);
    assert_ne!(ship_of(&config).unwrap().0, first);
    assert_whole(&central, &host.spool, BOOT, Lane::Protected);
    host.stop();
    assert!(ship_of(&config).is_none(), "it ends with its agent");
}

#[test]
fn an_outage_delays_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let central = Central::new();
    let server = central.listen(0);
    let port = server.address.port();
    let config = config(dir.path(), &server);
    let identity = enrolled(&config, &central);
    let mut host = Host::start(&config, &identity, BOOT);
    host.write(Lane::Protected, 5);
    until("the first frames arrive", || central.state().count(Lane::Protected) == 5);
    drop(server);
    host.write(Lane::Activity, 100);
    host.write(Lane::Protected, 100);
    std::thread::sleep(Duration::from_secs(2));
    let _server = central.listen(port);
    until("the rest arrives", || {
        let state = central.state();
        state.count(Lane::Protected) == 105 && state.count(Lane::Activity) == 100
    });
    for lane in Lane::ALL {
        assert_whole(&central, &host.spool, BOOT, lane);
    }
    host.stop();
}

#[test]
fn what_an_agent_left_behind_is_sent_by_the_next_run_and_the_next_boot() {
    let dir = tempfile::tempdir().unwrap();
    let central = Central::new();
    let server = central.listen(0);
    let port = server.address.port();
    let config = config(dir.path(), &server);
    let identity = enrolled(&config, &central);
    drop(server);
    for boot in [BOOT, BOOT, BootId([3; 16])] {
        let mut host = Host::start(&config, &identity, boot);
        host.write(Lane::Protected, 4);
        host.stop();
    }
    let _server = central.listen(port);
    let host = Host::start(&config, &identity, BootId([4; 16]));
    until("everything arrives", || central.state().count(Lane::Protected) == 12);
    assert_whole(&central, &host.spool, BOOT, Lane::Protected);
    assert_whole(&central, &host.spool, BootId([3; 16]), Lane::Protected);
    host.stop();
}

#[test]
fn what_was_written_last_is_delivered_before_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let central = Central::new();
    let server = central.listen(0);
    let config = config(dir.path(), &server);
    let identity = enrolled(&config, &central);
    let mut host = Host::start(&config, &identity, BOOT);
    host.write(Lane::Protected, 1);
    until("the first frame arrives", || central.state().count(Lane::Protected) == 1);
    host.write(Lane::Protected, 5);
    host.stop();
    assert_eq!(central.state().count(Lane::Protected), 6);
}

#[test]
fn a_frame_that_is_wanted_again_is_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let central = Central::new();
    let server = central.listen(0);
    let config = config(dir.path(), &server);
    let identity = enrolled(&config, &central);
    central.state().stumble = true;
    let mut host = Host::start(&config, &identity, BOOT);
    host.write(Lane::Protected, 20);
    until("all frames arrive", || central.state().count(Lane::Protected) >= 20);
    assert!(central.state().streams >= 2);
    assert_whole(&central, &host.spool, BOOT, Lane::Protected);
    host.stop();
}

#[test]
fn a_frame_that_is_refused_for_good_is_kept_and_the_rest_goes_on() {
    for nameless in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let central = Central::new();
        let server = central.listen(0);
        let config = config(dir.path(), &server);
        let identity = enrolled(&config, &central);
        central.state().poison = vec![7];
        central.state().nameless = nameless;
        let mut host = Host::start(&config, &identity, BOOT);
        host.write(Lane::Protected, 20);
        until("the other frames arrive", || central.state().count(Lane::Protected) == 19);
        let kept = config.spool_folder().join(BOOT.to_string()).join("protected/sequence-7.refused");
        until("the refused frame is kept", || kept.exists());
        host.write(Lane::Protected, 1);
        until("later frames arrive", || central.state().count(Lane::Protected) == 20);
        host.stop();
    }
}

#[test]
fn enrolment_fails_with_one_sentence_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let central = Central::new();
    let server = central.listen(0);
    let config = config(dir.path(), &server);
    let (url, token) = (config.central.servers[0].to_string(), central.authority.token());
    let attempt = |url: &str, token: &str| enrol(&config, url, token, "host", false).map(|_| ()).unwrap_err();

    let other = Authority::make(&["127.0.0.1"]).token();
    assert!(matches!(attempt(&url, &other), EnrolError::OtherLog { .. }));
    assert!(matches!(attempt("http://127.0.0.1:1", &token), EnrolError::Server(_)));
    assert!(matches!(attempt(&url, &token[..40]), EnrolError::Token(_)));
    let named = url.replace("127.0.0.1", "localhost");
    assert!(matches!(attempt(&named, &token), EnrolError::OtherName { .. } | EnrolError::Away { .. }));
    assert_eq!(central.state().enrolled, 0, "nothing was sent to a server that was not checked");

    central.state().enrolled = 1;
    let used = attempt(&url, &token).to_string();
    assert_eq!(used, "the central log refused: this token was used [31m already");
    assert!(!config.keys().exists());
    drop(server);
    assert!(matches!(attempt(&url, &token), EnrolError::Away { .. }));
}

#[test]
fn an_enrolled_host_becomes_another_one_only_by_force() {
    let dir = tempfile::tempdir().unwrap();
    let central = Central::new();
    let server = central.listen(0);
    let config = config(dir.path(), &server);
    let first = enrolled(&config, &central).host;
    central.state().enrolled = 0;
    let (url, token) = (config.central.servers[0].to_string(), central.authority.token());
    let again = enrol(&config, &url, &token, "host", false).unwrap_err();
    assert!(matches!(again, EnrolError::Already { ref host } if *host == first.to_string()));
    let second = enrol(&config, &url, &token, "host", true).unwrap();
    assert_ne!(second.host, first);
    assert_eq!(Identity::load(&config).unwrap().host, second.host);
}
