//! The public part of a frame: protobuf, then zstd.

use std::cell::RefCell;
use std::io::Read;

use prost::Message;

use crate::shape::{self, MAX_ALIASES, MAX_ANCESTORS, Shape};
use crate::v1::record::Event;
use crate::v1::{Batch, File, PrivateEntry, PrivatePart, Record};

/// Most records in one frame: 100, so that a frame is small enough to be lost, sent again and verified cheaply.
pub const MAX_RECORDS: usize = 100;
/// Most bytes of a decoded part: a frame of 100 records with 4 KiB paths and full ancestor chains fits.
pub const MAX_DECODED: usize = 4 << 20;
/// zstd level 1: in parts as short as these level 3 takes three times as long to leave out a byte more of each record.
const LEVEL: i32 = 1;
/// Largest window that a part may ask the decoder to hold, as a power of two: [`MAX_DECODED`], as no part is longer.
const WINDOW_LOG: u32 = 22;
const _: () = assert!(1 << WINDOW_LOG == MAX_DECODED);

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
    /// Not protobuf.
    #[error("the part is not protobuf, or is cut")]
    Wire,
    /// More of something than a frame holds.
    #[error("the part holds more than {most} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many a frame may hold.
        most: usize,
    },
}

/// Compresses the public part, within the bounds.
pub(crate) fn pack(batch: &Batch) -> Result<Vec<u8>, BatchError> {
    let doubted = (!batch.records.iter().all(is_ordinary)).then_some(&shape::BATCH);
    compress(batch, batch.records.len(), doubted)
}

/// Compresses the private part, within the bounds.
pub(crate) fn pack_private(entries: &[PrivateEntry]) -> Result<Vec<u8>, BatchError> {
    let doubted = (entries.len() > MAX_RECORDS).then_some(&shape::PRIVATE);
    compress(&PrivatePart { entries: entries.to_vec() }, 0, doubted)
}

/// A record of a kind that is known here, of which a whole frame holds no more of anything than it may. It costs a
/// tenth of what looking at the bytes does; what is not known here is in doubt.
fn is_ordinary(record: &Record) -> bool {
    let ancestors = record.subject.as_ref().map_or(0, |subject| subject.ancestors.len());
    let of = |file: &Option<File>| file.as_ref().map_or(0, |file| file.aliases.len());
    let aliases = match &record.event {
        Some(Event::Open(event)) => of(&event.file),
        Some(Event::Modify(event)) => of(&event.file),
        Some(Event::Create(event)) => of(&event.file) + of(&event.from),
        Some(Event::Unlink(event)) => of(&event.file),
        Some(Event::Rename(event)) => of(&event.from) + of(&event.to) + of(&event.replaced),
        Some(Event::Attr(event)) => of(&event.file),
        Some(Event::Exec(event)) => of(&event.file),
        Some(Event::Exit(_)) => 0,
        _ => return false,
    };
    ancestors <= MAX_ANCESTORS && aliases <= MAX_ALIASES
}

/// What the reader would refuse is not written; `doubted` is looked at as the reader will.
fn compress(message: &impl Message, records: usize, doubted: Option<&Shape>) -> Result<Vec<u8>, BatchError> {
    KEPT.with_borrow_mut(|(compressor, plain)| {
        let compressor = match compressor {
            Some(compressor) => compressor,
            None => compressor.insert(zstd::bulk::Compressor::new(LEVEL).map_err(BatchError::Compressed)?),
        };
        plain.clear();
        message.encode_raw(plain);
        let bytes = plain.len();
        let packed = if bytes > MAX_DECODED || records > MAX_RECORDS {
            Err(BatchError::TooLarge { records, bytes })
        } else {
            let sound = doubted.map_or(Ok(()), |shape| shape.check(plain));
            sound.and_then(|()| compressor.compress(plain).map_err(BatchError::Compressed))
        };
        if bytes > MAX_KEPT {
            *plain = Vec::new();
        }
        packed
    })
}

/// Largest part whose buffer, which may have twice the room, is kept for the next frame: a hundred records of an ordinary kind.
const MAX_KEPT: usize = 256 << 10;

