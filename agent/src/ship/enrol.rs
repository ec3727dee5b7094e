//! Enrolment: keys are made here, a token opens the door, a certificate comes back.
//!
//! The server is checked before a byte of ours is sent: its chain must lead to the CA whose hash is in the
//! token, and its certificate must be for the name that was asked for. The start key and the TLS key never
//! leave this host; the host id is the start key's hash, so a re-enrolled host is a new host.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use graven_record::epoch::sign_enrolment;
use graven_record::id::HostId;
use graven_record::wire::enrolment_client::EnrolmentClient;
use graven_record::wire::{EnrolReply, EnrolRequest};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, ClientConfig};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use zeroize::Zeroizing;

use super::identity::{self, Identity, IdentityError, Tls};
use super::pin::Pinned;
use super::printable;
use super::token::{Token, TokenError};
use crate::config::{Config, Server};

/// A server that does not take a connection within this is away.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// The answer needs a signature and a write to disk.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A host that was enrolled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolled {
    /// Its id.
    pub host: HostId,
    /// The group that the token was of.
    pub group: String,
}

/// Enrolment failed; the identity that was there, if any, is as it was.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// There is an identity.
    #[error("this host is enrolled already, as {host}: with --force it becomes a new host")]
    Already {
        /// Its id.
        host: String,
    },
    /// `--server`
    #[error("--server: {0}")]
    Server(String),
    /// `--token`
    #[error("--token: {0}")]
    Token(#[from] TokenError),
    /// No connection.
    #[error(
        "the central log {server} cannot be reached ({source}): check --server, the network, and that `graven serve` runs"
    )]
    Away {
        /// Where.
        server: Server,
        /// Why.
        source: io::Error,
    },
    /// Another central log, or somebody between.
    #[error(
        "{server} is not the central log that the token is of: make a token with `graven enrol` there, or correct --server"
    )]
    OtherLog {
        /// Where.
        server: Server,
    },
    /// Its certificate has other names.
    #[error("the certificate of {server} is not for that name: use a name that it has, or restart it with `graven serve --name {}`", server.host)]
    OtherName {
        /// Where.
        server: Server,
    },
    /// One of the two clocks is wrong.
    #[error("the certificate of {server} is not valid at this host's time: set the clock")]
    Clock {
        /// Where.
        server: Server,
    },
    /// Something else about TLS.
    #[error("no TLS with {server}: {source}")]
    Tls {
        /// Where.
        server: Server,
        /// Why.
        source: io::Error,
    },
    /// The central log said no, in its own words.
    #[error("the central log refused: {0}")]
    Refused(String),
    /// It answered, but not with an enrolment of this host.
    #[error("the central log's answer is not an enrolment of this host ({0}): is it of another release?")]
    Answer(&'static str),
    /// No keys.
    #[error("cannot make keys: {0}")]
    Keys(String),
    /// The identity cannot be kept.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No runtime.
    #[error("cannot start")]
    Runtime(#[source] io::Error),
}

/// Enrols this host at a server. Blocks until it is done.
pub fn enrol(
    config: &Config,
    server: &str,
    token: &str,
    hostname: &str,
    force: bool,
) -> Result<Enrolled, EnrolError> {
    if let Some(host) = Identity::enrolled(config).filter(|_| !force) {
        return Err(EnrolError::Already { host });
    }
    let server: Server = server.parse().map_err(EnrolError::Server)?;
    let token = Token::read(token)?;
    let keys = Keys::kept_for(config, &token)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(EnrolError::Runtime)?;
    let reply = runtime.block_on(ask(&server, &token, &keys, hostname))?;
    let identity = keys.accept(reply, &token)?;
    identity.store(config, &server.to_string())?;
    Ok(Enrolled { host: identity.host, group: identity.group })
}

struct Keys {
    start: SigningKey,
    host: HostId,
    tls: KeyPair,
    csr: String,
}

impl Keys {
    /// Keys that are on the disk before the server is asked: a token opens the door to one host only, and the same
    /// host may come again with it when the answer was lost or could not be written.
    fn kept_for(config: &Config, token: &Token) -> Result<Self, EnrolError> {
        let asked = hex::encode(Sha256::digest(&token.text));
        if let Some((start, tls)) = identity::asked(config, &asked)
            && let Ok(tls) = KeyPair::from_pem(&tls)
        {
            return Self::of(start, tls);
        }
        let keys = Self::make()?;
        identity::ask_with(config, &asked, &keys.start, &keys.tls.serialize_pem().into())?;
        Ok(keys)
    }

    fn make() -> Result<Self, EnrolError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(|e| EnrolError::Keys(e.to_string()))?;
        let start = SigningKey::from_bytes(&seed);
        let tls = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256);
        Self::of(start, tls.map_err(|e| EnrolError::Keys(e.to_string()))?)
    }

    fn of(start: SigningKey, tls: KeyPair) -> Result<Self, EnrolError> {
        let host = HostId::of_key(&start.verifying_key().to_bytes());
        let failed = |e: rcgen::Error| EnrolError::Keys(e.to_string());
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, host.to_string());
        let csr = params.serialize_request(&tls).and_then(|csr| csr.pem()).map_err(failed)?;
        Ok(Self { start, host, tls, csr })
    }

    /// The answer must be about our keys and of the CA that was checked.
    fn accept(self, reply: EnrolReply, token: &Token) -> Result<Identity, EnrolError> {
        let wrong = EnrolError::Answer;
        if reply.host != self.host.0 {
            return Err(wrong("another host id"));
        }
        let ca = rustls::pki_types::CertificateDer::from_pem_slice(reply.ca.as_bytes())
            .map_err(|_| wrong("no CA certificate"))?;
        if <[u8; 32]>::from(Sha256::digest(&ca)) != token.ca {
            return Err(wrong("another CA"));
        }
        let certificate = rustls::pki_types::CertificateDer::from_pem_slice(reply.certificate.as_bytes())
            .map_err(|_| wrong("no certificate"))?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(&certificate).map_err(|_| wrong("no certificate"))?;
        if *parsed.public_key().subject_public_key.data != *self.tls.der_bytes() {
            return Err(wrong("a certificate of another key"));
        }
        let mut log_key = [0; 32];
        hex::decode_to_slice(reply.log_key.trim(), &mut log_key).map_err(|_| wrong("no log key"))?;
        let tls = Tls { certificate: reply.certificate, key: self.tls.serialize_pem().into(), ca: reply.ca };
        Ok(Identity { host: self.host, start_key: self.start, tls, log_key, group: reply.group })
    }
}

