//! What many records say alike: who did something, and what the policy says of it. The records share one value, which is
//! encoded once.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};

use bytes::{Buf, BufMut};
use prost::encoding::{DecodeContext, WireType};
use prost::{DecodeError, Message};

pub use crate::schema::shared::{Subject, Verdict};

/// A message that records share. On the wire it is the message itself.
#[derive(Clone, Debug, Default)]
pub struct Shared<M>(Arc<Kept<M>>);

#[derive(Clone, Debug, Default)]
struct Kept<M> {
    message: M,
    /// Its bytes, once somebody has asked for them.
    encoded: OnceLock<Vec<u8>>,
}

impl<M: Message> Shared<M> {
    fn encoded(&self) -> &[u8] {
        self.0.encoded.get_or_init(|| self.0.message.encode_to_vec())
    }
}

impl<M> Shared<M> {
    /// Is it one value, and not only an equal one?
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<M> From<M> for Shared<M> {
    fn from(message: M) -> Self {
        Self(Arc::new(Kept { message, encoded: OnceLock::new() }))
    }
}

impl<M> Deref for Shared<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.0.message
    }
}

/// Whoever changes it has it alone from then on.
impl<M: Clone> DerefMut for Shared<M> {
    fn deref_mut(&mut self) -> &mut M {
        let kept = Arc::make_mut(&mut self.0);
        kept.encoded = OnceLock::new();
        &mut kept.message
    }
}

impl<M: PartialEq> PartialEq for Shared<M> {
    fn eq(&self, other: &Self) -> bool {
        self.is(other) || **self == **other
    }
}

impl<M: Message + Clone + Default> Message for Shared<M> {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        buf.put_slice(self.encoded());
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        (**self).merge_field(tag, wire_type, buf, ctx)
    }

    fn encoded_len(&self) -> usize {
        self.encoded().len()
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;
    use crate::v1::{Process, Record};

    fn subject() -> Subject {
        let process = Process { comm: b"sh"[..].into(), ..Process::default() };
        Subject { process: Some(process.clone()), ancestors: vec![process], uid: 7, ..Subject::default() }
    }

    #[test]
    fn on_the_wire_it_is_the_subject_itself() {
        let shared = Shared::from(subject());
        assert_eq!(shared.encode_to_vec(), subject().encode_to_vec());
        assert_eq!(shared.encoded_len(), subject().encoded_len());
        assert_eq!(*Shared::<Subject>::decode(subject().encode_to_vec().as_slice()).unwrap(), subject());
        let record = Record { subject: Some(shared), ..Record::default() };
        assert_eq!(Record::decode(record.encode_to_vec().as_slice()).unwrap(), record);
    }

    #[test]
    fn a_change_shows_in_the_bytes_and_in_no_other_record() {
        let first = Shared::from(subject());
        let before = first.encode_to_vec();
        let mut second = first.clone();
        assert!(second.is(&first));
        second.uid = 8;
        assert!(!second.is(&first) && second != first);
        assert_eq!(first.encode_to_vec(), before);
        assert_eq!(second.encode_to_vec(), Subject { uid: 8, ..subject() }.encode_to_vec());
    }
}