/// What the frame before was made with.
type Kept = (Option<zstd::bulk::Compressor<'static>>, Vec<u8>);

thread_local! {
    /// The compressor's tables take longer to make than a frame takes to compress, and a buffer of this size given back
    /// each time makes the allocator tidy up each time.
    static KEPT: RefCell<Kept> = const { RefCell::new((None, Vec::new())) };
}

/// Reads the public part of a frame.
pub fn decode(public: &[u8]) -> Result<Batch, BatchError> {
    unpack(public, &shape::BATCH)
}

/// Reads the private part of a frame.
pub(crate) fn decode_private(private: &[u8]) -> Result<Vec<PrivateEntry>, BatchError> {
    unpack::<PrivatePart>(private, &shape::PRIVATE).map(|part| part.entries)
}

/// Reads a part back. What it claims to need, for the decoder's window, its length and its messages, is
/// checked before it is allocated.
fn unpack<M: Message + Default>(bytes: &[u8], shape: &Shape) -> Result<M, BatchError> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(BatchError::Compressed)?;
    decoder.window_log_max(WINDOW_LOG).map_err(BatchError::Compressed)?;
    let mut plain = Vec::new();
    let limit = MAX_DECODED as u64 + 1;
    decoder.take(limit).read_to_end(&mut plain).map_err(BatchError::Compressed)?;
    if plain.len() > MAX_DECODED {
        return Err(BatchError::TooLarge { records: 0, bytes: plain.len() });
    }
    shape.check(&plain)?;
    M::decode(plain.as_slice()).map_err(BatchError::Schema)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use std::io::Write;

    use super::*;
    use crate::v1::{
        Attr, Create, Exec, Hook, Modify, Mount, Open, Process, Rename, Start, Stop, Subject, Unlink,
    };

    #[test]
    fn a_bomb_is_refused_without_being_unpacked() {
        let bomb = zstd::bulk::compress(&vec![0_u8; 64 << 20], 1).unwrap();
        assert!(bomb.len() < 64 << 10);
        assert!(matches!(decode(&bomb), Err(BatchError::TooLarge { .. })));
    }

    /// Too much of something in the records of one batch, by name: of each kind that can have it.
    fn too_much() -> Vec<(&'static str, Batch)> {
        let of = |subject, event| Record { subject, event, ..Record::default() };
        let batch = |record: Record, times| Batch { context: None, records: vec![record; times] };
        let ancestors = vec![Process::default(); MAX_ANCESTORS * MAX_RECORDS + 1];
        let file = Some(File { aliases: vec![Vec::new(); MAX_ALIASES + 1], ..File::default() });
        let started = Start { hooks: vec![Hook::default(); 1_025], ..Start::default() };
        let events = [
            Event::Open(Open { file: file.clone(), ..Open::default() }),
            Event::Modify(Modify { file: file.clone(), ..Modify::default() }),
            Event::Create(Create { file: file.clone(), ..Create::default() }),
            Event::Create(Create { from: file.clone(), ..Create::default() }),
            Event::Unlink(Unlink { file: file.clone(), ..Unlink::default() }),
            Event::Rename(Rename { from: file.clone(), ..Rename::default() }),
            Event::Rename(Rename { to: file.clone(), ..Rename::default() }),
            Event::Rename(Rename { replaced: file.clone(), ..Rename::default() }),
            Event::Attr(Attr { file: file.clone(), ..Attr::default() }),
            Event::Exec(Exec { file: file.clone(), ..Exec::default() }),
            Event::Mount(Mount { target: file, ..Mount::default() }),
        ];
        let of_files = events.into_iter().map(|event| ("aliases", batch(of(None, Some(event)), MAX_RECORDS)));
        let mut all: Vec<_> = of_files.collect();
        all.push(("ancestors", batch(of(Some(Subject { ancestors, ..Subject::default() }.into()), None), 1)));
        all.push(("hooks", batch(of(None, Some(Event::Start(started))), 1)));
        all
    }

    #[test]
    fn what_the_reader_would_refuse_is_not_written() {
        for (expected, batch) in too_much() {
            let refused = pack(&batch);
            assert!(
                matches!(refused, Err(BatchError::TooMany { what, .. }) if what == expected),
                "{expected}: {refused:?}"
            );
        }
        let entries = vec![PrivateEntry::default(); 33 * MAX_RECORDS + 1];
        assert!(matches!(pack_private(&entries), Err(BatchError::TooMany { .. })));
    }

    #[test]
    fn a_buffer_that_was_used_before_leaves_nothing_behind() {
        let long = Batch { context: None, records: vec![stop(&"x".repeat(1 << 20))] };
        let short = Batch { context: None, records: vec![stop("y")] };
        for batch in [&short, &long, &short] {
            assert_eq!(&decode(&pack(batch).unwrap()).unwrap(), batch);
        }
    }

    fn stop(reason: &str) -> Record {
        let stop = Stop { reason: reason.to_owned(), counters: None };
        Record { event: Some(Event::Stop(stop)), ..Record::default() }
    }

    #[test]
    fn a_part_that_asks_for_a_huge_window_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.write_all(&Batch::default().encode_to_vec()).unwrap();
        encoder.write_all(&[0x0a, 0]).unwrap();
        assert!(matches!(decode(&encoder.finish().unwrap()), Err(BatchError::Compressed(_))));
    }

    #[test]
    fn a_part_at_the_bound_is_written_and_read() {
        let record = Record {
            event: Some(Event::Stop(Stop { reason: noise(), counters: None })),
            ..Record::default()
        };
        let mut batch = Batch { context: None, records: vec![record] };
        assert_eq!(decode(&pack(&batch).unwrap()).unwrap(), batch);
        batch.records.push(batch.records[0].clone());
        assert!(matches!(pack(&batch), Err(BatchError::TooLarge { records: 2, .. })));
    }

    /// Letters that do not compress well, as many as fit into a batch.
    fn noise() -> String {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'!' + u8::try_from(state >> 24).unwrap() % 90)
        };
        (0..MAX_DECODED - 64).map(|_| next()).collect()
    }

    proptest::proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(0_u8.., 0..400)) {
            drop(decode(&bytes));
        }
    }
}
