//! Every way in which a frame can be wrong, and generated runs of right ones.

use ed25519_dalek::{SigningKey, VerifyingKey};
use graven_record::frame::FrameError;
use graven_record::id::Lane;
use proptest::prelude::*;

use super::*;
use crate::fixture::Host;

struct View {
    start_key: VerifyingKey,
    head: LaneHead,
    epoch: Option<Epoch>,
    stored: Stored,
    gap_insisted: bool,
}

impl View {
    fn of(host: &Host) -> Self {
        Self {
            start_key: host.start_key.verifying_key(),
            head: LaneHead::NONE,
            epoch: None,
            stored: Stored::Nothing,
            gap_insisted: false,
        }
    }

    fn judge(&self, host: &Host, bytes: &[u8]) -> Verdict {
        let received = match Received::read(bytes, host.id()) {
            Ok(received) => received,
            Err(refusal) => return Verdict::Refuse(refusal),
        };
        let known = Known {
            start_key: &self.start_key,
            head: self.head,
            epoch: self.epoch.as_ref(),
            stored: self.stored,
            gap_insisted: self.gap_insisted,
        };
        verify(received, &known)
    }

    fn take(&mut self, host: &Host, frame: &Frame) -> Place {
        match self.judge(host, frame.bytes()) {
            Verdict::Take(verified) => {
                self.epoch = verified.learned.clone().or(self.epoch.take());
                self.head = LaneHead::of(frame.header());
                verified.place
            }
            other => unreachable!("{other:?}"),
        }
    }

    fn refusal(&self, host: &Host, bytes: &[u8]) -> Refusal {
        match self.judge(host, bytes) {
            Verdict::Refuse(refusal) => refusal,
            other => unreachable!("{other:?}"),
        }
    }
}

fn started() -> (Host, View) {
    let mut host = Host::new(1);
    let mut view = View::of(&host);
    let first = host.frame(Lane::Protected, 3);
    assert_eq!(view.take(&host, &first), Place::Next);
    (host, view)
}

#[test]
fn a_run_is_learned_from_its_first_frame_and_verifies_the_next() {
    let (mut host, mut view) = started();
    assert!(view.epoch.is_some());
    let next = host.frame(Lane::Protected, 2);
    assert_eq!(view.take(&host, &next), Place::Next);
}

#[test]
fn a_frame_of_a_run_that_never_started_is_refused() {
    let (mut host, mut view) = started();
    view.epoch = None;
    let next = host.frame(Lane::Protected, 2);
    assert!(matches!(view.refusal(&host, next.bytes()), Refusal::UnknownRun));
}

#[test]
fn a_start_signed_by_another_key_is_refused() {
    let mut host = Host::new(1);
    let mut view = View::of(&host);
    view.start_key = SigningKey::from_bytes(&[9; 32]).verifying_key();
    let first = host.frame(Lane::Protected, 1);
    let refusal = view.refusal(&host, first.bytes());
    assert_eq!(refusal.kind(), "signature");
    assert!(!refusal.retry());
}

#[test]
fn a_start_taken_from_another_run_is_refused() {
    let mut host = Host::new(1);
    let view = View::of(&host);
    let other = host.start_record();
    host.restart();
    let first = host.frame_with_start(Lane::Protected, other, 1);
    assert!(matches!(view.refusal(&host, first.bytes()), Refusal::StartOfOther));
}

#[test]
fn a_second_start_of_one_run_is_a_fork() {
    let (mut host, mut view) = started();
    host.reason = "again".to_owned();
    let again = host.frame_with_start(Lane::Protected, host.start_record(), 1);
    assert!(matches!(view.refusal(&host, again.bytes()), Refusal::SecondStart));
    view.epoch = None;
    assert!(matches!(view.refusal(&host, again.bytes()), Refusal::SecondStart));
}

#[test]
fn an_earlier_run_cannot_continue_a_lane() {
    let (mut host, mut view) = started();
    let earlier = view.epoch.clone();
    let mut old = host.clone();
    host.restart();
    let first = host.frame(Lane::Protected, 1);
    view.take(&host, &first);
    old.follow(&host);
    view.epoch = earlier;
    let back = old.frame(Lane::Protected, 1);
    assert!(matches!(view.refusal(&host, back.bytes()), Refusal::RunOrder));
}

#[test]
fn another_hosts_frame_is_refused_before_anything_else() {
    let (host, view) = started();
    let mut other = Host::new(2);
    let frame = other.frame(Lane::Protected, 1);
    assert!(matches!(view.refusal(&host, frame.bytes()), Refusal::Host));
}

