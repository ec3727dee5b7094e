//! A central log that keeps everything in memory and can be told to misbehave.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use graven_record::chain::{Head, Link, link};
use graven_record::epoch::{verify_enrolment, verifying_key};
use graven_record::frame::Frame;
use graven_record::id::{BootId, HostId, Lane};
use graven_record::wire::downward::Message as Down;
use graven_record::wire::enrolment_server::{Enrolment, EnrolmentServer};
use graven_record::wire::ingest_server::{Ingest, IngestServer};
use graven_record::wire::upward::Message as Up;
use graven_record::wire::{
    Ack, Downward, Durable, EnrolReply, EnrolRequest, Heartbeat, Refused, Resume, Upward,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair,
};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

/// A CA and a server certificate of it.
pub(crate) struct Authority {
    ca: String,
    issuer: Issuer<'static, KeyPair>,
    server: String,
    server_key: String,
}

impl Authority {
    pub(crate) fn make(names: &[&str]) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "a CA");
        let ca = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::from_ca_cert_pem(&ca, key).unwrap();
        let server_key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let server = params.signed_by(&server_key, &issuer).unwrap().pem();
        Self { ca, issuer, server, server_key: server_key.serialize_pem() }
    }

    pub(crate) fn token(&self) -> String {
        let (_, ca) = x509_parser::pem::parse_x509_pem(self.ca.as_bytes()).unwrap();
        format!("gvn1.c2VjcmV0.{}", hex::encode(Sha256::digest(&ca.contents)))
    }

    fn tls(&self) -> ServerTlsConfig {
        ServerTlsConfig::new()
            .identity(Identity::from_pem([self.server.as_str(), &self.ca].concat(), &self.server_key))
            .client_ca_root(Certificate::from_pem(&self.ca))
            .client_auth_optional(true)
    }
}

/// What it keeps and how it behaves.
#[derive(Default)]
pub(crate) struct State {
    /// Frames by boot and lane, in the order in which they were taken.
    pub(crate) taken: BTreeMap<(BootId, Lane), Vec<Frame>>,
    pub(crate) beats: Vec<Heartbeat>,
    pub(crate) streams: usize,
    pub(crate) duplicates: usize,
    pub(crate) enrolled: usize,
    /// First sequences that are refused for good.
    pub(crate) poison: Vec<u64>,
    /// The next frame is refused with the wish to have it again.
    pub(crate) stumble: bool,
    /// First sequences of frames that came after a gap.
    pub(crate) told: BTreeSet<u64>,
    /// A refusal names no frame.
    pub(crate) nameless: bool,
    /// Takes frames but gives no receipt until told otherwise.
    pub(crate) silent: bool,
    pub(crate) window: u32,
    /// Most frames that were under way at once.
    pub(crate) under_way: usize,
}

impl State {
    fn head(&self, boot: BootId, lane: Lane) -> Head {
        self.taken.get(&(boot, lane)).and_then(|f| f.last()).map_or(Head::NONE, |f| Head::of(f.header()))
    }

    pub(crate) fn count(&self, lane: Lane) -> usize {
        self.taken.iter().filter(|((_, l), _)| *l == lane).map(|(_, frames)| frames.len()).sum()
    }
}

#[derive(Clone)]
pub(crate) struct Central {
    pub(crate) authority: Arc<Authority>,
    state: Arc<Mutex<State>>,
}

/// A listening one; dropped, it is away.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    stop: Option<watch::Sender<bool>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Central {
    pub(crate) fn new() -> Self {
        let state = State { window: 8, ..State::default() };
        Self { authority: Arc::new(Authority::make(&["127.0.0.1"])), state: Arc::new(Mutex::new(state)) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Listens at a port, 0 for any.
    pub(crate) fn listen(&self, port: u16) -> Running {
        let (stop, mut stopped) = watch::channel(false);
        let (said, hear) = std::sync::mpsc::channel();
        let central = self.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
                said.send(listener.local_addr().unwrap()).unwrap();
                let serving = Server::builder()
                    .tls_config(central.authority.tls())
                    .unwrap()
                    .add_service(EnrolmentServer::new(central.clone()))
                    .add_service(IngestServer::new(central.clone()))
                    .serve_with_incoming(TcpListenerStream::new(listener));
                tokio::select! {
                    served = serving => served.unwrap(),
                    _ = stopped.wait_for(|stop| *stop) => {}
                }
            });
            runtime.shutdown_timeout(Duration::from_millis(100));
        });
        let address = hear.recv_timeout(Duration::from_secs(10)).unwrap();
        Running { address, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop.send_replace(true);
        }
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok() || std::thread::panicking());
        }
    }
}

