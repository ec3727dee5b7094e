#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
//! The store against a model: whatever is committed, committed again, split over days and reopened, each
//! record is there once.

use std::collections::BTreeMap;

use graven_record::frame::Frame;
use graven_record::id::RunId;
use proptest::prelude::*;

use super::hosts::Enrolment;
use super::sqlite::Sqlite;
use super::*;
use crate::authority::token::TokenHash;
use crate::data::DataDir;
use crate::fixture::Host;
use crate::query::Kind;
use crate::verify::Place;

const DAY: i64 = 86_400_000_000_000;
const NOW: i64 = 20_000 * DAY;
const LANE: Lane = Lane::Protected;

struct Bench {
    _dir: tempfile::TempDir,
    data: DataDir,
    store: Sqlite,
    host: Host,
    number: i64,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(dir.path()).unwrap();
        let store = Sqlite::open(&data, NOW).unwrap();
        let host = Host::new(1);
        let (mut db, path) = sqlite::open_central(&data).unwrap();
        let token = TokenHash([1; 32]);
        tokens::add(&mut db, &path, token, "default", NOW, NOW + DAY).unwrap();
        let enrolment = Enrolment {
            id: host.id(),
            hostname: "a".to_owned(),
            start_key: host.start_key.verifying_key(),
            serial: vec![1],
            expires: NOW,
        };
        tokens::enrol(&mut db, &path, token, &enrolment, NOW).unwrap();
        let number = store.host(&host.id()).unwrap().unwrap().number;
        Self { _dir: dir, data, store, host, number }
    }

    fn commit(&mut self, frames: &[&Frame], now: i64) -> Vec<Written> {
        let group: Vec<Write> = frames.iter().map(|frame| write(self.number, frame, Place::Next)).collect();
        self.store.commit(&group, now).unwrap()
    }

    fn reopen(&mut self) {
        self.store = Sqlite::open(&self.data, NOW).unwrap();
    }

    fn sequences(&self) -> Vec<u64> {
        let rows = self.store.find(&Query::default()).unwrap();
        self.store.frames(&rows).unwrap().into_iter().map(|found| found.unwrap().record.sequence).collect()
    }
}

fn write(host: i64, frame: &Frame, place: Place) -> Write {
    let (batch, private) = (frame.batch().unwrap(), frame.private().unwrap());
    let verified = Verified { frame: frame.clone(), batch, private, learned: None, place };
    Write::Frame { host, verified: Box::new(verified) }
}

#[test]
fn the_same_frame_is_stored_once_also_on_the_next_day_and_in_one_group() {
    let mut bench = Bench::new();
    let (first, second) = (bench.host.frame(LANE, 3), bench.host.frame(LANE, 2));
    assert_eq!(bench.commit(&[&first, &first], NOW), [Written::Stored, Written::Already]);
    assert_eq!(bench.commit(&[&first, &second], NOW + DAY), [Written::Already, Written::Stored]);
    bench.reopen();
    assert_eq!(bench.commit(&[&first, &second], NOW + 2 * DAY), [Written::Already, Written::Already]);
    assert_eq!(bench.sequences(), [1, 2, 3, 4, 5]);
    assert_eq!(bench.store.head(bench.number, bench.host.boot, LANE).unwrap().head, bench.host.head(LANE));
}

#[test]
fn another_frame_in_the_same_place_is_a_conflict_and_leaves_what_is_there() {
    let mut bench = Bench::new();
    let mut twin = bench.host.clone();
    twin.sealed_at += 1;
    let (first, other, overlapping) =
        (bench.host.frame(LANE, 3), twin.clone().frame(LANE, 3), twin.frame(LANE, 2));
    assert_eq!(bench.commit(&[&first], NOW), [Written::Stored]);
    assert_eq!(bench.commit(&[&other, &overlapping], NOW), [Written::Conflict, Written::Conflict]);
    let stored = bench.store.stored(bench.number, bench.host.boot, LANE, 1, 3).unwrap();
    assert_eq!(stored, Stored::Frame(first.header().hash()));
    assert_eq!(bench.store.stored(bench.number, bench.host.boot, LANE, 3, 9).unwrap(), Stored::Overlap);
    assert_eq!(bench.store.stored(bench.number, bench.host.boot, LANE, 4, 9).unwrap(), Stored::Nothing);
}

