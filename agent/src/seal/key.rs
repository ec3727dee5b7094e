//! The key that signs a run's frames.

use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

use super::SealError;
use crate::sys;

/// An Ed25519 key that exists for one epoch, in this process's memory only; wiped when dropped.
pub struct EpochKey {
    /// Boxed: its place must not move after it was locked.
    key: Box<SigningKey>,
}

impl EpochKey {
    /// Draws a fresh one and keeps it out of swap. Where locking is refused it serves all the same: the
    /// host's own memory limits are no reason to go unlogged.
    pub fn generate() -> Result<Self, SealError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(SealError::Entropy)?;
        let key = Box::new(SigningKey::from_bytes(&seed));
        if let Err(error) = sys::lock_memory(&*key) {
            tracing::warn!(%error, "the epoch key cannot be kept out of swap; raise LimitMEMLOCK of the agent's unit");
        }
        Ok(Self { key })
    }

    pub(super) fn signing(&self) -> &SigningKey {
        &self.key
    }

    /// What verifies the frames.
    pub fn public(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    #[test]
    fn no_two_keys_are_equal() {
        assert_ne!(EpochKey::generate().unwrap().public(), EpochKey::generate().unwrap().public());
    }
}
