//! The central log's stages, wired: network → ingest → verify → store. Read this file first.

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use graven_record::wire::enrolment_server::EnrolmentServer;
use graven_record::wire::ingest_server::IngestServer;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};

use crate::authority::{self, Authority, AuthorityError, ServerIdentity, log_key};
use crate::data::{DataDir, DataError, Lock};
use crate::ingest::attempts::Attempts;
use crate::ingest::enrolment::{Door, Enrolments, MAX_REQUEST};
use crate::ingest::stream::Streams;
use crate::ingest::{MAX_MESSAGE, incoming};
use crate::store::sqlite::Sqlite;
use crate::store::writer::Writer;
use crate::store::{Store, StoreError};

/// A TLS handshake takes two round trips: who needs longer is not a host.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A connection on which nothing answers for so long is dead.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// Streams of one connection: an agent needs one.
const STREAMS_A_CONNECTION: u32 = 4;
/// Streams are told to end at once; a host that does not is cut off after this.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// How often the end of the server's certificate is looked at.
const DAY: Duration = Duration::from_secs(86_400);

/// What `graven serve` is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data directory.
    pub data: PathBuf,
    /// Where to listen; port 0 lets the kernel choose.
    pub listen: SocketAddr,
    /// More names for the server's certificate.
    pub names: Vec<String>,
}

/// The server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The directory.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Keys and certificates.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another process has the port.
    #[error("port {} of {} is taken: stop what listens there, or give another with --listen", .0.port(), .0.ip())]
    PortTaken(SocketAddr),
    /// The address is not ours, or the port is not allowed.
    #[error("cannot listen on {address}: give another with --listen")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// TLS or HTTP.
    #[error("the server cannot serve")]
    Serve(#[source] tonic::transport::Error),
}

/// Ready to serve: everything that can be refused has been checked, and the port is open.
pub struct Central {
    listener: TcpListener,
    address: SocketAddr,
    door: Arc<Door>,
    identity: ServerIdentity,
    writer: Writer,
    thread: std::thread::JoinHandle<()>,
    _lock: Lock,
}

/// The central clock: ns since the Unix epoch.
pub fn clock() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)
}

impl Central {
    /// Takes the directory, makes what is missing in it, opens the port.
    pub async fn prepare(config: &Config) -> Result<Self, ServeError> {
        let dir = DataDir::create(&config.data)?;
        let lock = dir.lock()?;
        let now = Duration::from_nanos(u64::try_from(clock()).unwrap_or(0));
        let authority = Authority::open_or_make(&dir, now)?;
        let log_key = log_key::open_or_make(&dir)?;
        let names = names(config);
        let identity = authority::server::open_or_make(&dir, &authority, &names, now)?;
        let opened = dir.clone();
        let open =
            move || Sqlite::open(&opened, clock()).map(|store| Box::new(store) as Box<dyn Store + Send>);
        let (writer, thread) = Writer::start(Box::new(open), clock)?;
        let (listener, address) = listen(config.listen).await?;
        let door = Arc::new(Door {
            dir,
            authority: Arc::new(authority),
            log_key: hex::encode(log_key.verifying_key().to_bytes()),
            clock,
            attempts: Mutex::new(Attempts::default()),
        });
        Ok(Self { listener, address, door, identity, writer, thread, _lock: lock })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` resolves; then ends the streams and waits until the store has answered.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
        let (stopping, stopped) = watch::channel(false);
        let streams = Streams::new(self.writer, stopped.clone());
        let enrolments = EnrolmentServer::new(Enrolments(Arc::clone(&self.door)));
        let server = server(&self.door.authority, &self.identity)?
            .add_service(IngestServer::new(streams).max_decoding_message_size(MAX_MESSAGE))
            .add_service(enrolments.max_decoding_message_size(MAX_REQUEST));
        let warning = tokio::spawn(warn_of_end(self.identity.expires));
        let signal = wait(stopped);
        let connections = incoming::accept(self.listener, incoming::room());
        let mut serving = std::pin::pin!(server.serve_with_incoming_shutdown(connections, signal));
        let served = tokio::select! {
            served = &mut serving => served,
            () = stop => {
                stopping.send_replace(true);
                // A host that does not let go is cut off when the runtime ends.
                tokio::time::timeout(STOP_WITHIN, serving).await.unwrap_or(Ok(()))
            }
        };
        warning.abort();
        finish(self.thread).await;
        served.map_err(ServeError::Serve)
    }
}

fn server(authority: &Authority, identity: &ServerIdentity) -> Result<Server, ServeError> {
    // A host that enrols knows the CA by its hash alone, so the chain must carry it.
    let chain = [identity.certificate.as_str(), authority.pem()].concat();
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(chain, &identity.key))
        .client_ca_root(Certificate::from_pem(authority.pem()))
        // Who enrols has no certificate yet; the streams ask for it.
        .client_auth_optional(true)
        .timeout(HANDSHAKE);
    let server = Server::builder().tls_config(tls).map_err(ServeError::Serve)?;
    Ok(server
        .max_concurrent_streams(STREAMS_A_CONNECTION)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE)))
}

fn names(config: &Config) -> BTreeSet<String> {
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    authority::server::names(config.listen, &hostname, &config.names)
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => ServeError::PortTaken(address),
        _ => ServeError::Listen { address, source },
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

async fn wait(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop too.
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// The store's thread ends when the last stream has let go of it.
async fn finish(thread: std::thread::JoinHandle<()>) {
    let joined = tokio::task::spawn_blocking(move || thread.join());
    match tokio::time::timeout(STOP_WITHIN, joined).await {
        Ok(Ok(Ok(()))) => {}
        _ => {
            tracing::warn!("the store had not ended after {STOP_WITHIN:?}; what was acknowledged is on disk")
        }
    }
}

/// A restart makes a new certificate; a server that is never restarted must say that it needs one.
async fn warn_of_end(expires: Duration) {
    loop {
        let now = Duration::from_nanos(u64::try_from(clock()).unwrap_or(0));
        let left = expires.saturating_sub(now);
        if left < authority::server::WARN_WITHIN {
            tracing::warn!(
                days = left.as_secs() / DAY.as_secs(),
                "the server's certificate ends soon: restart `graven serve`"
            );
        }
        tokio::time::sleep(DAY).await;
    }
}
