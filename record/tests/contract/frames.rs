//! A frame: what is sealed comes back, and nothing else passes for it.

use graven_record::epoch;
use graven_record::frame::{Draft, Frame, FrameError, HEADER_LEN, MAX_FRAME, PREFIX_LEN};
use graven_record::id::Lane;
use graven_record::v1;
use proptest::prelude::*;

use crate::{arbitrary, fixed};

/// Is it exactly the frame that was sealed, as far as a verifier can tell?
fn holds(bytes: &[u8]) -> Result<(), FrameError> {
    let frame = Frame::parse(bytes)?;
    frame.verify(&fixed::epoch_key().verifying_key())?;
    frame.batch()?;
    frame.private()?;
    Ok(())
}

/// A small frame, so that every bit of it can be tried.
fn small() -> Frame {
    let record = v1::Record { sequence: 1, ..v1::Record::default() };
    let batch = v1::Batch { context: None, records: vec![record] };
    let private = [v1::PrivateEntry { salt: vec![9; 16], value: b"ls\0-l".into() }];
    Frame::seal(&fixed::draft(Lane::Activity), &batch, &private, &fixed::epoch_key()).unwrap()
}

fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = crc32c::crc32c(&bytes[PREFIX_LEN..]).to_le_bytes();
    bytes[4..8].copy_from_slice(&checksum);
    bytes
}

/// Each bit of a frame flipped, one at a time, with its number.
fn flipped(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> + '_ {
    (0..bytes.len() * 8).map(|bit| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        (bit, bytes)
    })
}

#[test]
fn what_is_sealed_comes_back() {
    for lane in Lane::ALL {
        let sealed = fixed::frame(lane);
        let read = Frame::parse(sealed.bytes()).unwrap();
        assert_eq!(read.bytes(), sealed.bytes());
        assert_eq!(read.header(), sealed.header());
        assert_eq!((read.header().lane, read.header().first, read.header().last), (lane, 1, 15));
        assert_eq!(read.batch().unwrap(), fixed::batch());
        assert_eq!(read.private().unwrap(), fixed::private());
        read.verify(&fixed::epoch_key().verifying_key()).unwrap();
        assert!(matches!(read.verify(&fixed::start_key().verifying_key()), Err(FrameError::Signature)));
    }
}

#[test]
fn bytes_behind_a_frame_are_not_of_it() {
    let frame = small();
    let bytes = [frame.bytes(), b"more"].concat();
    assert_eq!(Frame::parse(&bytes).unwrap().bytes(), frame.bytes());
}

#[test]
fn every_flipped_bit_is_noticed() {
    for (bit, bytes) in flipped(small().bytes()) {
        assert!(Frame::parse(&bytes).is_err(), "bit {bit}");
    }
}

/// Another bit in each byte: a signature's check takes its time.
fn a_bit_of_each_byte(bit: usize) -> bool {
    bit % 8 == bit / 8 % 8
}

/// In the private part zstd has bits without a meaning: there alone, and only when the entries stay the same,
/// a frame still holds, for it is the entries that are signed.
#[test]
fn every_flipped_byte_that_means_something_is_noticed_also_under_a_new_checksum() {
    let sealed = small();
    let private_at = PREFIX_LEN + HEADER_LEN + 4 + sealed.public().len() + 4;
    let mut without_meaning = 0;
    for (bit, bytes) in
        flipped(sealed.bytes()).filter(|(bit, _)| *bit >= PREFIX_LEN * 8 && a_bit_of_each_byte(*bit))
    {
        let bytes = with_checksum(bytes);
        if holds(&bytes).is_ok() {
            assert!((private_at..sealed.bytes().len() - 64).contains(&(bit / 8)), "bit {bit}");
            let frame = Frame::parse(&bytes).unwrap();
            assert_eq!(frame.private().unwrap(), sealed.private().unwrap(), "bit {bit}");
            without_meaning += 1;
        }
    }
    assert!(without_meaning < 8, "{without_meaning}");
}

#[test]
fn every_cut_is_noticed_and_said_to_be_one() {
    let bytes = small().bytes().to_vec();
    for len in 0..bytes.len() {
        assert!(
            matches!(Frame::parse(&bytes[..len]), Err(FrameError::Cut { have, .. }) if have == len),
            "{len}"
        );
    }
}

