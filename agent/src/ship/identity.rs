//! Who this host is: what enrolment left below `keys/`.
//!
//! ```text
//! keys/start.key   Ed25519, PKCS#8: certifies each run's first key
//!      tls.key     ECDSA P-256, PKCS#8: the stream to the central log
//!      tls.crt     the host's certificate, issued by the enrolment CA
//!      ca.crt      the enrolment CA: the only one that a server may be of
//!      log.pub     the central log's key, hex
//!      host.json   host id, group, server
//! ```
//! While it is asked for, the new keys lie in `keys.new/`, with the hash of the token that they were made for, in
//! `token`. All are 0600 of root. `ship` gets what it needs over its socket, so that no other process of its user can
//! read a key.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, spki::der::pem::LineEnding};
use graven_record::id::HostId;
use rustix::fs::{CWD, RenameFlags};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::config::Config;

/// Most bytes of a file below `keys/`.
const MAX_FILE: u64 = 64 << 10;

/// Where the next identity is put together, below `state`.
const NEW: &str = "keys.new";
/// In it: SHA-256 of the token that its keys were made for, hex. The token itself is not kept.
const TOKEN: &str = "token";

/// This host.
pub struct Identity {
    /// SHA-256 of the start key.
    pub host: HostId,
    /// Certifies a run's first key.
    pub start_key: SigningKey,
    /// What the stream needs.
    pub tls: Tls,
    /// The central log's key.
    pub log_key: [u8; 32],
    /// The group that the token was of.
    pub group: String,
}

/// PEM texts for the stream.
#[derive(Clone)]
pub struct Tls {
    /// The host's certificate.
    pub certificate: String,
    /// Its key.
    pub key: Zeroizing<String>,
    /// Who may issue the server's certificate.
    pub ca: String,
}

impl Tls {
    /// Whole days until the host's certificate ends, negative when it has; `None` = it is not readable.
    pub fn days_left(&self) -> Option<i64> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(self.certificate.as_bytes()).ok()?;
        let validity = pem.parse_x509().ok()?.validity().clone();
        let now = x509_parser::time::ASN1Time::now();
        Some((validity.not_after.timestamp() - now.timestamp()).div_euclid(86_400))
    }
}

#[derive(Serialize, Deserialize)]
struct HostFile {
    host: String,
    group: String,
    server: String,
}