#[test]
fn a_frame_whose_predecessor_was_not_stored_is_not_stored_either() {
    let mut bench = Bench::new();
    let frames = [0; 4].map(|_| bench.host.frame(LANE, 2));
    let [first, lost, next, after] = &frames;
    assert_eq!(bench.commit(&[first], NOW), [Written::Stored]);
    // The commit of `lost` failed; what was queued behind it was judged as if it had not.
    assert_eq!(bench.commit(&[next, after], NOW), [Written::Unfollowed; 2]);
    bench.reopen();
    assert_eq!(bench.commit(&[next], NOW), [Written::Unfollowed]);
    assert_eq!(bench.sequences(), [1, 2]);
    assert_eq!(bench.commit(&[lost, next], NOW), [Written::Stored; 2]);
    assert_eq!(bench.commit(&[after], NOW), [Written::Stored]);
    assert_eq!(bench.sequences(), [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn a_gap_is_taken_as_it_was_announced_and_no_wider() {
    let mut bench = Bench::new();
    let frames = [0; 4].map(|_| bench.host.frame(LANE, 2));
    let gap = |frame, from, to| [write(bench.number, frame, Place::AfterGap { from, to })];
    let (narrow, whole) = (gap(&frames[3], 5, 6), gap(&frames[3], 3, 6));
    assert_eq!(bench.commit(&[&frames[0]], NOW), [Written::Stored]);
    assert_eq!(bench.store.commit(&narrow, NOW).unwrap(), [Written::Unfollowed]);
    assert_eq!(bench.store.commit(&whole, NOW).unwrap(), [Written::Stored]);
    assert_eq!(bench.sequences(), [1, 2, 7, 8]);
}

#[test]
fn a_day_to_come_does_not_hide_the_days_whose_heads_must_be_mended() {
    let mut bench = Bench::new();
    let frame = bench.host.frame(LANE, 3);
    bench.commit(&[&frame], NOW);
    for days in 1..4 {
        // A clock that was ahead once.
        drop(day::Writer::open(&bench.data.days_folder(), day::Day::of(NOW + days * DAY)).unwrap());
    }
    let (db, _) = sqlite::open_central(&bench.data).unwrap();
    db.execute("DELETE FROM head", []).unwrap();
    bench.reopen();
    assert_eq!(bench.store.head(bench.number, bench.host.boot, LANE).unwrap().head.last, 3);
    db.execute("DELETE FROM head", []).unwrap();
    assert_eq!(bench.commit(&[&frame], NOW), [Written::Already]);
    assert_eq!(bench.sequences(), [1, 2, 3]);
}

#[test]
fn a_frame_in_anothers_place_does_not_keep_the_rest_of_its_group_from_the_disk() {
    let mut bench = Bench::new();
    let mut twin = bench.host.clone();
    twin.sealed_at += 1;
    let frame = bench.host.frame(LANE, 3);
    bench.commit(&[&frame], NOW);
    let (db, _) = sqlite::open_central(&bench.data).unwrap();
    db.execute("DELETE FROM head", []).unwrap();
    let group = [twin.frame(LANE, 2), twin.frame(LANE, 2), bench.host.frame(Lane::Activity, 1)];
    let answers = bench.commit(&[&group[0], &group[1], &group[2]], NOW);
    assert_eq!(answers, [Written::Conflict, Written::Unfollowed, Written::Stored]);
    assert_eq!(bench.sequences().len(), 4);
}

#[test]
fn a_late_frame_is_stored_and_the_head_stays() {
    let mut bench = Bench::new();
    let (first, second) = (bench.host.frame(LANE, 3), bench.host.frame(LANE, 2));
    let after = [write(bench.number, &second, Place::AfterGap { from: 1, to: 3 })];
    assert_eq!(bench.store.commit(&after, NOW).unwrap(), [Written::Stored]);
    let late = [write(bench.number, &first, Place::Late)];
    assert_eq!(bench.store.commit(&late, NOW).unwrap(), [Written::Stored]);
    assert_eq!(bench.store.head(bench.number, bench.host.boot, LANE).unwrap().head.last, 5);
    assert_eq!(bench.sequences(), [1, 2, 3, 4, 5]);
}

#[test]
fn the_bytes_come_back_as_they_were_sealed() {
    let mut bench = Bench::new();
    let first = bench.host.frame(LANE, 1);
    let (frame, _) = bench.host.frame_with_private(LANE, b"secret", b"x");
    bench.commit(&[&first, &frame], NOW);
    let reader = reader::Reader::open(&bench.data).unwrap();
    let day = reader.day(day::Day::of(NOW)).unwrap();
    let kept = day.frame(2).unwrap().unwrap();
    assert_eq!(kept.bytes, frame.without_private().bytes());
    assert_eq!(kept.private.unwrap().entries, frame.private().unwrap());
}

#[test]
fn erased_private_parts_break_no_frame() {
    let mut bench = Bench::new();
    let first = bench.host.frame(LANE, 1);
    let (frame, _) = bench.host.frame_with_private(LANE, b"secret", b"x");
    bench.commit(&[&first, &frame], NOW);
    for suffix in ["", "-wal", "-shm"] {
        let path = day::Day::of(NOW).private_file(&bench.data.days_folder());
        // The write-ahead log need not be there.
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
    let reader = reader::Reader::open(&bench.data).unwrap();
    let found = reader.frames(&reader.find(&Query::default()).unwrap()).unwrap();
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|found| found.as_ref().unwrap().private.is_empty()));
}

#[test]
fn a_query_gives_the_newest_in_order_across_days() {
    let mut bench = Bench::new();
    for day in 0..3 {
        let frame = bench.host.frame(LANE, 4);
        bench.commit(&[&frame], NOW + day * DAY);
    }
    let query = Query { limit: 5, kind: Kind::named("modify"), ..Query::default() };
    let rows = bench.store.find(&query).unwrap();
    let found = bench.store.frames(&rows).unwrap();
    let sequences: Vec<u64> = found.into_iter().map(|f| f.unwrap().record.sequence).collect();
    assert_eq!(sequences, [8, 9, 10, 11, 12]);
}

#[test]
fn the_newest_boots_are_told_first_and_no_more_than_asked() {
    let mut bench = Bench::new();
    let mut boots = Vec::new();
    for n in 0..5 {
        let frame = bench.host.frame(LANE, 1);
        bench.commit(&[&frame], NOW + n);
        boots.push(bench.host.boot);
        bench.host.reboot();
    }
    let heads = bench.store.heads(bench.number, 2).unwrap();
    let mut told: Vec<BootId> = heads.into_iter().map(|(boot, ..)| boot).collect();
    told.sort_unstable();
    boots = boots.split_off(3);
    boots.sort_unstable();
    assert_eq!(told, boots);
}

#[test]
fn a_file_of_a_newer_release_is_not_touched() {
    let bench = Bench::new();
    let (db, path) = sqlite::open_central(&bench.data).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    assert!(matches!(schema::open(&path, schema::File::Central), Err(StoreError::Newer { found: 99, .. })));
    let read = schema::open_to_read(&path, schema::File::Central);
    assert!(matches!(read, Err(StoreError::Newer { found: 99, .. })));
}

#[test]
fn a_day_that_is_just_being_made_is_an_empty_one() {
    let bench = Bench::new();
    let folder = bench.data.days_folder();
    let day = day::Day::of(NOW);
    crate::data::touch_private(&day.frames_file(&folder)).unwrap();
    crate::data::touch_private(&day.private_file(&folder)).unwrap();
    let reader = day::Reader::open(&folder, day).unwrap();
    assert_eq!(reader.newest().unwrap(), 0);
    assert!(reader.find(&Query::default()).unwrap().is_empty());
}

#[test]
fn a_token_is_used_up_by_one_host_and_expires() {
    let bench = Bench::new();
    let (mut db, path) = sqlite::open_central(&bench.data).unwrap();
    let (mine, theirs) = (bench.host.id(), Host::new(2).id());
    let token = TokenHash([2; 32]);
    tokens::add(&mut db, &path, token, "default", NOW, NOW + 10).unwrap();
    let check = |host, now| tokens::check(&db, &path, token, host, now);
    assert!(check(&mine, NOW + 10).is_ok());
    assert!(matches!(check(&mine, NOW + 11), Err(tokens::DoorError::Expired)));
    db.execute("UPDATE token SET used_by = ?1", [mine.0]).unwrap();
    assert!(check(&mine, NOW).is_ok());
    assert!(matches!(check(&theirs, NOW), Err(tokens::DoorError::Used)));
}

#[derive(Clone, Debug)]
enum Act {
    Append { lane: bool, records: usize },
    Again { which: usize },
    Tomorrow,
    Reopen,
    LoseHeads,
    Reboot,
    FailThenAppend,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => (any::<bool>(), 1_usize..6).prop_map(|(lane, records)| Act::Append { lane, records }),
        3 => any::<usize>().prop_map(|which| Act::Again { which }),
        1 => Just(Act::Tomorrow),
        1 => Just(Act::Reopen),
        1 => Just(Act::LoseHeads),
        1 => Just(Act::Reboot),
        2 => Just(Act::FailThenAppend),
    ];
    proptest::collection::vec(act, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn each_record_is_there_once_whatever_happens(acts in acts()) {
        let mut bench = Bench::new();
        let (mut now, mut sent) = (NOW, Vec::<Frame>::new());
        let mut model: BTreeMap<(BootId, Lane), u64> = BTreeMap::new();
        let mut runs: BTreeMap<(BootId, Lane), RunId> = BTreeMap::new();
        for act in acts {
            now += 1;
            match act {
                Act::Append { lane, records } => {
                    let frame = bench.host.frame(Lane::ALL[usize::from(lane)], records);
                    prop_assert_eq!(bench.commit(&[&frame], now), [Written::Stored]);
                    let header = frame.header();
                    model.insert((header.boot, header.lane), header.last);
                    runs.insert((header.boot, header.lane), header.run);
                    sent.push(frame);
                }
                Act::Again { which } if !sent.is_empty() => {
                    let frame = sent[which % sent.len()].clone();
                    prop_assert_eq!(bench.commit(&[&frame], now), [Written::Already]);
                }
                Act::Again { .. } => {}
                Act::Tomorrow => now += DAY,
                Act::Reopen => bench.reopen(),
                Act::LoseHeads => {
                    // A power cut after the last commit of frames: its heads are not there yet. Only the last
                    // commit's can be missing, and the two newest days are compared.
                    if let Some(last) = sent.last().map(|f| f.header().clone()) {
                        let (db, _) = sqlite::open_central(&bench.data).unwrap();
                        db.execute("DELETE FROM head WHERE boot = ?1 AND lane = ?2", (last.boot.0, last.lane.number())).unwrap();
                        bench.reopen();
                    }
                }
                Act::Reboot => bench.host.reboot(),
                Act::FailThenAppend => {
                    let frames = [bench.host.frame(LANE, 2), bench.host.frame(LANE, 1)];
                    bench.reopen();
                    prop_assert_eq!(bench.commit(&[&frames[1]], now), [Written::Unfollowed]);
                    prop_assert_eq!(bench.commit(&[&frames[0], &frames[1]], now), [Written::Stored; 2]);
                    for frame in frames {
                        let header = frame.header();
                        model.insert((header.boot, header.lane), header.last);
                        runs.insert((header.boot, header.lane), header.run);
                        sent.push(frame);
                    }
                }
            }
        }
        for ((boot, lane), last) in &model {
            let head = bench.store.head(bench.number, *boot, *lane).unwrap();
            prop_assert_eq!(head.head.last, *last);
            prop_assert_eq!(head.run, runs.get(&(*boot, *lane)).copied());
        }
        let expected: u64 = model.values().sum();
        prop_assert_eq!(bench.sequences().len() as u64, expected);
    }
}
