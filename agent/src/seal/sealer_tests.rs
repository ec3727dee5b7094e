#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use bytes::Bytes;
use graven_record::chain::{Link, link};
use graven_record::v1::Process;
use proptest::prelude::*;

use super::*;

const HOST: HostId = HostId([1; 32]);
const BOOT: BootId = BootId([2; 16]);
const MS: u64 = 1_000_000;

fn start_key() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

fn sealer(heads: Heads) -> Sealer {
    let start_key = start_key();
    let opening = Opening {
        host: HOST,
        start_key: &start_key,
        boot: BOOT,
        run: new_run().unwrap(),
        heads,
        context: Context { hostname: "h".into(), ..Context::default() },
        reason: "start".into(),
    };
    Sealer::open(opening, at(0)).unwrap()
}

fn at(boot: u64) -> Now {
    Now { wall: 1_700_000_000_000_000_000 + boot, boot }
}

fn judged(lane: Lane, argument: &str) -> Judged {
    let process = Process { arguments: 1, ..Process::default() };
    let subject = v1::Subject { process: Some(process), ..v1::Subject::default() };
    let record = v1::Record {
        boot_time: 1,
        subject: Some(subject.into()),
        event: Some(Event::Exit(v1::Exit::default())),
        ..v1::Record::default()
    };
    Judged { record: Box::new(record), lane, private: vec![Bytes::copy_from_slice(argument.as_bytes())] }
}

fn rest(sealer: &mut Sealer, now: Now) -> Vec<Frame> {
    std::iter::from_fn(|| sealer.rest(now).unwrap()).collect()
}

fn exits(frame: &Frame) -> usize {
    frame.batch().unwrap().records.iter().filter(|r| matches!(r.event, Some(Event::Exit(_)))).count()
}

fn lost_records(frame: &Frame) -> Vec<(String, u64)> {
    let lost = |r: &v1::Record| match &r.event {
        Some(Event::Lost(lost)) => Some((lost.kind.clone(), lost.count)),
        _ => None,
    };
    frame.batch().unwrap().records.iter().filter_map(lost).collect()
}

#[test]
fn the_first_frame_of_each_lane_begins_with_the_certificate_that_the_start_key_signed() {
    let mut sealer = sealer(Heads::NONE);
    for lane in Lane::ALL {
        sealer.push(judged(lane, "a"), at(1));
    }
    let frames = rest(&mut sealer, at(2));
    assert_eq!(frames.iter().map(|f| f.header().lane).collect::<Vec<_>>(), Lane::ALL);
    for frame in frames {
        let batch = frame.batch().unwrap();
        assert!(frame.header().starts_run);
        assert_eq!((frame.header().first, frame.header().last), (1, 2));
        let Some(Event::EpochStart(start)) = &batch.records[0].event else { unreachable!("no certificate") };
        let (statement, key) = epoch::verify_start(start, &start_key().verifying_key()).unwrap();
        assert_eq!((statement.host.as_slice(), statement.epoch), (HOST.as_bytes(), frame.header().epoch));
        frame.verify(&key).unwrap();
        assert_eq!(
            batch.records[1].time,
            at(1).wall,
            "when it happened, by the host's clock when it was sealed"
        );
        assert_eq!(batch.context.unwrap().hostname, "h");
    }
}

#[test]
fn a_record_waits_for_others_but_no_longer_than_a_tenth_of_a_second() {
    let mut sealer = sealer(Heads::NONE);
    sealer.push(judged(Lane::Activity, "a"), at(MS));
    assert_eq!(sealer.due(), Some(101 * MS));
    assert!(sealer.ready(at(100 * MS)).unwrap().is_none());
    let frame = sealer.ready(at(101 * MS)).unwrap().unwrap();
    assert_eq!((frame.header().lane, exits(&frame)), (Lane::Activity, 1));
    assert!(sealer.ready(at(101 * MS)).unwrap().is_none());
    assert_eq!(sealer.due(), None);
}

#[test]
fn a_frame_holds_at_most_a_hundred_records_the_certificate_included() {
    let mut sealer = sealer(Heads::NONE);
    (0..250).for_each(|_| sealer.push(judged(Lane::Activity, "a"), at(1)));
    let full: Vec<usize> = std::iter::from_fn(|| sealer.ready(at(2)).unwrap()).map(|f| exits(&f)).collect();
    assert_eq!(full, [99, 100]);
    assert_eq!(rest(&mut sealer, at(2)).iter().map(exits).collect::<Vec<_>>(), [51]);
}

