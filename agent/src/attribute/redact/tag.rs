//! HMAC-SHA256 (RFC 2104) with a key that never leaves the host: equal secrets show equal tags, and a tag
//! cannot be tried against a list of passwords elsewhere.

use sha2::{Digest, Sha256};

/// Block of SHA-256.
const BLOCK: usize = 64;
/// Bytes of the tag that are shown: enough to tell the secrets of one host apart, too few to confirm one.
const SHOWN: usize = 4;

/// The key, drawn when the agent starts.
#[derive(Clone)]
pub(crate) struct TagKey(pub(crate) [u8; 32]);

impl std::fmt::Debug for TagKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TagKey(..)")
    }
}

impl TagKey {
    /// Eight hex digits that stand for a value.
    pub(super) fn tag(&self, value: &[u8]) -> String {
        hex::encode(&hmac(&self.0, value)[..SHOWN])
    }
}

fn hmac(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let padded = |pad: u8| {
        let mut block = [pad; BLOCK];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_hmac_sha256() {
        // RFC 4231, cases 1 and 2; their shorter keys are padded with zeros to the block, so also to 32 bytes.
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        assert_eq!(
            hex::encode(hmac(&key, b"Hi There")),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        assert_eq!(
            hex::encode(hmac(&key, b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
