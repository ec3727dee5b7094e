//! The enrolment CA: certifies this server to the hosts and the hosts to this server.

use std::time::Duration;

use graven_record::id::HostId;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
};
use sha2::{Digest, Sha256};

use super::{AuthorityError, random, serial, valid_for};
use crate::data::{self, DataDir};

/// The CA is pinned by every host, so it outlives them: 20 years.
const CA_LIFETIME: Duration = Duration::from_secs(20 * 365 * 86_400);
/// A host's certificate: 30 days, so that a host that is gone cannot come back for long.
pub const HOST_LIFETIME: Duration = Duration::from_secs(30 * 86_400);

/// The CA with its key.
pub struct Authority {
    pem: String,
    der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

/// A host's new certificate.
#[derive(Clone, Debug)]
pub struct Issued {
    /// PEM.
    pub pem: String,
    /// Its serial number.
    pub serial: Vec<u8>,
    /// When it ends, since the Unix epoch.
    pub expires: Duration,
}

impl Authority {
    /// Reads the CA, or makes it on the first start. The key is written first: a certificate without its
    /// key cannot come from a crash, so it is an error and never a reason to make another.
    pub fn open_or_make(dir: &DataDir, now: Duration) -> Result<Self, AuthorityError> {
        let (key_file, file) = (dir.ca_key_file(), dir.ca_file());
        let (key, pem) = (data::read_optional(&key_file)?, data::read_optional(&file)?);
        let key = match (&key, &pem) {
            (None, Some(_)) => return Err(AuthorityError::KeyMissing { certificate: file, key: key_file }),
            (Some(key), _) => KeyPair::from_pem(key).map_err(|_| AuthorityError::File {
                path: key_file,
                expected: "the enrolment CA's private key",
            })?,
            (None, None) => {
                let key = KeyPair::generate().map_err(AuthorityError::Issue)?;
                data::write_whole(&key_file, key.serialize_pem().as_bytes())?;
                key
            }
        };
        let pem = match pem {
            Some(pem) => pem,
            None => {
                let pem = self_signed(&key, now)?;
                data::write_whole(&file, pem.as_bytes())?;
                pem
            }
        };
        let wrong =
            || AuthorityError::File { path: file.clone(), expected: "the enrolment CA's certificate" };
        let certified = key_of(&pem).ok_or_else(wrong)?;
        if certified != key.subject_public_key_info() {
            return Err(AuthorityError::KeyOfOther { certificate: file, key: dir.ca_key_file() });
        }
        Self::assemble(pem, key).map_err(|_| wrong())
    }

    /// SHA-256 of the CA's certificate in `dir`, for a token.
    pub fn fingerprint_in(dir: &DataDir) -> Result<[u8; 32], AuthorityError> {
        let file = dir.ca_file();
        let pem = data::read_optional(&file)?.unwrap_or_default();
        let der = der_of(&pem)
            .ok_or(AuthorityError::File { path: file, expected: "the enrolment CA's certificate" })?;
        Ok(Sha256::digest(der).into())
    }

    fn assemble(pem: String, key: KeyPair) -> Result<Self, rcgen::Error> {
        let der = der_of(&pem).ok_or(rcgen::Error::CouldNotParseCertificate)?;
        let issuer = Issuer::from_ca_cert_pem(&pem, key)?;
        Ok(Self { pem, der, issuer })
    }

    /// The certificate, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The certificate, DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of the certificate's DER: what a token carries, so that a host knows the server before the
    /// server knows the host.
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(&self.der).into()
    }

    /// Certifies the key of a request for a host. Nothing of the request but its key is taken over: names,
    /// usages and extensions are ours to give.
    pub fn issue(&self, request: &str, host: HostId, now: Duration) -> Result<Issued, AuthorityError> {
        let mut request =
            CertificateSigningRequestParams::from_pem(request).map_err(AuthorityError::Request)?;
        let mut params = CertificateParams::default();
        valid_for(&mut params, now, HOST_LIFETIME);
        let serial = serial()?;
        params.serial_number = Some(serial.clone());
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, host.to_string());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        request.params = params;
        let pem = request.signed_by(&self.issuer).map_err(AuthorityError::Issue)?.pem();
        Ok(Issued { pem, serial: serial.to_bytes(), expires: now + HOST_LIFETIME })
    }

    /// Signs the server's own certificate.
    pub(super) fn sign(&self, params: &CertificateParams, key: &KeyPair) -> Result<String, AuthorityError> {
        params.signed_by(key, &self.issuer).map(|c| c.pem()).map_err(AuthorityError::Issue)
    }
}