#[test]
fn a_gap_is_refused_once_and_taken_when_the_host_insists() {
    let (mut host, mut view) = started();
    host.frame(Lane::Protected, 4);
    let after = host.frame(Lane::Protected, 1);
    let refusal = view.refusal(&host, after.bytes());
    assert!(matches!(refusal, Refusal::Gap { from: 4, to: 7 }));
    assert!(refusal.retry());
    view.gap_insisted = true;
    assert_eq!(view.take(&host, &after), Place::AfterGap { from: 4, to: 7 });
}

#[test]
fn a_frame_behind_a_gap_that_hides_its_runs_start_asks_for_what_is_missing() {
    let (mut host, mut view) = started();
    host.restart();
    host.frame(Lane::Protected, 1);
    let after = host.frame(Lane::Protected, 1);
    view.epoch = None;
    assert!(matches!(view.refusal(&host, after.bytes()), Refusal::Gap { from: 4, to: 4 }));
    view.gap_insisted = true;
    assert!(matches!(view.refusal(&host, after.bytes()), Refusal::UnknownRun));
}

#[test]
fn the_same_frame_again_is_a_duplicate_and_another_in_its_place_a_fork() {
    let (mut host, mut view) = started();
    let mut twin = host.clone();
    let next = host.frame(Lane::Protected, 2);
    view.take(&host, &next);
    view.stored = Stored::Frame(next.header().hash());
    assert!(matches!(view.judge(&host, next.bytes()), Verdict::Duplicate));
    twin.sealed_at += 1;
    let other = twin.frame(Lane::Protected, 2);
    assert!(matches!(view.refusal(&host, other.bytes()), Refusal::Fork));
    view.stored = Stored::Overlap;
    assert!(matches!(view.refusal(&host, next.bytes()), Refusal::Fork));
    view.stored = Stored::Nothing;
    assert!(matches!(view.judge(&host, next.bytes()), Verdict::Take(v) if v.place == Place::Late));
}

#[test]
fn a_frame_that_names_another_one_before_it_is_a_fork() {
    let (mut host, mut view) = started();
    let mut twin = host.clone();
    twin.sealed_at += 1;
    view.take(&host, &host.clone().frame(Lane::Protected, 1));
    twin.frame(Lane::Protected, 1);
    host.follow(&twin);
    let next = host.frame(Lane::Protected, 1);
    assert!(matches!(view.refusal(&host, next.bytes()), Refusal::Fork));
}

#[test]
fn a_forged_fork_is_a_bad_signature_and_not_a_fork() {
    let (mut host, mut view) = started();
    let mut forger = host.clone();
    let next = host.frame(Lane::Protected, 2);
    view.take(&host, &next);
    view.stored = Stored::Frame(next.header().hash());
    forger.forge_key(SigningKey::from_bytes(&[8; 32]));
    forger.sealed_at += 1;
    let other = forger.frame(Lane::Protected, 2);
    assert_eq!(view.refusal(&host, other.bytes()).kind(), "signature");
}

#[test]
fn a_frame_without_its_private_part_holds_and_one_with_another_does_not() {
    let (mut host, mut view) = started();
    let (next, swapped) = host.frame_with_private(Lane::Protected, b"secret", b"other!");
    let refusal = view.refusal(&host, &swapped);
    assert!(matches!(refusal, Refusal::Frame(FrameError::Private)), "{refusal:?}");
    assert_eq!(view.take(&host, &next.without_private()), Place::Next);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(0_u8.., 0..600)) {
        let host = Host::new(1);
        let refused = matches!(View::of(&host).judge(&host, &bytes), Verdict::Refuse(_));
        prop_assert!(refused);
    }

    #[test]
    fn one_changed_byte_is_never_taken(at in 0_usize..100_000, bit in 0_u8..8, fix_checksum in any::<bool>()) {
        let (mut host, view) = started();
        let mut bytes = host.frame(Lane::Protected, 5).bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if fix_checksum {
            let sum = crate::fixture::checksum(&bytes[8..]);
            bytes[4..8].copy_from_slice(&sum);
        }
        if let Verdict::Take(_) | Verdict::Duplicate = view.judge(&host, &bytes) {
            // Only the checksum itself may be repaired to what it was.
            prop_assert!(fix_checksum && (4..8).contains(&at));
        }
    }

    #[test]
    fn an_honest_host_is_always_taken(sizes in proptest::collection::vec((1_usize..8, any::<bool>()), 1..12)) {
        let mut host = Host::new(3);
        let mut view = View::of(&host);
        let mut expected = 0;
        for (records, restart) in sizes {
            if restart && expected > 0 {
                host.restart();
                view.epoch = None;
            }
            let frame = host.frame(Lane::Activity, records);
            prop_assert_eq!(view.take(&host, &frame), Place::Next);
            expected = frame.header().last;
            prop_assert_eq!(view.head.head.last, expected);
        }
    }
}