#[test]
fn a_frame_cut_and_mended_does_not_hold() {
    let bytes = small().bytes().to_vec();
    for len in PREFIX_LEN..bytes.len() {
        let mut cut = bytes[..len].to_vec();
        cut[..4].copy_from_slice(&u32::try_from(len - PREFIX_LEN).unwrap().to_le_bytes());
        assert!(holds(&with_checksum(cut)).is_err(), "{len}");
    }
}

#[test]
fn lengths_that_lie_are_refused_before_anything_is_allocated() {
    for len in [0, 1, u32::try_from(HEADER_LEN).unwrap(), u32::try_from(MAX_FRAME).unwrap(), u32::MAX] {
        let bytes = [&len.to_le_bytes()[..], &[0; 400]].concat();
        assert!(matches!(Frame::parse(&bytes), Err(FrameError::Length(_))), "{len}");
    }
    for at in [PREFIX_LEN + HEADER_LEN, PREFIX_LEN + HEADER_LEN + 4 + small().public().len()] {
        for len in [0_u32, 1, 1000, u32::MAX] {
            let mut bytes = small().bytes().to_vec();
            bytes[at..at + 4].copy_from_slice(&len.to_le_bytes());
            assert!(Frame::parse(&with_checksum(bytes)).is_err(), "{at} {len}");
        }
    }
}

#[test]
fn a_newer_format_says_so() {
    let mut bytes = small().bytes().to_vec();
    bytes[PREFIX_LEN + 4] = 2;
    assert!(matches!(Frame::parse(&with_checksum(bytes)), Err(FrameError::Format(2))));
}

#[test]
fn a_part_of_another_frame_does_not_pass() {
    let other = v1::PrivateEntry { salt: vec![8; 16], value: b"rm\0-r".into() };
    let record = v1::Record { sequence: 1, ..v1::Record::default() };
    let batch = v1::Batch { context: None, records: vec![record] };
    let mine = small();
    let theirs = Frame::seal(&fixed::draft(Lane::Activity), &batch, &[other], &fixed::epoch_key()).unwrap();
    assert_eq!(mine.bytes().len(), theirs.bytes().len());
    let private_at = PREFIX_LEN + HEADER_LEN + 4 + mine.public().len();
    let end = mine.bytes().len() - 64;
    let mut bytes = mine.bytes().to_vec();
    bytes[private_at..end].copy_from_slice(&theirs.bytes()[private_at..end]);
    let spliced = Frame::parse(&with_checksum(bytes)).unwrap();
    spliced.verify(&fixed::epoch_key().verifying_key()).unwrap();
    assert!(matches!(spliced.private(), Err(FrameError::Private)));
}

#[test]
fn erasing_the_private_part_keeps_hash_and_signature() {
    let frame = fixed::frame(Lane::Protected);
    let erased = frame.without_private();
    assert_eq!(erased.header().hash(), frame.header().hash());
    assert_eq!(erased.public(), frame.public());
    assert_eq!(erased.private().unwrap(), []);
    assert!(erased.bytes().len() < frame.bytes().len());
    let read = Frame::parse(erased.bytes()).unwrap();
    read.verify(&fixed::epoch_key().verifying_key()).unwrap();
    assert_eq!(read.batch().unwrap(), fixed::batch());
    assert_eq!(erased.without_private().bytes(), erased.bytes());
    let words: [&[u8]; 2] = [b"nginx.conf\0", b"./kd\0-d"];
    for word in words {
        assert!(!erased.bytes().windows(word.len()).any(|window| window == word));
    }
}

#[test]
fn what_cannot_be_read_back_is_not_sealed() {
    let seal = |numbers: &[u64], private: &[v1::PrivateEntry]| {
        let records = numbers.iter().map(|n| v1::Record { sequence: *n, ..v1::Record::default() }).collect();
        let batch = v1::Batch { context: None, records };
        Frame::seal(&fixed::draft(Lane::Activity), &batch, private, &fixed::epoch_key())
    };
    for numbers in [&[][..], &[0], &[1, 3], &[2, 1], &[u64::MAX, 0]] {
        assert!(matches!(seal(numbers, &[]), Err(FrameError::Field("sequence"))), "{numbers:?}");
    }
    assert!(seal(&[u64::MAX], &[]).is_ok());
    assert!(matches!(seal(&(1..=101).collect::<Vec<_>>(), &[]), Err(FrameError::Part(_))));
    let unsalted = v1::PrivateEntry { salt: Vec::new(), value: b"secret".into() };
    assert!(matches!(seal(&[1], &[unsalted]), Err(FrameError::Field("salt"))));
    let crowd = vec![v1::PrivateEntry { salt: vec![0; 16], value: Vec::new() }; 5000];
    assert!(matches!(seal(&[1], &crowd), Err(FrameError::Part(_))));
}