async fn ask(server: &Server, token: &Token, keys: &Keys, hostname: &str) -> Result<EnrolReply, EnrolError> {
    let channel = connect(server, token).await?;
    let request = EnrolRequest {
        token: token.text.clone(),
        csr: keys.csr.clone(),
        start_key: keys.start.verifying_key().to_bytes().to_vec(),
        signature: sign_enrolment(&token.text, &keys.csr, &keys.start),
        hostname: hostname.to_owned(),
    };
    let mut client = EnrolmentClient::new(channel);
    let away = |why: String| EnrolError::Away { server: server.clone(), source: io::Error::other(why) };
    let answer = timeout(ANSWER_WITHIN, client.enrol(request)).await;
    let answer = answer.map_err(|_| away("no answer within 30 seconds".to_owned()))?;
    answer.map(tonic::Response::into_inner).map_err(|status| match status.code() {
        Code::PermissionDenied | Code::InvalidArgument | Code::ResourceExhausted | Code::Unavailable => {
            EnrolError::Refused(printable(status.message()))
        }
        _ => away(printable(status.message())),
    })
}

/// A channel over one connection whose server was checked.
async fn connect(server: &Server, token: &Token) -> Result<Channel, EnrolError> {
    let away = |source| EnrolError::Away { server: server.clone(), source };
    let name = ServerName::try_from(server.host.clone()).map_err(|e| EnrolError::Server(e.to_string()))?;
    let tcp = timeout(CONNECT_WITHIN, TcpStream::connect((server.host.as_str(), server.port))).await;
    let tcp = tcp.map_err(|_| away(io::ErrorKind::TimedOut.into()))?.map_err(away)?;
    let config = pinned(token).map_err(|e| away(io::Error::other(e)))?;
    let tls = timeout(CONNECT_WITHIN, TlsConnector::from(Arc::new(config)).connect(name, tcp)).await;
    let tls =
        tls.map_err(|_| away(io::ErrorKind::TimedOut.into()))?.map_err(|source| judge(server, source))?;
    let mut once = Some(tls);
    // The scheme only names the authority: the connection is there already, inside TLS.
    let endpoint = Endpoint::from_static("http://central");
    let connector = tower::service_fn(move |_| {
        let tls = once.take();
        async move { tls.map(TokioIo::new).ok_or(io::Error::from(io::ErrorKind::ConnectionReset)) }
    });
    endpoint.connect_with_connector(connector).await.map_err(|e| away(io::Error::other(e)))
}

