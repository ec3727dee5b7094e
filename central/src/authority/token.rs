//! The one-time token: `gvn1.<base64url of 32 random bytes>.<hex SHA-256 of the CA's certificate>`.
//!
//! The secret opens the door once; the fingerprint lets the host check the server before it has a
//! certificate of its own. The log keeps only the secret's hash.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::{AuthorityError, random};

/// Names the format and lets a scanner of repositories find a token that was committed.
const PREFIX: &str = "gvn1";
const SECRET_LEN: usize = 32;
/// Longest text looked at: a token is 112 characters.
const MAX_TEXT: usize = 256;

/// What is stored of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenHash(pub [u8; 32]);

/// The text is no token of this log.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenTextError {
    /// Cut or mistyped.
    #[error("this is not a whole token: paste all that `graven enrol` printed")]
    Shape,
    /// Of another central log.
    #[error("this token is of another central log: make one with `graven enrol` on this one")]
    OtherLog,
}

/// A new token: the text to print and what to store.
pub fn make(ca_fingerprint: &[u8; 32]) -> Result<(String, TokenHash), AuthorityError> {
    let secret: [u8; SECRET_LEN] = random()?;
    let text = format!("{PREFIX}.{}.{}", URL_SAFE_NO_PAD.encode(secret), hex::encode(ca_fingerprint));
    Ok((text, hash(&secret)))
}

/// Reads a token as it was pasted: whole, or the secret alone.
pub fn read(text: &str, ca_fingerprint: &[u8; 32]) -> Result<TokenHash, TokenTextError> {
    let text = text.trim();
    if text.len() > MAX_TEXT {
        return Err(TokenTextError::Shape);
    }
    let parts: Vec<&str> = text.split('.').collect();
    let secret = match parts.as_slice() {
        [PREFIX, secret, fingerprint] => {
            let named: [u8; 32] =
                hex::decode(fingerprint).ok().and_then(|b| b.try_into().ok()).ok_or(TokenTextError::Shape)?;
            if named != *ca_fingerprint {
                return Err(TokenTextError::OtherLog);
            }
            secret
        }
        [secret] => secret,
        _ => return Err(TokenTextError::Shape),
    };
    let secret = URL_SAFE_NO_PAD.decode(secret).map_err(|_| TokenTextError::Shape)?;
    let secret: [u8; SECRET_LEN] = secret.try_into().map_err(|_| TokenTextError::Shape)?;
    Ok(hash(&secret))
}

/// A look-up by this hash leaks no prefix of the secret through its timing.
fn hash(secret: &[u8; SECRET_LEN]) -> TokenHash {
    TokenHash(Sha256::digest(secret).into())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    #[test]
    fn a_token_reads_whole_and_as_its_secret() {
        let (text, stored) = make(&[3; 32]).unwrap();
        assert_eq!(read(&text, &[3; 32]), Ok(stored));
        assert_eq!(read(&format!(" {text}\n"), &[3; 32]), Ok(stored));
        let secret = text.split('.').nth(1).unwrap();
        assert_eq!(read(secret, &[3; 32]), Ok(stored));
    }

    #[test]
    fn a_cut_token_and_one_of_another_log_are_told_apart() {
        let (text, _) = make(&[3; 32]).unwrap();
        assert_eq!(read(&text, &[4; 32]), Err(TokenTextError::OtherLog));
        assert_eq!(read(&text[..text.len() - 1], &[3; 32]), Err(TokenTextError::Shape));
        assert_eq!(read(&text[..30], &[3; 32]), Err(TokenTextError::Shape));
    }

    proptest::proptest! {
        #[test]
        fn hostile_text_never_panics(text in ".{0,300}") {
            drop(read(&text, &[0; 32]));
        }
    }
}
