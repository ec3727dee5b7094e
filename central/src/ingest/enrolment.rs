//! Enrolment: a bearer of a token becomes a host. No client certificate yet; the token is the door.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ed25519_dalek::VerifyingKey;
use graven_record::epoch::{verify_enrolment, verifying_key};
use graven_record::id::HostId;
use graven_record::wire::enrolment_server::Enrolment;
use graven_record::wire::{EnrolReply, EnrolRequest};
use tonic::{Request, Response, Status};

use super::attempts::Attempts;
use super::incoming;
use crate::authority::token::{self, TokenHash};
use crate::authority::{Authority, AuthorityError};
use crate::data::DataDir;
use crate::store::StoreError;
use crate::store::hosts::{self, MAX_HOSTNAME};
use crate::store::sqlite::open_central;
use crate::store::tokens::{self, DoorError};
use crate::store::writer::Clock;

/// Largest request: a token, a certificate request and a name; 4 KiB in practice.
pub const MAX_REQUEST: usize = 16 << 10;

/// The service.
#[derive(Clone)]
pub struct Enrolments(pub Arc<Door>);

/// What stands behind it.
pub struct Door {
    /// Where the tokens are.
    pub dir: DataDir,
    /// Issues the certificates.
    pub authority: Arc<Authority>,
    /// Told to the hosts, hex.
    pub log_key: String,
    /// The central clock.
    pub clock: Clock,
    /// Who failed how often.
    pub attempts: Mutex<Attempts>,
}

/// A request that proves it has its keys.
struct Bearer {
    token: TokenHash,
    start_key: VerifyingKey,
    host: HostId,
    csr: String,
    hostname: String,
}

#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Token(#[from] token::TokenTextError),
    #[error("the start key is not an Ed25519 key")]
    Key,
    #[error("the request is not signed by the start key it carries")]
    Proof,
    #[error("the host name is longer than {MAX_HOSTNAME} bytes")]
    Name,
    #[error(transparent)]
    Door(#[from] DoorError),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

#[tonic::async_trait]
impl Enrolment for Enrolments {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<EnrolReply>, Status> {
        incoming::spoke(&request);
        let address = incoming::address(&request);
        if !self.0.attempts(|attempts| attempts.may(address, Instant::now())) {
            return Err(Status::resource_exhausted(
                "too many failed attempts from this address: wait a minute",
            ));
        }
        let door = Arc::clone(&self.0);
        let request = request.into_inner();
        let answer = tokio::task::spawn_blocking(move || door.let_in(&request))
            .await
            .map_err(|_| Status::internal("the enrolment did not end"))?;
        answer.map(Response::new).map_err(|refusal| self.0.refuse(&refusal, address))
    }
}

impl Door {
    fn attempts<T>(&self, with: impl FnOnce(&mut Attempts) -> T) -> T {
        with(&mut self.attempts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn let_in(&self, request: &EnrolRequest) -> Result<EnrolReply, Refusal> {
        let bearer = self.check(request)?;
        let now = (self.clock)();
        let (mut db, path) = open_central(&self.dir).map_err(DoorError::from)?;
        // Before a certificate is signed; the transaction below asks again.
        tokens::check(&db, &path, bearer.token, &bearer.host, now)?;
        let now_since_epoch = Duration::from_nanos(u64::try_from(now).unwrap_or(0));
        let issued = self.authority.issue(&bearer.csr, bearer.host, now_since_epoch)?;
        let enrolment = hosts::Enrolment {
            id: bearer.host,
            hostname: bearer.hostname,
            start_key: bearer.start_key,
            serial: issued.serial,
            expires: i64::try_from(issued.expires.as_nanos()).unwrap_or(i64::MAX),
        };
        let group = tokens::enrol(&mut db, &path, bearer.token, &enrolment, now)?;
        tracing::info!(host = %bearer.host, hostname = ?enrolment.hostname, group, "a host was enrolled");
        Ok(EnrolReply {
            certificate: issued.pem,
            ca: self.authority.pem().to_owned(),
            log_key: self.log_key.clone(),
            host: bearer.host.0.to_vec(),
            group,
        })
    }

    fn check(&self, request: &EnrolRequest) -> Result<Bearer, Refusal> {
        let token = token::read(&request.token, &self.authority.fingerprint())?;
        let start_key = verifying_key(&request.start_key).map_err(|_| Refusal::Key)?;
        verify_enrolment(&request.token, &request.csr, &request.signature, &start_key)
            .map_err(|_| Refusal::Proof)?;
        if request.hostname.len() > MAX_HOSTNAME {
            return Err(Refusal::Name);
        }
        let host = HostId::of_key(&start_key.to_bytes());
        Ok(Bearer { token, start_key, host, csr: request.csr.clone(), hostname: request.hostname.clone() })
    }

    fn refuse(&self, refusal: &Refusal, address: Option<IpAddr>) -> Status {
        let text = refusal.to_string();
        let status = match refusal {
            Refusal::Token(_) | Refusal::Door(DoorError::Unknown | DoorError::Expired | DoorError::Used) => {
                Status::permission_denied(text)
            }
            Refusal::Proof => Status::permission_denied(text),
            Refusal::Key | Refusal::Name | Refusal::Authority(AuthorityError::Request(_)) => {
                Status::invalid_argument(text)
            }
            Refusal::Door(DoorError::Store(_)) | Refusal::Authority(_) => return self.fail(refusal),
        };
        tracing::warn!(?address, reason = %refusal, "an enrolment was refused");
        self.attempts(|attempts| attempts.failed(address, Instant::now()));
        status
    }

    /// Our own failure: the bearer may come again, and hears nothing of our files.
    fn fail(&self, refusal: &Refusal) -> Status {
        tracing::error!(reason = ?refusal, "an enrolment failed");
        Status::unavailable("the central log could not store the enrolment: try again")
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Door(error.into())
    }
}
