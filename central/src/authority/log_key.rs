//! The log key: Ed25519, made on the first start, told to every host at its enrolment.

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey};

use super::{AuthorityError, random};
use crate::data::{self, DataDir};

/// Reads the key, or makes it.
pub fn open_or_make(dir: &DataDir) -> Result<SigningKey, AuthorityError> {
    let file = dir.log_key_file();
    let wrong = || AuthorityError::File { path: file.clone(), expected: "an Ed25519 key (PKCS#8, PEM)" };
    if let Some(pem) = data::read_optional(&file)? {
        return SigningKey::from_pkcs8_pem(&pem).map_err(|_| wrong());
    }
    let key = SigningKey::from_bytes(&random()?);
    let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|_| wrong())?;
    data::write_whole(&file, pem.as_bytes())?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    #[test]
    fn the_log_key_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(dir.path()).unwrap();
        assert_eq!(open_or_make(&data).unwrap().to_bytes(), open_or_make(&data).unwrap().to_bytes());
        std::fs::write(data.log_key_file(), "x").unwrap();
        assert!(open_or_make(&data).is_err());
    }
}