fn self_signed(key: &KeyPair, now: Duration) -> Result<String, AuthorityError> {
    let mut params = CertificateParams::default();
    valid_for(&mut params, now, CA_LIFETIME);
    params.serial_number = Some(serial()?);
    params.distinguished_name = rcgen::DistinguishedName::new();
    // Two logs' CAs must not share a name, or a verifier that knows both tries the wrong key.
    let name = format!("Graven enrolment CA {}", hex::encode(random::<4>()?));
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.self_signed(key).map(|c| c.pem()).map_err(AuthorityError::Issue)
}

/// The public key that a certificate certifies, DER.
fn key_of(pem: &str) -> Option<Vec<u8>> {
    let der = der_of(pem)?;
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).ok()?;
    Some(certificate.public_key().raw.to_vec())
}

/// The bytes of the first PEM block.
pub(super) fn der_of(pem: &str) -> Option<Vec<u8>> {
    let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
    Some(block.contents)
}

/// The host that a client certificate names. TLS has checked already that our CA signed it.
pub fn host_of_certificate(der: &[u8]) -> Option<HostId> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let mut names = certificate.subject().iter_common_name();
    let name = names.next()?.as_str().ok()?;
    names.next().is_none().then_some(())?;
    name.parse().ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    const NOW: Duration = Duration::from_secs(1_900_000_000);

    fn request(name: &str) -> String {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serialize_request(&key).unwrap().pem().unwrap()
    }

    #[test]
    fn the_ca_is_made_once_and_read_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(dir.path()).unwrap();
        let made = Authority::open_or_make(&data, NOW).unwrap();
        let read = Authority::open_or_make(&data, NOW * 2).unwrap();
        assert_eq!(made.fingerprint(), read.fingerprint());
        assert_eq!(Authority::fingerprint_in(&data).unwrap(), read.fingerprint());
    }

    #[test]
    fn a_lost_ca_key_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(dir.path()).unwrap();
        Authority::open_or_make(&data, NOW).unwrap();
        std::fs::remove_file(data.ca_key_file()).unwrap();
        assert!(matches!(Authority::open_or_make(&data, NOW), Err(AuthorityError::KeyMissing { .. })));
    }

    #[test]
    fn the_key_of_another_ca_is_refused() {
        let [one, other] = [0; 2].map(|_| tempfile::tempdir().unwrap());
        let [one, other] = [&one, &other].map(|dir| DataDir::create(dir.path()).unwrap());
        for data in [&one, &other] {
            Authority::open_or_make(data, NOW).unwrap();
        }
        std::fs::copy(other.ca_key_file(), one.ca_key_file()).unwrap();
        let error = Authority::open_or_make(&one, NOW).err().unwrap();
        assert!(matches!(&error, AuthorityError::KeyOfOther { .. }), "{error}");
    }

    #[test]
    fn a_host_certificate_names_the_host_and_nothing_the_request_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(dir.path()).unwrap();
        let authority = Authority::open_or_make(&data, NOW).unwrap();
        let host = HostId([7; 32]);
        let issued = authority.issue(&request("localhost"), host, NOW).unwrap();
        let der = der_of(&issued.pem).unwrap();
        assert_eq!(host_of_certificate(&der), Some(host));
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert!(certificate.subject_alternative_name().unwrap().is_none());
        let usage = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth && !usage.any);
    }

    #[test]
    fn a_request_whose_signature_is_wrong_gets_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(dir.path()).unwrap();
        let authority = Authority::open_or_make(&data, NOW).unwrap();
        let mut der = der_of(&request("a")).unwrap();
        let last = der.len() - 1;
        der[last] ^= 1;
        let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der);
        let pem =
            format!("-----BEGIN CERTIFICATE REQUEST-----\n{encoded}\n-----END CERTIFICATE REQUEST-----\n");
        assert!(matches!(authority.issue(&pem, HostId([7; 32]), NOW), Err(AuthorityError::Request(_))));
        assert!(authority.issue("hello", HostId([7; 32]), NOW).is_err());
    }
}