#[test]
fn a_chain_goes_on_where_the_spool_ends() {
    let heads = Heads { protected: Head { last: 41, hash: [7; 32] }, activity: Head::NONE };
    let mut sealer = sealer(heads);
    sealer.push(judged(Lane::Protected, "a"), at(1));
    let frame = sealer.rest(at(1)).unwrap().unwrap();
    assert_eq!(link(&heads.protected, frame.header()), Link::Next);
}

#[test]
fn a_loss_is_in_the_header_and_in_a_record_within_a_second() {
    let mut sealer = sealer(Heads::NONE);
    sealer.lose(LossKind::Activity, 3, "", at(MS));
    sealer.lose(LossKind::Activity, 4, "", at(2 * MS));
    sealer.lose(LossKind::Skipped, 1, "sys_exit", at(2 * MS));
    assert!(sealer.ready(at(500 * MS)).unwrap().is_none());
    let frame = sealer.ready(at(1001 * MS)).unwrap().unwrap();
    assert_eq!(frame.header().lost[LossKind::Activity as usize], 7);
    assert_eq!(lost_records(&frame), [("activity".to_owned(), 7), ("skipped".to_owned(), 1)]);
    assert!(sealer.ready(at(9000 * MS)).unwrap().is_none());
}

#[test]
fn a_withdrawn_frame_leaves_no_hole_and_its_records_are_counted() {
    let mut sealer = sealer(Heads::NONE);
    sealer.lose(LossKind::Life, 2, "", at(0));
    sealer.push(judged(Lane::Protected, "a"), at(1));
    sealer.push(judged(Lane::Protected, "b"), at(1));
    let refused = sealer.rest(at(2)).unwrap().unwrap();
    assert_eq!(lost_records(&refused), [("life".to_owned(), 2)]);
    sealer.withdraw(at(3));
    sealer.withdraw(at(3));
    assert_eq!(sealer.heads(), Heads::NONE);
    assert!(sealer.rest(at(4)).unwrap().is_none(), "a full spool is not asked in a loop");
    let frames = rest(&mut sealer, at(4 + HOLD));
    assert_eq!(frames.len(), 1);
    assert!(frames[0].header().starts_run);
    assert_eq!(frames[0].header().first, 1);
    assert_eq!(lost_records(&frames[0]), [("life".to_owned(), 2), ("spool".to_owned(), 2)]);
}

#[test]
fn everything_lost_is_in_the_totals_once_however_often_it_is_refused() {
    let mut sealer = sealer(Heads::NONE);
    sealer.lose(LossKind::Undecodable, 2, "", at(0));
    for round in 1..5 {
        sealer.push(judged(Lane::Protected, "a"), at(round * HOLD_FULL));
        while sealer.rest(at(round * HOLD_FULL)).unwrap().is_some() {
            sealer.withdraw(at(round * HOLD_FULL));
        }
    }
    let lost = sealer.lost();
    assert_eq!((lost[LossKind::Undecodable as usize], lost[LossKind::Spool as usize]), (2, 4));
    assert_eq!(lost.iter().sum::<u64>(), 6);
}

#[test]
fn while_the_spool_refuses_losses_are_said_alone_and_seldom_and_at_the_end_with_the_stop() {
    let mut sealer = sealer(Heads::NONE);
    let mut said = Vec::new();
    for second in 0..100 {
        let now = at(second * HOLD + 1);
        sealer.push(judged(Lane::Protected, "a"), now);
        while let Some(frame) = sealer.rest(now).unwrap() {
            match exits(&frame) {
                0 => said.push(second),
                _ => sealer.withdraw(now),
            }
        }
    }
    assert_eq!(said, [1, 31, 61, 91]);
    sealer.push(judged(Lane::Protected, "stop"), at(100 * HOLD));
    sealer.end();
    let last = rest(&mut sealer, at(100 * HOLD));
    assert_eq!(last.len(), 1);
    assert_eq!((exits(&last[0]), lost_records(&last[0])), (1, vec![("spool".to_owned(), 9)]));
    assert_eq!(sealer.lost()[LossKind::Spool as usize], 100);
}

#[test]
fn a_spool_that_takes_records_again_is_told_at_once_what_was_lost() {
    let mut sealer = sealer(Heads::NONE);
    for second in 1..10 {
        sealer.push(judged(Lane::Activity, "a"), at(second * HOLD));
        while sealer.rest(at(second * HOLD)).unwrap().is_some() {
            sealer.withdraw(at(second * HOLD));
        }
    }
    sealer.push(judged(Lane::Activity, "a"), at(10 * HOLD));
    let frames = rest(&mut sealer, at(10 * HOLD));
    assert_eq!(frames.iter().map(exits).collect::<Vec<_>>(), [1, 0]);
    assert_eq!(lost_records(&frames[1]), [("spool".to_owned(), 9)]);
}