#[tonic::async_trait]
impl Enrolment for Central {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<EnrolReply>, Status> {
        let request = request.into_inner();
        let key = verifying_key(&request.start_key).unwrap();
        verify_enrolment(&request.token, &request.csr, &request.signature, &key).unwrap();
        if std::mem::replace(&mut self.state().enrolled, 1) > 0 {
            return Err(Status::permission_denied("this token was used\u{1b}[31m already"));
        }
        let host = HostId::of_key(&key.to_bytes());
        let mut csr = CertificateSigningRequestParams::from_pem(&request.csr).unwrap();
        csr.params.distinguished_name = rcgen::DistinguishedName::new();
        csr.params.distinguished_name.push(DnType::CommonName, host.to_string());
        csr.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = csr.signed_by(&self.authority.issuer).unwrap().pem();
        Ok(Response::new(EnrolReply {
            certificate,
            ca: self.authority.ca.clone(),
            log_key: "07".repeat(32),
            host: host.0.to_vec(),
            group: "default".into(),
        }))
    }
}

#[tonic::async_trait]
impl Ingest for Central {
    type StreamStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<Downward, Status>> + Send>>;

    async fn stream(
        &self,
        request: Request<Streaming<Upward>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let certificates = request.peer_certs().unwrap_or_default();
        if certificates.is_empty() {
            return Err(Status::unauthenticated("no certificate"));
        }
        let (down, answers) = mpsc::channel(64);
        let central = self.clone();
        tokio::spawn(async move { central.serve(request.into_inner(), &down).await.unwrap_or_default() });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}

type Answers = mpsc::Sender<Result<Downward, Status>>;

impl Central {
    async fn serve(&self, mut up: Streaming<Upward>, down: &Answers) -> Option<()> {
        let Some(Up::Open(_)) = up.message().await.ok()??.message else { return None };
        let resume = {
            let mut state = self.state();
            state.streams += 1;
            let durable = state.taken.keys().map(|(boot, lane)| durable(*boot, *lane, &state)).collect();
            Down::Resume(Resume { durable, window: state.window })
        };
        say(down, resume).await?;
        let mut owed = Vec::new();
        loop {
            let message = tokio::time::timeout(Duration::from_millis(20), up.message()).await;
            let answers = match message {
                Ok(message) => match message.ok()??.message? {
                    Up::Frame(bytes) => self.take(&bytes, &mut owed),
                    Up::Heartbeat(beat) => {
                        self.state().beats.push(beat);
                        Vec::new()
                    }
                    Up::Open(_) => return None,
                },
                // Receipts come a little late and together, as a real store's do.
                Err(_) => self.receipts(&mut owed),
            };
            for answer in answers {
                say(down, answer).await?;
            }
        }
    }

    fn take(&self, bytes: &[u8], owed: &mut Vec<(BootId, Lane)>) -> Vec<Down> {
        let frame = Frame::parse(bytes).unwrap();
        let header = frame.header().clone();
        let mut state = self.state();
        let refuse = |retry, nameless: bool| {
            let boot = if nameless { Vec::new() } else { header.boot.0.to_vec() };
            let (lane, first) = if nameless { (0, 0) } else { (header.lane.number().into(), header.first) };
            let reason = "because".to_owned();
            vec![Down::Refused(Refused { boot, lane, first_sequence: first, reason, retry })]
        };
        if state.poison.contains(&header.first) {
            let nameless = state.nameless;
            return refuse(false, nameless);
        }
        let head = state.head(header.boot, header.lane);
        let place = link(&head, &header);
        if std::mem::take(&mut state.stumble) {
            return refuse(true, false);
        }
        let first_time = matches!(place, Link::Gap { .. }) && state.told.insert(header.first);
        if !first_time {
            owed.push((header.boot, header.lane));
        }
        state.under_way = state.under_way.max(owed.len());
        match place {
            Link::Duplicate => state.duplicates += 1,
            // Asked for again once; who then still has nothing to fill it with has lost it.
            Link::Gap { .. } if first_time => return refuse(true, false),
            Link::Next | Link::Gap { .. } => {
                state.taken.entry((header.boot, header.lane)).or_default().push(frame);
            }
            Link::Fork => return refuse(false, false),
        }
        drop(state);
        if owed.len() >= 8 { self.receipts(owed) } else { Vec::new() }
    }

    fn receipts(&self, owed: &mut Vec<(BootId, Lane)>) -> Vec<Down> {
        let state = self.state();
        if owed.is_empty() || state.silent {
            return Vec::new();
        }
        owed.sort_unstable();
        owed.dedup();
        let durable = owed.drain(..).map(|(boot, lane)| durable(boot, lane, &state)).collect();
        vec![Down::Ack(Ack { durable, window: state.window })]
    }
}

fn durable(boot: BootId, lane: Lane, state: &State) -> Durable {
    Durable { boot: boot.0.to_vec(), lane: lane.number().into(), sequence: state.head(boot, lane).last }
}

async fn say(down: &Answers, message: Down) -> Option<()> {
    down.send(Ok(Downward { message: Some(message) })).await.ok()
}