fn pinned(token: &Token) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned::new(token.ca, provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Why TLS failed, in words that say what to do.
fn judge(server: &Server, source: io::Error) -> EnrolError {
    let server = server.clone();
    let reason = source.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(reason)) = reason else {
        return EnrolError::Tls { server, source };
    };
    match reason {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => EnrolError::OtherLog { server },
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            EnrolError::OtherName { server }
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => EnrolError::Clock { server },
        _ => EnrolError::Tls { server, source },
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use std::path::Path;

    use super::*;

    fn config(state: &Path) -> Config {
        let text = format!("state = {state:?}\n[central]\nservers = [\"https://a:1\"]\n");
        Config::parse(&text, Path::new("agent.toml")).unwrap()
    }

    fn token(secret: &str) -> Token {
        Token::read(&format!("gvn1.{secret}.{}", "ab".repeat(32))).unwrap()
    }

    fn asked(config: &Config, secret: &str) -> (HostId, String) {
        let keys = Keys::kept_for(config, &token(secret)).unwrap();
        (keys.host, keys.tls.serialize_pem())
    }

    #[test]
    fn the_same_token_asks_with_the_same_keys_again_and_another_one_with_others() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(&dir.path().join("state"));
        let first = asked(&config, "one");
        assert!(asked(&config, "one") == first);
        let other = asked(&config, "two");
        assert!(other.0 != first.0 && other.1 != first.1);
        assert!(asked(&config, "one").0 != first.0, "only the last token's keys are kept");
    }

    #[test]
    fn an_identity_that_cannot_be_kept_leaves_the_keys_for_a_retry_and_one_that_is_leaves_none() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let keys = Keys::kept_for(&config, &token("one")).unwrap();
        let host = keys.host;
        let tls = Tls { certificate: "c".into(), key: keys.tls.serialize_pem().into(), ca: "a".into() };
        let identity = Identity { host, start_key: keys.start, tls, log_key: [1; 32], group: "g".into() };
        // A folder where a file should go.
        std::fs::create_dir(dir.path().join("keys.new/log.pub")).unwrap();
        assert!(identity.store(&config, "https://a:1").is_err());
        assert_eq!(asked(&config, "one").0, host);
        std::fs::remove_dir(dir.path().join("keys.new/log.pub")).unwrap();
        identity.store(&config, "https://a:1").unwrap();
        assert_eq!(Identity::load(&config).unwrap().host, host);
        assert!(!dir.path().join("keys.new").exists() && !dir.path().join("keys/token").exists());
    }

    #[test]
    fn keys_that_were_half_written_are_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let first = asked(&config, "one");
        std::fs::write(dir.path().join("keys.new/start.key"), "torn").unwrap();
        assert!(asked(&config, "one").0 != first.0);
    }

    #[test]
    fn a_state_that_cannot_be_written_fails_before_the_server_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("state"), "no folder").unwrap();
        let config = config(&dir.path().join("state"));
        let text = token("one").text;
        // Nobody listens there: an attempt to ask would be `Away`.
        let error = enrol(&config, "https://127.0.0.1:1", &text, "h", false).unwrap_err();
        assert!(matches!(error, EnrolError::Identity(IdentityError::Write { .. })), "{error}");
    }
}
