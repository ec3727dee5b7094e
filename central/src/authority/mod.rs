//! Who may speak: the enrolment CA, the server's certificate, the log key and the tokens.
//!
//! In: the data directory, and a certificate request that a token's bearer sent. Out: the TLS identity of
//! the server, and certificates that name a host by its id. Always: a private key is in a file of its own,
//! 0600, written whole; a certificate is issued only for the id that the start key gives. Never: a key is
//! made again while its certificate is in use; a secret of a token is stored. Fails by naming the file.

pub mod ca;
pub mod server;
pub mod log_key;
pub mod token;

use std::path::PathBuf;
use std::time::Duration;

use rcgen::SerialNumber;

use crate::data::DataError;

pub use ca::Authority;
pub use server::ServerIdentity;

/// A certificate is valid from this long ago, so that a host whose clock is a little behind accepts it.
const BACKDATE: Duration = Duration::from_secs(3600);

/// A key or certificate cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The directory.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A file of ours is not what it should be.
    #[error("{path} does not hold {expected}: restore it from a backup")]
    File {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// Certificate there, key gone: a new key would orphan every host.
    #[error("{certificate} is there but {key} is not: restore the key from a backup")]
    KeyMissing {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// Another CA's key: what it signs, nobody who pinned the certificate accepts.
    #[error("{key} is not the key of {certificate}: restore both from the same backup")]
    KeyOfOther {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The host's request.
    #[error("the certificate request is not a signed PKCS#10 request in PEM")]
    Request(#[source] rcgen::Error),
    /// The operator's name for the server.
    #[error("{0:?} cannot stand in a certificate: --name takes a DNS name or an address")]
    Name(String),
    /// Our own.
    #[error("a certificate could not be made")]
    Issue(#[source] rcgen::Error),
    /// The kernel's.
    #[error("the kernel gives no random bytes")]
    Random(#[source] getrandom::Error),
}

/// Random bytes from the kernel.
fn random<const N: usize>() -> Result<[u8; N], AuthorityError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(AuthorityError::Random)?;
    Ok(bytes)
}

/// RFC 5280 wants a positive number of at most 20 bytes; 16 random ones are never drawn twice.
fn serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes: [u8; 16] = random()?;
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// Sets the validity: from a little before `now` for `lifetime`.
fn valid_for(params: &mut rcgen::CertificateParams, now: Duration, lifetime: Duration) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(BACKDATE);
    params.not_after = epoch + now + lifetime;
}
