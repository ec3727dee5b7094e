//! `watch`'s end: starts `ship`, feeds it, starts it again. One thread with a runtime of its own, so that
//! neither a slow disk nor a slow `ship` is ever felt by the pipeline.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use graven_record::id::{BootId, HostId, RunId};
use graven_record::wire::Heartbeat;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::backoff::Backoff;
use super::feed::Feed;
use super::identity::Tls;
use super::message::{FromShip, Order, Outbox, Report, Settings, ToShip, inbox};
use crate::config::Server;
use crate::sandbox::User;
use crate::spool::Reader;
use crate::sys;

/// Frames that may wait for room in the socket: the next one is read when the one before is on its way.
const MAX_OUT: usize = 2;
/// Once told to stop, what is in the spool may still be delivered for this long: the record of the stop itself,
/// most of all.
const DRAIN_WITHIN: Duration = Duration::from_millis(1_500);
/// `ship` that has its end of the socket closed has this long to end by itself.
const END_WITHIN: Duration = Duration::from_secs(2);
/// `ship` that lived this long was in order: the next failure is a new one.
const SOUND_AFTER: Duration = Duration::from_secs(60);
/// The end of the host's certificate is announced so many days before.
const WARN_DAYS: i64 = 7;
/// Waits between starts of `ship`.
const RESTART: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// How `ship` is started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Which program.
    pub program: PathBuf,
    /// With which arguments.
    pub arguments: Vec<OsString>,
    /// As whom; only root can choose.
    pub user: User,
}

impl Launch {
    /// This binary's own `ship` command, even if the file was replaced since it was started.
    pub fn own(user: User) -> Self {
        Self { program: "/proc/self/exe".into(), arguments: vec!["ship".into()], user }
    }

    /// The child's standard input is its end of the socket: nothing else of ours is open in it.
    fn start(&self) -> io::Result<(Child, UnixStream)> {
        let (own, other) = StdUnixStream::pair()?;
        own.set_nonblocking(true)?;
        let mut command = std::process::Command::new(&self.program);
        command.args(&self.arguments).arg0("graven-agent").env_clear();
        for name in ["RUST_LOG", "RUST_BACKTRACE", "NO_COLOR"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.current_dir("/").stdin(Stdio::from(OwnedFd::from(other))).stdout(Stdio::null());
        // Ctrl-C is for us: we end `ship` when our own work is in the spool.
        command.process_group(0);
        if rustix::process::geteuid().is_root() {
            // Also empties the supplementary groups; leaving root clears every capability.
            command.uid(self.user.uid).gid(self.user.gid);
        }
        sys::keep_descriptors()?;
        let child = Command::from(command).kill_on_drop(true).spawn()?;
        Ok((child, UnixStream::from_std(own)?))
    }
}

/// Where frames go and as whom.
#[derive(Clone)]
pub struct Target {
    /// Tried in turn.
    pub servers: Vec<Server>,
    /// This host.
    pub host: HostId,
    /// This boot.
    pub boot: BootId,
    /// This run.
    pub run: RunId,
    /// This host's name.
    pub hostname: String,
    /// Certificate, key and CA.
    pub tls: Tls,
}

/// Shipping cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    /// No thread or no runtime.
    #[error("cannot start the thread that feeds the ship process")]
    Thread(#[source] io::Error),
}

/// The running feed. Nothing here ever blocks but [`Self::stop`].
pub struct Shipper {
    appended: Arc<Notify>,
    beats: watch::Sender<Option<Heartbeat>>,
    stop: watch::Sender<bool>,
    process: Arc<AtomicU32>,
    thread: JoinHandle<()>,
}

impl Shipper {
    /// Starts the feed, which starts `ship`.
    pub fn start(launch: Launch, target: &Target, reader: Reader) -> Result<Self, ShipError> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ShipError::Thread)?;
        let appended = Arc::<Notify>::default();
        let (beats, beats_out) = watch::channel(None);
        let (stop, stopped) = watch::channel(false);
        warn_of_expiry(&target.tls);
        let mut feeding = Feeding {
            launch,
            settings: target.settings(),
            feed: Feed::new(reader),
            appended: Arc::clone(&appended),
            beats: beats_out,
            stop: stopped,
            process: Arc::default(),
        };
        let process = Arc::clone(&feeding.process);
        let thread = std::thread::Builder::new()
            .name("feed".to_owned())
            .spawn(move || runtime.block_on(feeding.run()))
            .map_err(ShipError::Thread)?;
        Ok(Self { appended, beats, stop, process, thread })
    }

    /// The pid of `ship`; 0 while there is none.
    pub fn process(&self) -> u32 {
        self.process.load(Ordering::Relaxed)
    }

    /// Something was synced to the spool.
    pub fn notify(&self) {
        self.appended.notify_one();
    }

    /// States the heads; only the newest is kept while there is no connection.
    pub fn heartbeat(&self, beat: Heartbeat) {
        self.beats.send_replace(Some(beat));
    }

    /// Ends `ship`, after a moment in which it may deliver the rest. What is not delivered stays in the spool.
    pub fn stop(self) {
        self.stop.send_replace(true);
        if self.thread.join().is_err() {
            tracing::error!("the thread that feeds the ship process panicked");
        }
    }
}

