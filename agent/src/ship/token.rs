//! The one-time token: `gvn1.<secret>.<hex SHA-256 of the central log's CA certificate>`.

/// Most bytes of a token: a real one has about 120.
const MAX_TOKEN: usize = 256;

/// What the agent reads in a token; the secret is the central log's to judge.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// All of it, as it is sent.
    pub(super) text: String,
    /// SHA-256 of the only CA that the server may be of.
    pub(super) ca: [u8; 32],
}

/// Cut or mistyped.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a whole token: paste all that `graven enrol` printed, as gvn1.SECRET.FINGERPRINT")]
pub struct TokenError;

impl Token {
    pub(super) fn read(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let parts: Vec<&str> = text.split('.').collect();
        let ["gvn1", secret, fingerprint] = parts.as_slice() else { return Err(TokenError) };
        if secret.is_empty() || text.len() > MAX_TOKEN {
            return Err(TokenError);
        }
        let mut ca = [0; 32];
        hex::decode_to_slice(fingerprint, &mut ca).map_err(|_| TokenError)?;
        Ok(Self { text: text.to_owned(), ca })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_token_reads_and_a_cut_one_does_not() {
        let text = format!("gvn1.c2VjcmV0.{}", "ab".repeat(32));
        assert!(Token::read(&format!(" {text}\n")).is_ok_and(|t| t.ca == [0xab; 32] && t.text == text));
        for bad in [&text[..text.len() - 1], &text[5..], "gvn1..ab", "", "gvn2.a.b"] {
            assert!(Token::read(bad).is_err());
        }
    }

    proptest::proptest! {
        #[test]
        fn hostile_text_never_panics(text in ".{0,300}") {
            let _ = Token::read(&text);
        }
    }
}
