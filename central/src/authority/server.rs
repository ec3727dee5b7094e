//! The server's TLS certificate: made on the first start, made again when it is near its end, when the
//! names changed or when the CA is another.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};
use x509_parser::extensions::GeneralName;

use super::{Authority, AuthorityError, ca, serial, valid_for};
use crate::data::{self, DataDir};

/// Two years: hosts trust our CA and not the certificate, so its length costs nothing.
const LIFETIME: Duration = Duration::from_secs(730 * 86_400);
/// Made again at a start within this of its end: a server that is restarted twice a year never sees the end.
const RENEW_WITHIN: Duration = Duration::from_secs(180 * 86_400);
/// A running server says so each day when its certificate ends within this.
pub const WARN_WITHIN: Duration = Duration::from_secs(60 * 86_400);

/// What the TLS server presents.
#[derive(Clone)]
pub struct ServerIdentity {
    /// PEM.
    pub certificate: String,
    /// PEM.
    pub key: String,
    /// When the certificate ends, since the Unix epoch.
    pub expires: Duration,
}

/// The names by which hosts may call this server.
pub fn names(listen: SocketAddr, hostname: &str, more: &[String]) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    if !listen.ip().is_unspecified() {
        names.insert(listen.ip().to_string());
    }
    // A host name is the host's to choose; one that cannot stand in a certificate is left out.
    if rcgen::string::Ia5String::try_from(hostname).is_ok() && !hostname.is_empty() {
        names.insert(hostname.to_owned());
    }
    names.extend(more.iter().map(|name| canonical(name)));
    names
}

fn canonical(name: &str) -> String {
    name.parse::<IpAddr>().map_or_else(|_| name.to_owned(), |ip| ip.to_string())
}

/// The certificate that is there if it still serves, else a new one.
pub fn open_or_make(
    dir: &DataDir,
    authority: &Authority,
    names: &BTreeSet<String>,
    now: Duration,
) -> Result<ServerIdentity, AuthorityError> {
    let file = dir.server_file();
    if let Some(text) = data::read_optional(&file)?
        && let Some(identity) = usable(&text, authority, names, now)
    {
        return Ok(identity);
    }
    let identity = make(authority, names, now)?;
    data::write_whole(&file, [identity.certificate.as_str(), &identity.key].concat().as_bytes())?;
    Ok(identity)
}

/// `None` = to be made again, for whichever reason: nothing depends on the old one.
fn usable(
    text: &str,
    authority: &Authority,
    names: &BTreeSet<String>,
    now: Duration,
) -> Option<ServerIdentity> {
    let at = text.find("-----BEGIN PRIVATE KEY-----")?;
    let (certificate, key) = text.split_at(at);
    KeyPair::from_pkcs8_pem_and_sign_algo(key, &PKCS_ECDSA_P256_SHA256).ok()?;
    let der = ca::der_of(certificate)?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).ok()?;
    let (_, issuer) = x509_parser::parse_x509_certificate(authority.der()).ok()?;
    parsed.verify_signature(Some(issuer.public_key())).ok()?;
    let expires = Duration::from_secs(u64::try_from(parsed.validity().not_after.timestamp()).ok()?);
    let same = names_of(&parsed)? == *names && now + RENEW_WITHIN < expires;
    same.then(|| ServerIdentity { certificate: certificate.to_owned(), key: key.to_owned(), expires })
}

fn names_of(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Option<BTreeSet<String>> {
    let names = certificate.subject_alternative_name().ok()??;
    let one = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|ip| ip.to_string()),
        _ => None,
    };
    names.value.general_names.iter().map(one).collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
    four.or_else(|| <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok())
}

fn make(
    authority: &Authority,
    names: &BTreeSet<String>,
    now: Duration,
) -> Result<ServerIdentity, AuthorityError> {
    let mut params = CertificateParams::default();
    for name in names {
        let one =
            CertificateParams::new(vec![name.clone()]).map_err(|_| AuthorityError::Name(name.clone()))?;
        params.subject_alt_names.extend(one.subject_alt_names);
    }
    valid_for(&mut params, now, LIFETIME);
    params.serial_number = Some(serial()?);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Graven central log");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(AuthorityError::Issue)?;
    let certificate = authority.sign(&params, &key)?;
    Ok(ServerIdentity { certificate, key: key.serialize_pem(), expires: now + LIFETIME })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    const NOW: Duration = Duration::from_secs(1_900_000_000);

    fn authority() -> (tempfile::TempDir, DataDir, Authority) {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(dir.path()).unwrap();
        let authority = Authority::open_or_make(&data, NOW).unwrap();
        (dir, data, authority)
    }

    fn named(more: &[&str]) -> BTreeSet<String> {
        let more: Vec<String> = more.iter().map(|&n| n.to_owned()).collect();
        names("127.0.0.1:7443".parse().unwrap(), "box", &more)
    }

    #[test]
    fn the_certificate_is_kept_while_it_serves() {
        let (_dir, data, authority) = authority();
        let first = open_or_make(&data, &authority, &named(&["log.example", "0:0::7"]), NOW).unwrap();
        let second =
            open_or_make(&data, &authority, &named(&["::7", "log.example"]), NOW + LIFETIME / 2).unwrap();
        assert_eq!(first.certificate, second.certificate);
        assert_eq!(first.key, second.key);
    }

    #[test]
    fn other_names_or_a_near_end_make_a_new_one() {
        let (_dir, data, authority) = authority();
        let first = open_or_make(&data, &authority, &named(&[]), NOW).unwrap();
        let other = open_or_make(&data, &authority, &named(&["log.example"]), NOW).unwrap();
        assert_ne!(first.certificate, other.certificate);
        let later =
            open_or_make(&data, &authority, &named(&["log.example"]), NOW + LIFETIME - RENEW_WITHIN).unwrap();
        assert_ne!(other.certificate, later.certificate);
    }

    #[test]
    fn another_ca_makes_a_new_one() {
        let (_dir, data, authority) = authority();
        let first = open_or_make(&data, &authority, &named(&[]), NOW).unwrap();
        std::fs::remove_file(data.ca_file()).unwrap();
        std::fs::remove_file(data.ca_key_file()).unwrap();
        let authority = Authority::open_or_make(&data, NOW).unwrap();
        assert_ne!(open_or_make(&data, &authority, &named(&[]), NOW).unwrap().certificate, first.certificate);
    }

    #[test]
    fn a_name_that_cannot_stand_in_a_certificate_is_the_operators_error() {
        let (_dir, data, authority) = authority();
        let error = open_or_make(&data, &authority, &named(&["käse"]), NOW).err().unwrap();
        assert!(error.to_string().contains("--name"), "{error}");
    }
}
