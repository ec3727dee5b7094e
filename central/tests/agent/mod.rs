//! The agent's side of the wire, over real TLS: enrols and streams what the fixture's host sealed.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::time::Duration;

use graven_record::epoch::sign_enrolment;
use graven_record::id::Lane;
use graven_record::wire::downward::Message as Down;
use graven_record::wire::enrolment_client::EnrolmentClient;
use graven_record::wire::ingest_client::IngestClient;
use graven_record::wire::upward::Message as Up;
use graven_record::wire::{Ack, Downward, Durable, EnrolReply, EnrolRequest, Open, Refused, Resume, Upward};
use rcgen::{CertificateParams, KeyPair};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Status, Streaming};

use crate::fixture::Host;

/// Longest wait for an answer that must come: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// A host's keys and the certificate it was given.
#[derive(Clone)]
pub struct Enrolled {
    pub reply: EnrolReply,
    key: String,
}

async fn channel(port: u16, tls: ClientTlsConfig) -> Channel {
    let endpoint = Endpoint::from_shared(format!("https://localhost:{port}")).unwrap();
    endpoint.tls_config(tls).unwrap().connect().await.unwrap()
}

pub fn request(host: &Host, token: &str, key: &KeyPair) -> EnrolRequest {
    let csr = CertificateParams::new(Vec::new()).unwrap().serialize_request(key).unwrap().pem().unwrap();
    EnrolRequest {
        token: token.to_owned(),
        signature: sign_enrolment(token, &csr, &host.start_key),
        csr,
        start_key: host.start_key.verifying_key().to_bytes().to_vec(),
        hostname: host.hostname.clone(),
    }
}

pub async fn send_request(port: u16, ca: &str, request: EnrolRequest) -> Result<EnrolReply, Status> {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
    let mut client = EnrolmentClient::new(channel(port, tls).await);
    client.enrol(request).await.map(tonic::Response::into_inner)
}

pub async fn enrol(port: u16, ca: &str, host: &Host, token: &str) -> Result<Enrolled, Status> {
    let key = KeyPair::generate().unwrap();
    let reply = send_request(port, ca, request(host, token, &key)).await?;
    Ok(Enrolled { reply, key: key.serialize_pem() })
}

/// One stream.
pub struct Line {
    up: mpsc::Sender<Upward>,
    down: Streaming<Downward>,
    _channel: Channel,
}

pub fn opening(host: &Host) -> Open {
    Open {
        host: host.id().0.to_vec(),
        boot: host.boot.0.to_vec(),
        run: host.run.0.to_vec(),
        agent_version: "0".to_owned(),
        hostname: host.hostname.clone(),
    }
}

/// Opens a stream as `open` says; `who` gives the certificate, or none.
pub async fn connect(
    port: u16,
    ca: &str,
    who: Option<&Enrolled>,
    open: Open,
) -> Result<(Line, Resume), Status> {
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
    if let Some(who) = who {
        tls = tls.identity(Identity::from_pem(&who.reply.certificate, &who.key));
    }
    let channel = channel(port, tls).await;
    let mut client = IngestClient::new(channel.clone());
    let (up, messages) = mpsc::channel(256);
    up.send(Upward { message: Some(Up::Open(open)) }).await.unwrap();
    let down = client.stream(ReceiverStream::new(messages)).await?.into_inner();
    let mut line = Line { up, down, _channel: channel };
    match line.hear().await? {
        Down::Resume(resume) => Ok((line, resume)),
        other => unreachable!("{other:?}"),
    }
}

impl Line {
    pub async fn send(&self, bytes: &[u8]) {
        self.say(Up::Frame(bytes.to_vec())).await;
    }

    pub async fn say(&self, message: Up) {
        self.up.send(Upward { message: Some(message) }).await.unwrap();
    }

    pub async fn hear(&mut self) -> Result<Down, Status> {
        let heard = tokio::time::timeout(PATIENCE, self.down.message()).await.unwrap()?;
        heard.and_then(|m| m.message).ok_or_else(|| Status::ok("the stream ended"))
    }

    /// Hears until the lane is durable up to `sequence`.
    pub async fn until_durable(&mut self, host: &Host, lane: Lane, sequence: u64) {
        loop {
            let Down::Ack(ack) = self.hear().await.unwrap() else { continue };
            if durable(&ack.durable, host, lane) == Some(sequence) {
                return;
            }
        }
    }

    pub async fn refused(&mut self) -> Refused {
        loop {
            if let Down::Refused(refused) = self.hear().await.unwrap() {
                return refused;
            }
        }
    }

    pub async fn acknowledged(&mut self) -> Ack {
        loop {
            if let Down::Ack(ack) = self.hear().await.unwrap() {
                return ack;
            }
        }
    }

    /// How the stream ends.
    pub async fn end(&mut self) -> Status {
        loop {
            if let Err(status) = self.hear().await {
                return status;
            }
        }
    }
}

pub fn durable(list: &[Durable], host: &Host, lane: Lane) -> Option<u64> {
    let mine = |d: &&Durable| d.boot == host.boot.0 && d.lane == u32::from(lane.number());
    list.iter().find(mine).map(|d| d.sequence)
}