#[test]
fn a_record_that_no_frame_holds_is_counted_and_the_rest_goes_on() {
    let mut sealer = sealer(Heads::NONE);
    let mut huge = judged(Lane::Activity, "a");
    huge.record.subject.as_mut().unwrap().cgroup = "c".repeat(9 << 20);
    sealer.push(huge, at(1));
    sealer.push(judged(Lane::Activity, "b"), at(1));
    let frames = rest(&mut sealer, at(2));
    assert_eq!(frames.iter().map(exits).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(lost_records(&frames[0]), [("queue".to_owned(), 1)]);
}

#[test]
fn a_new_context_holds_only_for_what_is_judged_under_it() {
    let mut sealer = sealer(Heads::NONE);
    sealer.push(judged(Lane::Activity, "a"), at(1));
    sealer.set_context(Context { hostname: "new".into(), ..Context::default() });
    sealer.push(judged(Lane::Activity, "b"), at(1));
    let names: Vec<_> =
        rest(&mut sealer, at(2)).iter().map(|f| f.batch().unwrap().context.unwrap().hostname).collect();
    assert_eq!(names, ["h", "new"]);
}

#[test]
fn heads_are_stated_at_once_and_then_every_ten_seconds() {
    let mut sealer = sealer(Heads::NONE);
    sealer.push(judged(Lane::Protected, "a"), at(1));
    let frame = sealer.rest(at(1)).unwrap().unwrap();
    let key = epoch::verifying_key(&sealer.key.public()).unwrap();
    let beat = sealer.heartbeat(Counters { seen: 5, ..Counters::default() }, at(2)).unwrap();
    let head = epoch::verify_head(&beat, &key).unwrap();
    assert_eq!((head.protected_sequence, head.counters.unwrap().seen), (2, 5));
    assert_eq!(head.protected_head, frame.header().hash());
    assert!(sealer.heartbeat(Counters::default(), at(9999 * MS)).is_none());
    assert!(sealer.heartbeat(Counters::default(), at(10_001 * MS)).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whatever is pushed, lost, sealed and withdrawn: both chains link, no frame is larger than the
    /// format allows, and every record is in a frame or in a loss count.
    #[test]
    fn every_record_is_in_a_frame_or_counted(steps in prop::collection::vec((0_u8..6, 0_usize..150), 1..20)) {
        let mut sealer = sealer(Heads::NONE);
        let (mut pushed, mut kept, mut counted, mut now) = (0_u64, 0_u64, 0_u64, 1);
        let mut heads = Heads::NONE;
        for (what, count) in steps.into_iter().chain([(5, 0), (5, 0)]) {
            now += if what == 5 { HOLD } else { 60 * MS };
            let lane = Lane::ALL[count % 2];
            match what {
                0..=2 => {
                    let argument = "x".repeat(count * usize::from(what) * 50);
                    (0..count).for_each(|_| sealer.push(judged(lane, &argument), at(now)));
                    pushed += count as u64;
                }
                3 => {
                    sealer.lose(LossKind::Life, count as u64, "", at(now));
                    pushed += count as u64;
                }
                _ => while let Some(frame) = if what == 5 { sealer.rest(at(now)).unwrap() } else { sealer.ready(at(now)).unwrap() } {
                    let refused = what == 4 && frame.header().sealed_at % 7 == 0 && exits(&frame) > 0;
                    if refused {
                        sealer.withdraw(at(now));
                        break;
                    }
                    let lane = frame.header().lane;
                    prop_assert_eq!(link(&heads.of(lane), frame.header()), Link::Next);
                    *heads.of_mut(lane) = Head::of(frame.header());
                    prop_assert!(Frame::parse(frame.bytes()).is_ok());
                    prop_assert!(frame.private().is_ok());
                    let lost: u64 = frame.header().lost.iter().sum();
                    prop_assert_eq!(lost, lost_records(&frame).iter().map(|(_, n)| n).sum::<u64>());
                    kept += exits(&frame) as u64;
                    counted += lost;
                },
            }
        }
        prop_assert_eq!(heads, sealer.heads());
        prop_assert_eq!(pushed, kept + counted);
    }
}