/// A host whose certificate ends goes on recording, but nothing is delivered any more.
fn warn_of_expiry(tls: &Tls) {
    let Some(left) = tls.days_left() else {
        tracing::error!("the host's certificate cannot be read: enrol again with --force");
        return;
    };
    if left < WARN_DAYS {
        tracing::error!(
            days = left,
            "the host's certificate ends: enrol again with --force, or nothing is delivered"
        );
    }
}

impl Target {
    fn settings(&self) -> Settings {
        Settings {
            servers: self.servers.iter().map(ToString::to_string).collect(),
            host: self.host.0.to_vec(),
            boot: self.boot.0.to_vec(),
            run: self.run.0.to_vec(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            hostname: self.hostname.clone(),
            certificate: self.tls.certificate.clone(),
            key: self.tls.key.to_string(),
            ca: self.tls.ca.clone(),
        }
    }
}

struct Feeding {
    launch: Launch,
    settings: Settings,
    feed: Feed,
    appended: Arc<Notify>,
    beats: watch::Receiver<Option<Heartbeat>>,
    stop: watch::Receiver<bool>,
    /// The pid of `ship` while it lives, else 0.
    process: Arc<AtomicU32>,
}

impl Feeding {
    async fn run(&mut self) {
        let mut restart = Backoff::new(RESTART.0, RESTART.1);
        while !self.stopped() {
            let begin = Instant::now();
            match self.launch.start() {
                Ok((child, socket)) => {
                    self.process.store(child.id().unwrap_or(0), Ordering::Relaxed);
                    self.attend(child, socket).await;
                    self.process.store(0, Ordering::Relaxed);
                }
                Err(error) => tracing::error!(%error, "the ship process cannot be started"),
            }
            if begin.elapsed() > SOUND_AFTER {
                restart.reset();
            }
            let wait = restart.wait();
            tokio::select! {
                () = sleep(wait) => {}
                _ = self.stop.wait_for(|stop| *stop) => {}
            }
        }
    }

    /// Told to stop, or whoever could tell us is gone.
    fn stopped(&self) -> bool {
        *self.stop.borrow() || self.stop.has_changed().is_err()
    }

    /// One life of `ship`.
    async fn attend(&mut self, mut child: Child, socket: UnixStream) {
        self.feed.away();
        let talk = self.talk(socket).await;
        let ended = match timeout(END_WITHIN, child.wait()).await {
            Ok(status) => status.map(|status| status.to_string()),
            Err(_) => child.kill().await.map(|()| "killed".to_owned()),
        };
        if !self.stopped() {
            tracing::error!(
                ?talk,
                ?ended,
                "the ship process ended and is started again; frames stay in the spool"
            );
        }
    }

    /// Until the other side closes, fails, or we are to stop and the rest is delivered.
    async fn talk(&mut self, socket: UnixStream) -> io::Result<()> {
        let (from, mut to) = socket.into_split();
        let mut inbox = inbox::<FromShip>(from);
        let mut outbox = Outbox::default();
        outbox.push(&order(Order::Settings(self.settings.clone())));
        self.beats.mark_changed();
        let mut stop = self.stop.clone();
        let mut end = None;
        loop {
            while outbox.len() < MAX_OUT
                && let Some(sealed) = self.feed.next()
            {
                outbox.push(&order(Order::Frame(sealed)));
            }
            let room = outbox.len() < MAX_OUT;
            let said = outbox.len() == 0 && !self.beats.has_changed().unwrap_or(false);
            if end.is_some() && said && self.feed.is_settled() {
                return Ok(());
            }
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop), if end.is_none() => end = Some(Instant::now() + DRAIN_WITHIN),
                () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => return Ok(()),
                report = inbox.recv() => match report {
                    Some(report) => self.hear(report?),
                    None => return Ok(()),
                },
                changed = self.beats.changed(), if room => {
                    let beat = self.beats.borrow_and_update().clone();
                    if changed.is_ok() && let Some(beat) = beat {
                        outbox.push(&order(Order::Heartbeat(beat)));
                    }
                }
                written = outbox.write(&mut to) => written?,
                () = self.appended.notified() => {}
            }
        }
    }

    fn hear(&mut self, report: FromShip) {
        match report.report {
            Some(Report::Resumed(resumed)) => self.feed.resume(resumed.session, &resumed.durable),
            Some(Report::Want(want)) => self.feed.want(want.session, want.frames),
            Some(Report::Receipt(receipt)) => self.feed.receive(&receipt.durable),
            Some(Report::Refused(refused)) => self.feed.refuse(&refused),
            Some(Report::Away(_)) => self.feed.away(),
            None => {}
        }
    }
}

fn order(order: Order) -> ToShip {
    ToShip { order: Some(order) }
}
