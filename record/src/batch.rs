//! The public part of a frame: protobuf, then zstd.

use std::io::Read;

use prost::Message;

use crate::v1::Batch;

/// Most records in one frame: 100, so that a frame is small enough to be lost, sent again and verified cheaply.
pub const MAX_RECORDS: usize = 100;
/// Most bytes of a decoded part: a frame of 100 records with 4 KiB paths and full ancestor chains fits.
pub const MAX_DECODED: usize = 4 << 20;
/// zstd level 3: measured at 52 bytes a record in frames of 100.
const LEVEL: i32 = 3;

/// The bytes are not a batch.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// More records or bytes than a frame may hold.
    #[error(
        "a batch of {records} records, {bytes} bytes is more than a frame holds ({MAX_RECORDS}, {MAX_DECODED})"
    )]
    TooLarge {
        /// Records in it.
        records: usize,
        /// Bytes before compression.
        bytes: usize,
    },
    /// Not zstd, or cut.
    #[error("the compressed part does not decode")]
    Compressed(#[source] std::io::Error),
    /// Not the schema's protobuf.
    #[error("the part is not of the schema")]
    Schema(#[source] prost::DecodeError),
}

/// Compresses any message, within the bound.
pub(crate) fn pack(message: &impl Message, records: usize) -> Result<Vec<u8>, BatchError> {
    let bytes = message.encoded_len();
    if bytes > MAX_DECODED || records > MAX_RECORDS {
        return Err(BatchError::TooLarge { records, bytes });
    }
    zstd::bulk::compress(&message.encode_to_vec(), LEVEL).map_err(BatchError::Compressed)
}

/// Reads a message back, never allocating more than the bound whatever the bytes claim.
pub(crate) fn unpack<M: Message + Default>(bytes: &[u8]) -> Result<M, BatchError> {
    let decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(BatchError::Compressed)?;
    let mut plain = Vec::new();
    let limit = MAX_DECODED as u64 + 1;
    decoder.take(limit).read_to_end(&mut plain).map_err(BatchError::Compressed)?;
    if plain.len() > MAX_DECODED {
        return Err(BatchError::TooLarge { records: 0, bytes: plain.len() });
    }
    M::decode(plain.as_slice()).map_err(BatchError::Schema)
}

/// Reads the public part of a frame.
pub fn decode(public: &[u8]) -> Result<Batch, BatchError> {
    let batch: Batch = unpack(public)?;
    if batch.records.len() > MAX_RECORDS {
        return Err(BatchError::TooLarge { records: batch.records.len(), bytes: 0 });
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    #[test]
    fn a_bomb_is_refused_without_being_unpacked() {
        let bomb = zstd::bulk::compress(&vec![0_u8; 64 << 20], 1).unwrap();
        assert!(bomb.len() < 64 << 10);
        assert!(matches!(decode(&bomb), Err(BatchError::TooLarge { .. })));
    }

    proptest::proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(0_u8.., 0..400)) {
            drop(decode(&bytes));
        }
    }
}
