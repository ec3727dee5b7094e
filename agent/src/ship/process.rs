//! The process `ship`: nobody, with a socket to `watch` and the network.

use std::error::Error;
use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::backoff::Backoff;
use super::message::{Away, Order, Outbox, Report, Settings, inbox};
use super::printable;
use super::session::{End, Link, serve};
use crate::config::Server;
use crate::sandbox::{self, SandboxError};

/// A server that does not take a connection within this is away.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Waits between connections: after a long outage the spool begins to drain within ten seconds.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// `watch` sends the settings at once.
const SETTINGS_WITHIN: Duration = Duration::from_secs(10);
/// A peer that vanished without a word is noticed within twice this.
const ALIVE: Duration = Duration::from_secs(10);

/// `ship` cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could do more than it should.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// Standard input is not the socket that `watch` gives.
    #[error("this command is started by `graven-agent run`, not by hand")]
    ByHand(#[source] io::Error),
    /// No runtime.
    #[error("cannot start")]
    Runtime(#[source] io::Error),
    /// `watch` said nothing.
    #[error("no settings came from the agent")]
    Settings,
}

/// Runs until `watch` closes its end of the socket.
pub fn run_process() -> Result<(), ProcessError> {
    sandbox::ship()?;
    // Only a name for `ps`: without it everything works.
    let _ = rustix::thread::set_name(c"graven-ship");
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3);
    let socket = StdUnixStream::from(socket.map_err(|e| ProcessError::ByHand(e.into()))?);
    // Fails for whatever is not a socket of this kind.
    socket.peer_addr().map_err(ProcessError::ByHand)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ProcessError::Runtime)?;
    runtime.block_on(run(socket))
}

async fn run(socket: StdUnixStream) -> Result<(), ProcessError> {
    // A stop is for `watch`, which ends us when its work is in the spool.
    let _ignored = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
    socket.set_nonblocking(true).map_err(ProcessError::Runtime)?;
    let (from, to) = UnixStream::from_std(socket).map_err(ProcessError::Runtime)?.into_split();
    let mut link = Link { inbox: inbox(from), outbox: Outbox::default(), to, beat: None };
    let first = timeout(SETTINGS_WITHIN, link.inbox.recv()).await.map_err(|_| ProcessError::Settings)?;
    let Some(message) = first else { return Ok(()) };
    let Some(Order::Settings(settings)) = message.ok().and_then(|m| m.order) else {
        return Err(ProcessError::Settings);
    };
    let servers: Vec<Server> = settings.servers.iter().filter_map(|text| text.parse().ok()).collect();
    if servers.is_empty() {
        return Err(ProcessError::Settings);
    }
    rounds(&servers, &settings, &mut link).await;
    Ok(())
}

/// Connects, serves, waits, connects again; returns when `watch` is gone.
async fn rounds(servers: &[Server], settings: &Settings, link: &mut Link) {
    let mut reconnect = Backoff::new(RECONNECT.0, RECONNECT.1);
    let (mut turn, mut number, mut careful) = (0, 0, false);
    let mut told = String::new();
    loop {
        let server = &servers[turn % servers.len()];
        number += 1;
        let end = one(server, settings, link, number, careful).await;
        link.say(Report::Away(Away {}));
        match end {
            End::Gone => return,
            End::Unnamed => careful = true,
            End::Lost { reason, progress } => {
                careful = false;
                if progress {
                    reconnect.reset();
                } else {
                    turn += 1;
                }
                if progress || reason != told {
                    tracing::warn!(%server, reason, "no central log; frames stay in the spool and it is tried again");
                }
                told = reason;
            }
        }
        if link.during(sleep(reconnect.wait())).await.is_err() {
            return;
        }
    }
}

async fn one(server: &Server, settings: &Settings, link: &mut Link, number: u64, careful: bool) -> End {
    let connected = match endpoint(server, settings) {
        Ok(endpoint) => match link.during(endpoint.connect()).await {
            Err(gone) => return gone.into(),
            Ok(connected) => connected,
        },
        Err(error) => Err(error),
    };
    match connected {
        Err(error) => End::Lost { reason: words(&error), progress: false },
        Ok(channel) => {
            tracing::info!(%server, "connected to the central log");
            talk(channel, settings, link, number, careful).await
        }
    }
}

async fn talk(channel: Channel, settings: &Settings, link: &mut Link, number: u64, careful: bool) -> End {
    // Boxed: it is by far the largest future of this process.
    Box::pin(serve(channel, settings, link, number, careful)).await
}

fn endpoint(server: &Server, settings: &Settings) -> Result<Endpoint, tonic::transport::Error> {
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&settings.ca))
        .identity(Identity::from_pem(&settings.certificate, &settings.key))
        .domain_name(&server.host);
    Ok(Endpoint::from_shared(server.to_string())?
        .tls_config(tls)?
        .connect_timeout(CONNECT_WITHIN)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(ALIVE)
        .keep_alive_timeout(ALIVE)
        .keep_alive_while_idle(true))
}

/// An error and its causes in one line.
pub(super) fn words(error: &(dyn Error + 'static)) -> String {
    if let Some(status) = error.downcast_ref::<tonic::Status>().filter(|s| !s.message().is_empty()) {
        return printable(status.message());
    }
    let mut words = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push(error.to_string());
        cause = error.source();
    }
    words.dedup();
    printable(&words.join(": "))
}