/// The identity cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Nothing there.
    #[error(
        "this host is not enrolled ({keys} is not there): run `graven enrol` on the central log and here \
         `graven-agent enrol --config FILE --server https://HOST:7443 --token TOKEN`"
    )]
    NotEnrolled {
        /// Where it should be.
        keys: PathBuf,
    },
    /// Not readable.
    #[error("cannot read {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A key that others may have read is no proof of anything.
    #[error("{path} can be read by other users: `chmod 600` it, and enrol again with --force if anybody did")]
    Open {
        /// Which file.
        path: PathBuf,
    },
    /// What is in it is of no use.
    #[error("{path} is damaged ({why}): enrol again with --force")]
    Broken {
        /// Which file.
        path: PathBuf,
        /// How.
        why: &'static str,
    },
    /// The identity cannot be kept.
    #[error("cannot write {path}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Identity {
    /// Reads what enrolment left.
    pub fn load(config: &Config) -> Result<Self, IdentityError> {
        let keys = config.keys();
        let file = keys.join("host.json");
        match file.try_exists() {
            Ok(true) => {}
            Ok(false) => return Err(IdentityError::NotEnrolled { keys }),
            Err(source) => return Err(IdentityError::Read { path: file, source }),
        }
        let broken = |name: &str, why| IdentityError::Broken { path: keys.join(name), why };
        let file: HostFile = serde_json::from_str(&read(&keys, "host.json")?)
            .map_err(|_| broken("host.json", "it is not the JSON that enrolment writes"))?;
        let start_key = SigningKey::from_pkcs8_pem(&read(&keys, "start.key")?)
            .map_err(|_| broken("start.key", "it holds no Ed25519 key"))?;
        let host = HostId::of_key(&start_key.verifying_key().to_bytes());
        if file.host.parse().ok() != Some(host) {
            return Err(broken("host.json", "its host id is not that of start.key"));
        }
        let mut log_key = [0; 32];
        hex::decode_to_slice(read(&keys, "log.pub")?.trim(), &mut log_key)
            .map_err(|_| broken("log.pub", "it holds no key"))?;
        let tls = Tls {
            certificate: read(&keys, "tls.crt")?.to_string(),
            key: read(&keys, "tls.key")?,
            ca: read(&keys, "ca.crt")?.to_string(),
        };
        Ok(Self { host, start_key, tls, log_key, group: file.group })
    }

    /// The host id, where this host is enrolled.
    pub fn enrolled(config: &Config) -> Option<String> {
        let text = read(&config.keys(), "host.json").ok()?;
        serde_json::from_str::<HostFile>(&text).ok().map(|file| file.host)
    }

    /// Puts an identity in place, in one step: a crash leaves the old one or the new one, never a mixture.
    pub(super) fn store(&self, config: &Config, server: &str) -> Result<(), IdentityError> {
        let (state, keys) = (&config.state, config.keys());
        let new = config.state.join(NEW);
        private_folder(state, true).map_err(failed(state))?;
        private_folder(&new, true).map_err(failed(&new))?;
        for (name, text) in self.files(server)? {
            // The keys stay as they were asked with: until the rest is there a retry needs them.
            if read(&new, name).is_ok_and(|there| there == text) {
                continue;
            }
            let path = new.join(name);
            remove_file(&path).and_then(|()| write(&path, &text)).map_err(failed(&path))?;
        }
        sync_folder(&new).map_err(failed(&new))?;
        let flags = if keys.exists() { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
        rustix::fs::renameat_with(CWD, &new, CWD, &keys, flags).map_err(|e| failed(&keys)(e.into()))?;
        sync_folder(state).map_err(failed(state))?;
        // Only now: until the keys are in place a retry needs to know them by their token.
        remove_file(&keys.join(TOKEN)).map_err(failed(&keys))?;
        remove_folder(&new).map_err(failed(&new))
    }

    fn files(&self, server: &str) -> Result<[(&'static str, Zeroizing<String>); 6], IdentityError> {
        let broken = |name: &str| IdentityError::Broken { path: name.into(), why: "it does not encode" };
        let start = self.start_key.to_pkcs8_pem(LineEnding::LF).map_err(|_| broken("start.key"))?;
        let file =
            HostFile { host: self.host.to_string(), group: self.group.clone(), server: server.to_owned() };
        let json = serde_json::to_string_pretty(&file).map_err(|_| broken("host.json"))?;
        Ok([
            ("start.key", start),
            ("tls.key", self.tls.key.clone()),
            ("tls.crt", self.tls.certificate.clone().into()),
            ("ca.crt", self.tls.ca.clone().into()),
            ("log.pub", (hex::encode(self.log_key) + "\n").into()),
            ("host.json", (json + "\n").into()),
        ])
    }
}

/// Keeps the keys that the server is about to be asked with. Durable when it returns.
pub(super) fn ask_with(
    config: &Config,
    token_hash: &str,
    start_key: &SigningKey,
    tls_key: &Zeroizing<String>,
) -> Result<(), IdentityError> {
    let (state, new) = (&config.state, config.state.join(NEW));
    let start = start_key
        .to_pkcs8_pem(LineEnding::LF)
        .map_err(|_| IdentityError::Broken { path: "start.key".into(), why: "it does not encode" })?;
    private_folder(state, true).map_err(failed(state))?;
    remove_folder(&new).map_err(failed(&new))?;
    private_folder(&new, false).map_err(failed(&new))?;
    for (name, text) in [("start.key", start.as_str()), ("tls.key", tls_key.as_str()), (TOKEN, token_hash)] {
        let path = new.join(name);
        write(&path, text).map_err(failed(&path))?;
    }
    sync_folder(&new).map_err(failed(&new))?;
    sync_folder(state).map_err(failed(state))
}

/// The keys that this token was asked with before, if they are whole.
pub(super) fn asked(config: &Config, token_hash: &str) -> Option<(SigningKey, Zeroizing<String>)> {
    let new = config.state.join(NEW);
    let same = read(&new, TOKEN).is_ok_and(|there| *there == token_hash);
    let start = SigningKey::from_pkcs8_pem(&read(&new, "start.key").ok().filter(|_| same)?).ok()?;
    Some((start, read(&new, "tls.key").ok()?))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> IdentityError + use<> {
    let path = path.to_owned();
    move |source| IdentityError::Write { path, source }
}

fn remove_file(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn read(keys: &Path, name: &str) -> Result<Zeroizing<String>, IdentityError> {
    let path = keys.join(name);
    let failed = |source| IdentityError::Read { path: path.clone(), source };
    let file = File::open(&path).map_err(failed)?;
    if file.metadata().map_err(failed)?.mode() & 0o077 != 0 {
        return Err(IdentityError::Open { path });
    }
    let mut text = Zeroizing::new(String::new());
    io::Read::read_to_string(&mut io::Read::take(file, MAX_FILE), &mut text).map_err(failed)?;
    Ok(text)
}

fn private_folder(path: &Path, parents: bool) -> io::Result<()> {
    DirBuilder::new().mode(0o700).recursive(parents).create(path)
}

fn remove_folder(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn config(state: &Path) -> Config {
        let text = format!("state = {state:?}\n[central]\nservers = [\"https://a:1\"]\n");
        Config::parse(&text, Path::new("agent.toml")).unwrap()
    }

    fn identity(seed: u8) -> Identity {
        let start_key = SigningKey::from_bytes(&[seed; 32]);
        let tls = Tls { certificate: "c".into(), key: "k".to_owned().into(), ca: "a".into() };
        let host = HostId::of_key(&start_key.verifying_key().to_bytes());
        Identity { host, start_key, tls, log_key: [seed; 32], group: "g".into() }
    }

    #[test]
    fn an_identity_survives_the_disk_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(&dir.path().join("state"));
        assert!(matches!(Identity::load(&config), Err(IdentityError::NotEnrolled { .. })));
        identity(1).store(&config, "https://a:1").unwrap();
        let loaded = Identity::load(&config).unwrap();
        assert_eq!((loaded.host, loaded.log_key, loaded.group.as_str()), (identity(1).host, [1; 32], "g"));
        assert_eq!(Identity::enrolled(&config), Some(loaded.host.to_string()));
        assert_eq!(config.state.metadata().unwrap().mode() & 0o777, 0o700);
        for entry in config.keys().read_dir().unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn keys_that_cannot_be_looked_at_are_not_called_missing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("keys"), "no folder").unwrap();
        let error = Identity::load(&config(dir.path())).err().unwrap();
        assert!(matches!(error, IdentityError::Read { .. }), "{error}");
    }

    #[test]
    fn a_new_identity_takes_the_place_of_the_old_one_whole() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        std::fs::create_dir(dir.path().join("keys.new")).unwrap();
        std::fs::write(dir.path().join("keys.new/start.key"), "left by a crash").unwrap();
        identity(1).store(&config, "https://a:1").unwrap();
        identity(2).store(&config, "https://a:1").unwrap();
        assert_eq!(Identity::load(&config).unwrap().host, identity(2).host);
        assert!(!dir.path().join("keys.new").exists());
    }

    #[test]
    fn a_key_that_others_can_read_and_one_that_is_damaged_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        identity(1).store(&config, "https://a:1").unwrap();
        let key = config.keys().join("start.key");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = Identity::load(&config).err().unwrap().to_string();
        assert!(error.contains("start.key") && error.contains("chmod 600"), "{error}");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&key, "x").unwrap();
        let error = Identity::load(&config).err().unwrap().to_string();
        assert!(error.contains("start.key") && error.contains("--force"), "{error}");
    }
}