#[test]
fn a_statement_of_one_kind_does_not_pass_for_another() {
    let key = fixed::start_key();
    let start = epoch::certify(&v1::EpochStatement::default(), &key);
    let beat = graven_record::wire::Heartbeat {
        statement: start.statement.clone(),
        signature: start.signature.clone(),
    };
    assert!(epoch::verify_head(&beat, &key.verifying_key()).is_err());
    // The statement names no key.
    assert!(epoch::verify_start(&start, &key.verifying_key()).is_err());
    assert!(epoch::verify_start(&start, &fixed::epoch_key().verifying_key()).is_err());
}

#[test]
fn the_fixed_start_is_certified_by_the_start_key_alone() {
    let Some(v1::record::Event::EpochStart(start)) = fixed::record("epoch_start").event else {
        unreachable!()
    };
    let (statement, key) = epoch::verify_start(&start, &fixed::start_key().verifying_key()).unwrap();
    assert_eq!((statement.host, key), (fixed::host().0.to_vec(), fixed::epoch_key().verifying_key()));
    for at in 0..start.statement.len() {
        let mut forged = start.clone();
        forged.statement[at] ^= 1;
        assert!(epoch::verify_start(&forged, &fixed::start_key().verifying_key()).is_err(), "{at}");
    }
}

#[test]
fn an_enrolment_is_of_its_token_and_request_alone() {
    let (key, other) = (fixed::start_key(), fixed::epoch_key());
    let signature = epoch::sign_enrolment("token", "request", &key);
    assert!(epoch::verify_enrolment("token", "request", &signature, &key.verifying_key()).is_ok());
    assert!(epoch::verify_enrolment("token", "other", &signature, &key.verifying_key()).is_err());
    assert!(epoch::verify_enrolment("token", "request", &signature, &other.verifying_key()).is_err());
    let moved = epoch::sign_enrolment("a", "b\nc", &key);
    assert!(epoch::verify_enrolment("a\nb", "c", &moved, &key.verifying_key()).is_err());
}

fn draft() -> impl Strategy<Value = Draft> {
    (any::<bool>(), any::<bool>(), any::<[u8; 32]>(), any::<u32>(), any::<[u64; 8]>(), any::<u64>()).prop_map(
        |(protected, starts_run, bytes, epoch, lost, sealed_at)| Draft {
            lane: if protected { Lane::Protected } else { Lane::Activity },
            starts_run,
            epoch,
            lost,
            previous: bytes,
            sealed_at,
            ..fixed::draft(Lane::Protected)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_records_come_back(
        mut records in prop::collection::vec(arbitrary::record(), 1..5), context in arbitrary::context(),
        first in 1_u64..=u64::MAX - 10, draft in draft(),
        values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..4)
    ) {
        for (record, n) in records.iter_mut().zip(first..) {
            record.sequence = n;
        }
        let batch = v1::Batch { context: Some(context), records };
        let private: Vec<_> = values.into_iter().map(|value| v1::PrivateEntry { salt: vec![1; 16], value }).collect();
        let frame = Frame::seal(&draft, &batch, &private, &fixed::epoch_key()).unwrap();
        let read = Frame::parse(frame.bytes()).unwrap();
        prop_assert_eq!(read.header(), frame.header());
        prop_assert_eq!(read.batch().unwrap(), batch);
        prop_assert_eq!(read.private().unwrap(), private);
        prop_assert!(read.verify(&fixed::epoch_key().verifying_key()).is_ok());
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), at in 0_usize..700) {
        drop(Frame::parse(&bytes));
        let mut spoiled = small().bytes().to_vec();
        let at = PREFIX_LEN + at % (spoiled.len() - PREFIX_LEN);
        let len = bytes.len().min(spoiled.len() - at);
        spoiled[at..at + len].copy_from_slice(&bytes[..len]);
        drop(holds(&with_checksum(spoiled)));
    }
}
