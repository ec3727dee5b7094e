//! The spool against a model: generated appends, acknowledgements, failures and crashes.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use graven_record::chain::Head;
use graven_record::frame::{Draft, Frame, Losses};
use graven_record::id::{BootId, HostId, Lane, RunId};
use graven_record::v1::record::Event;
use graven_record::v1::{Batch, Lost, Record, Stop};
use proptest::prelude::*;

use super::memory_disk::MemoryDisk;
use super::*;
use crate::seal::Heads;

const ROOT: &str = "/spool";
const HOST: HostId = HostId([3; 32]);
const BOOT: BootId = BootId([4; 16]);
const WIDE: Limits = Limits { limit: 1 << 30, reserve: 0 };

/// A frame of two records that follows a head; `payload` bytes of it do not compress.
fn frame(boot: BootId, lane: Lane, head: &Head, payload: usize, at: u64) -> Frame {
    let mut state = head.last + 1;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    });
    let noise: Vec<u8> = noise.take(payload).collect();
    let hidden = [graven_record::v1::PrivateEntry { salt: vec![1; 16], value: noise }];
    let record = |sequence| Record { sequence, ..Record::default() };
    let batch = Batch { context: None, records: vec![record(head.last + 1), record(head.last + 2)] };
    let draft = Draft {
        lane,
        starts_run: false,
        host: HOST,
        boot,
        run: RunId([5; 16]),
        epoch: 1,
        lost: Losses::default(),
        previous: head.hash,
        sealed_at: at,
    };
    Frame::seal(&draft, &batch, &hidden, &SigningKey::from_bytes(&[6; 32])).unwrap()
}

/// A frame of one record of the logger itself.
fn own(head: &Head, event: Event) -> Frame {
    let record = Record { sequence: head.last + 1, event: Some(event), ..Record::default() };
    let batch = Batch { context: None, records: vec![record] };
    let draft = Draft {
        lane: Lane::Protected,
        starts_run: false,
        host: HOST,
        boot: BOOT,
        run: RunId([5; 16]),
        epoch: 1,
        lost: Losses::default(),
        previous: head.hash,
        sealed_at: 1,
    };
    Frame::seal(&draft, &batch, &[], &SigningKey::from_bytes(&[6; 32])).unwrap()
}

/// Appends frames of one event until the spool refuses; the bytes that it took.
fn own_until_full(spool: &mut Spool<MemoryDisk>, head: &mut Head, event: &Event) -> u64 {
    let mut taken = 0;
    loop {
        let frame = own(head, event.clone());
        if spool.append(&frame).is_err() {
            return taken;
        }
        taken += frame.bytes().len() as u64;
        *head = Head::of(frame.header());
    }
}

#[test]
fn a_full_spool_still_takes_the_loggers_own_last_words_and_no_more_than_that() {
    for (capacity, limits) in [
        (None, Limits { limit: 200_000, reserve: 0 }),
        (Some(300_000), Limits { limit: 1 << 30, reserve: 100_000 }),
    ] {
        let disk = MemoryDisk::default();
        disk.set_capacity(capacity);
        let Opened { mut spool, heads } = open(&disk, limits, BOOT);
        let mut head = heads.protected;
        loop {
            let frame = frame(BOOT, Lane::Protected, &head, 300, 1);
            if spool.append(&frame).is_err() {
                break;
            }
            head = Head::of(frame.header());
        }
        let losses = own_until_full(&mut spool, &mut head, &Event::Lost(Lost::default()));
        assert!(losses > LAST_WORD / 3 && losses < LAST_WORD * 2 / 3, "{losses}");
        assert!(spool.append(&frame(BOOT, Lane::Protected, &head, 300, 1)).is_err());
        let stops = own_until_full(&mut spool, &mut head, &Event::Stop(Stop::default()));
        assert!(stops > LAST_WORD / 3 && losses + stops < LAST_WORD + 1_000, "{stops}");
        spool.sync().unwrap();
    }
}

fn stream(lane: Lane) -> Stream {
    Stream { boot: BOOT, lane }
}

fn open(disk: &MemoryDisk, limits: Limits, boot: BootId) -> Opened<MemoryDisk> {
    Spool::open_on(disk.clone(), Path::new(ROOT), limits, HOST, boot).unwrap()
}

fn read(spool: &Spool<MemoryDisk>, stream: Stream, after: u64) -> Vec<Frame> {
    let reader = spool.reader();
    let mut place = Place::after(stream, after);
    std::iter::from_fn(|| reader.next(&mut place).unwrap()).collect()
}

/// Appends and syncs frames with these payloads; gives them back.
fn write(spool: &mut Spool<MemoryDisk>, heads: &mut Heads, lane: Lane, payloads: &[usize]) -> Vec<Frame> {
    let frames: Vec<Frame> = payloads
        .iter()
        .map(|payload| {
            let head = heads.of_mut(lane);
            let frame = frame(BOOT, lane, head, *payload, head.last);
            spool.append(&frame).unwrap();
            *head = Head::of(frame.header());
            frame
        })
        .collect();
    spool.sync().unwrap();
    frames
}

fn same(a: &[Frame], b: &[Frame]) -> bool {
    a.iter().map(Frame::bytes).eq(b.iter().map(Frame::bytes))
}

#[test]
fn frames_come_back_verbatim_and_in_order_across_segments_and_restarts() {
    let disk = MemoryDisk::default();
    let limits = Limits { limit: 200_000, reserve: 0 };
    let Opened { mut spool, mut heads } = open(&disk, limits, BOOT);
    let written = write(&mut spool, &mut heads, Lane::Protected, &[8000; 8]);
    assert!(disk.files().len() > 2);
    assert!(same(&read(&spool, stream(Lane::Protected), 0), &written));
    assert!(same(&read(&spool, stream(Lane::Protected), 6), &written[3..]));
    assert!(
        same(&read(&spool, stream(Lane::Protected), 5), &written[2..]),
        "a frame that is half known is sent"
    );
    let again = open(&disk, limits, BOOT);
    assert_eq!(again.heads, heads);
    assert!(same(&read(&again.spool, stream(Lane::Protected), 0), &written));
    assert!(again.spool.findings().is_empty());
}

#[test]
fn a_reader_sees_what_is_synced_and_nothing_else_and_goes_on_later() {
    let disk = MemoryDisk::default();
    let Opened { mut spool, mut heads } = open(&disk, WIDE, BOOT);
    let reader = spool.reader();
    let mut place = Place::after(stream(Lane::Activity), 0);
    assert!(reader.next(&mut place).unwrap().is_none());
    let first = frame(BOOT, Lane::Activity, &heads.activity, 10, 1);
    spool.append(&first).unwrap();
    assert!(reader.next(&mut place).unwrap().is_none());
    spool.sync().unwrap();
    assert!(same(&[reader.next(&mut place).unwrap().unwrap()], std::slice::from_ref(&first)));
    assert!(reader.next(&mut place).unwrap().is_none());
    heads.activity = Head::of(first.header());
    let second = write(&mut spool, &mut heads, Lane::Activity, &[10]);
    assert!(same(&[reader.next(&mut place).unwrap().unwrap()], &second));
    assert_eq!(reader.last(stream(Lane::Activity)), 4);
}

#[test]
fn an_older_boot_is_still_sent_and_its_folder_goes_with_its_last_segment() {
    let disk = MemoryDisk::default();
    let Opened { mut spool, mut heads } = open(&disk, WIDE, BOOT);
    let written = write(&mut spool, &mut heads, Lane::Protected, &[4000, 4000]);
    drop(spool);
    let next = BootId([9; 16]);
    let limits = Limits { limit: 12_000, reserve: 0 };
    let Opened { mut spool, heads } = open(&disk, limits, next);
    assert_eq!(heads, Heads::NONE);
    assert!(same(&read(&spool, stream(Lane::Protected), 0), &written));
    let new = frame(next, Lane::Protected, &Head::NONE, 4000, 9);
    assert!(matches!(spool.append(&new), Err(SpoolError::Full { .. })));
    spool.reader().acknowledge(stream(Lane::Protected), 4);
    spool.append(&new).unwrap();
    spool.sync().unwrap();
    assert_eq!(spool.reader().streams(), [Stream { boot: next, lane: Lane::Protected }]);
    assert!(!disk.names(Path::new(ROOT)).unwrap().contains(&BOOT.to_string()));
}

#[test]
fn a_bad_place_in_the_middle_is_quarantined_and_what_follows_is_found() {
    for reopened in [false, true] {
        let disk = MemoryDisk::default();
        let Opened { mut spool, mut heads } = open(&disk, WIDE, BOOT);
        let written = write(&mut spool, &mut heads, Lane::Protected, &[500; 5]);
        let (path, bytes) = disk.files().remove(0);
        let at = bytes.len() / 2;
        disk.damage(&path, |bytes| bytes[at] ^= 1);
        if reopened {
            Opened { spool, heads } = open(&disk, WIDE, BOOT);
            assert_eq!(heads.protected.last, 10);
        }
        let found = read(&spool, stream(Lane::Protected), 0);
        assert!(same(&found[..2], &written[..2]) && same(&found[2..], &written[3..]));
        let damaged = path.with_extension("damaged");
        let missing = Finding::Missing { stream: stream(Lane::Protected), from: 5, to: 6 };
        assert_eq!(missing.lost(), 2);
        assert_eq!(spool.findings(), [Finding::Damaged { path: damaged.clone() }, missing]);
        assert_eq!(disk.files().iter().map(|(p, _)| p.clone()).collect::<Vec<_>>(), [damaged]);
        assert_eq!(read(&spool, stream(Lane::Protected), 0).len(), 4);
        assert!(spool.findings().is_empty(), "each is said once");
        let more = write(&mut spool, &mut heads, Lane::Protected, &[7]);
        assert!(same(&read(&spool, stream(Lane::Protected), 10), &more));
    }
}

#[test]
fn segments_of_another_host_are_set_aside() {
    let disk = MemoryDisk::default();
    let Opened { mut spool, mut heads } = open(&disk, WIDE, BOOT);
    write(&mut spool, &mut heads, Lane::Protected, &[5, 5]);
    let again = Spool::open_on(disk.clone(), Path::new(ROOT), WIDE, HostId([8; 32]), BOOT).unwrap();
    assert_eq!(again.heads, Heads::NONE);
    assert!(again.spool.reader().streams().is_empty());
    assert!(matches!(again.spool.findings()[..], [Finding::Foreign { .. }]));
    let third = Spool::open_on(disk, Path::new(ROOT), WIDE, HostId([8; 32]), BOOT).unwrap();
    assert!(third.spool.findings().is_empty());
}

/// Appends frames until one is refused.
fn fill(spool: &mut Spool<MemoryDisk>, heads: &mut Heads, lane: Lane) -> SpoolError {
    loop {
        let frame = frame(BOOT, lane, &heads.of(lane), 900, 1);
        if let Err(refused) = spool.append(&frame) {
            return refused;
        }
        *heads.of_mut(lane) = Head::of(frame.header());
    }
}

#[test]
fn activity_leaves_room_for_protected() {
    let disk = MemoryDisk::default();
    let Opened { mut spool, mut heads } = open(&disk, Limits { limit: 100_000, reserve: 0 }, BOOT);
    let refused = fill(&mut spool, &mut heads, Lane::Activity);
    assert!(matches!(refused, SpoolError::Full { limit: 75_000, .. }));
    write(&mut spool, &mut heads, Lane::Protected, &[900; 10]);
    let refused = fill(&mut spool, &mut heads, Lane::Protected);
    assert!(matches!(refused, SpoolError::Full { limit: 100_000, .. }));
}

#[test]
fn activity_leaves_room_for_protected_on_a_small_disk() {
    let disk = MemoryDisk::default();
    disk.set_capacity(Some(110_000));
    let Opened { mut spool, mut heads } = open(&disk, Limits { limit: 1 << 30, reserve: 10_000 }, BOOT);
    let refused = fill(&mut spool, &mut heads, Lane::Activity);
    assert!(matches!(refused, SpoolError::Full { limit: 75_000, .. }));
    write(&mut spool, &mut heads, Lane::Protected, &[900; 10]);
    assert!(matches!(fill(&mut spool, &mut heads, Lane::Protected), SpoolError::Reserve { .. }));
}

/// A share's worth of room comes back with each segment, and not a part of it.
#[test]
fn one_acknowledged_segment_is_room_enough_for_a_large_frame_on_a_small_disk() {
    let disk = MemoryDisk::default();
    disk.set_capacity(Some(110_000));
    let Opened { mut spool, mut heads } = open(&disk, Limits { limit: 1 << 30, reserve: 10_000 }, BOOT);
    assert!(matches!(fill(&mut spool, &mut heads, Lane::Activity), SpoolError::Full { limit: 75_000, .. }));
    spool.sync().unwrap();
    let files = disk.files().len();
    spool.reader().acknowledge(stream(Lane::Activity), heads.activity.last);
    write(&mut spool, &mut heads, Lane::Activity, &[6_000]);
    assert_eq!(disk.files().len(), files);
}

/// The next frame may come an hour later.
#[test]
fn room_that_others_make_is_seen_by_the_frame_after_a_refusal() {
    let disk = MemoryDisk::default();
    disk.set_capacity(Some(110_000));
    let Opened { mut spool, mut heads } = open(&disk, Limits { limit: 1 << 30, reserve: 10_000 }, BOOT);
    assert!(matches!(fill(&mut spool, &mut heads, Lane::Activity), SpoolError::Full { .. }));
    disk.set_capacity(Some(210_000));
    write(&mut spool, &mut heads, Lane::Activity, &[6_000]);
}

#[test]
fn the_reserve_is_left_alone_and_a_full_disk_costs_only_the_frame() {
    let disk = MemoryDisk::default();
    let Opened { mut spool, mut heads } = open(&disk, Limits { limit: 1 << 30, reserve: 10_000 }, BOOT);
    let mut written = write(&mut spool, &mut heads, Lane::Protected, &[900; 2]);
    let held: u64 = disk.files().iter().map(|(_, bytes)| bytes.len() as u64).sum();
    disk.set_capacity(Some(held + 10_500));
    let next = frame(BOOT, Lane::Protected, &heads.protected, 900, 1);
    assert!(matches!(spool.append(&next), Err(SpoolError::Reserve { .. })));
    disk.set_capacity(None);
    disk.fail_appends(1);
    assert!(matches!(spool.append(&next), Err(SpoolError::Write { .. })));
    written.extend(write(&mut spool, &mut heads, Lane::Protected, &[900; 2]));
    assert!(same(&read(&spool, stream(Lane::Protected), 0), &written));
    let again = open(&disk, WIDE, BOOT);
    assert_eq!(again.heads, heads);
    assert!(again.spool.findings().is_empty());
}

#[test]
fn a_small_disk_has_room_again_when_the_central_log_has_what_is_on_it() {
    let disk = MemoryDisk::default();
    let Opened { mut spool, mut heads } = open(&disk, Limits { limit: 1 << 30, reserve: 0 }, BOOT);
    disk.set_capacity(Some(300_000));
    for _ in 0..3 {
        assert!(matches!(fill(&mut spool, &mut heads, Lane::Protected), SpoolError::Reserve { .. }));
        spool.sync().unwrap();
        spool.reader().acknowledge(stream(Lane::Protected), heads.protected.last);
        write(&mut spool, &mut heads, Lane::Protected, &[2000; 50]);
    }
}

#[test]
fn after_a_failed_sync_a_new_segment_is_begun_and_the_old_frames_are_still_given_out() {
    let disk = MemoryDisk::default();
    let Opened { mut spool, mut heads } = open(&disk, WIDE, BOOT);
    let first = frame(BOOT, Lane::Protected, &Head::NONE, 10, 1);
    spool.append(&first).unwrap();
    disk.fail_syncs(1);
    assert!(matches!(spool.sync(), Err(SpoolError::Sync { .. })));
    heads.protected = Head::of(first.header());
    let second = write(&mut spool, &mut heads, Lane::Protected, &[10]);
    assert_eq!(disk.files().len(), 2);
    let all = read(&spool, stream(Lane::Protected), 0);
    assert!(same(&all[..1], &[first]) && same(&all[1..], &second));
}

#[test]
fn a_refused_frame_is_kept_in_a_file_of_its_own() {
    let disk = MemoryDisk::default();
    let Opened { mut spool, mut heads } = open(&disk, WIDE, BOOT);
    let written = write(&mut spool, &mut heads, Lane::Protected, &[10]);
    let reader = spool.reader();
    reader.keep_refused(stream(Lane::Protected), &written[0]).unwrap();
    reader.keep_refused(stream(Lane::Protected), &written[0]).unwrap();
    let kept: Vec<_> = disk.files().into_iter().filter(|(p, _)| p.ends_with("sequence-1.refused")).collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].1, written[0].bytes());
    assert_eq!(open(&disk, WIDE, BOOT).heads, heads);
}

#[derive(Clone, Debug)]
enum Step {
    Append { lane: Lane, payload: usize },
    FailAppend { lane: Lane, cut: bool },
    Sync,
    FailSync,
    Acknowledge { lane: Lane, part: u64 },
    Restart,
    Crash { keep: usize, torn: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let lane = || prop::sample::select(Lane::ALL.to_vec());
    let step = prop_oneof![
        8 => (lane(), 0_usize..12_000).prop_map(|(lane, payload)| Step::Append { lane, payload }),
        1 => (lane(), any::<bool>()).prop_map(|(lane, cut)| Step::FailAppend { lane, cut }),
        5 => Just(Step::Sync),
        1 => Just(Step::FailSync),
        3 => (lane(), 0_u64..=100).prop_map(|(lane, part)| Step::Acknowledge { lane, part }),
        1 => Just(Step::Restart),
        2 => (0_usize..=100, any::<bool>()).prop_map(|(keep, torn)| Step::Crash { keep, torn }),
    ];
    prop::collection::vec(step, 1..60)
}

/// What must be in the spool.
#[derive(Default)]
struct Model {
    appended: BTreeMap<Lane, Vec<Frame>>,
    /// How many of them are promised.
    synced: BTreeMap<Lane, usize>,
    /// The most that was ever acknowledged: what lies below it may be gone.
    durable: BTreeMap<Lane, u64>,
    failed_sync: bool,
}

impl Model {
    /// After a start: what is there is the beginning of what was appended, at least what was promised and
    /// not yet acknowledged, and the heads say so.
    fn check(&mut self, spool: &Spool<MemoryDisk>, heads: &Heads) -> Result<(), TestCaseError> {
        for lane in Lane::ALL {
            let appended = self.appended.entry(lane).or_default();
            let durable = self.durable.get(&lane).copied().unwrap_or(0);
            let found = read(spool, stream(lane), durable);
            let survived = appended.iter().take_while(|f| f.header().last <= heads.of(lane).last).count();
            prop_assert!(
                survived >= self.synced.get(&lane).copied().unwrap_or(0),
                "a promised frame is gone"
            );
            prop_assert_eq!(
                heads.of(lane),
                appended[..survived].last().map_or(Head::NONE, |f| Head::of(f.header()))
            );
            let wanted: Vec<_> =
                appended[..survived].iter().filter(|f| f.header().last > durable).cloned().collect();
            prop_assert!(same(&found, &wanted), "{} of {} frames", found.len(), wanted.len());
            appended.truncate(survived);
            self.synced.insert(lane, survived);
        }
        Ok(())
    }
}

fn held(disk: &MemoryDisk) -> u64 {
    disk.files().iter().map(|(_, bytes)| bytes.len() as u64).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_promised_frame_is_lost_whatever_fails(steps in steps(), limit in 60_000_u64..200_000) {
        let disk = MemoryDisk::default();
        let limits = Limits { limit, reserve: 0 };
        let Opened { mut spool, mut heads } = open(&disk, limits, BOOT);
        let mut model = Model::default();
        for step in steps.into_iter().chain([Step::Restart]) {
            match step {
                Step::Append { lane, payload } => {
                    let frame = frame(BOOT, lane, &heads.of(lane), payload, heads.of(lane).last);
                    match spool.append(&frame) {
                        Ok(()) => {
                            *heads.of_mut(lane) = Head::of(frame.header());
                            model.appended.entry(lane).or_default().push(frame);
                        }
                        Err(SpoolError::Full { .. }) => {}
                        Err(error) => prop_assert!(false, "{error}"),
                    }
                }
                Step::FailAppend { lane, cut } => {
                    disk.fail_appends(1);
                    disk.fail_cuts(u32::from(!cut));
                    prop_assert!(spool.append(&frame(BOOT, lane, &heads.of(lane), 900, 1)).is_err());
                    disk.fail_appends(0);
                    disk.fail_cuts(0);
                }
                Step::Sync => {
                    spool.sync().unwrap();
                    for lane in Lane::ALL {
                        // What an earlier failed sync had in it is promised no more.
                        let all = model.appended.get(&lane).map_or(0, Vec::len);
                        if !model.failed_sync { model.synced.insert(lane, all); }
                    }
                }
                Step::FailSync => {
                    disk.fail_syncs(1);
                    model.failed_sync |= spool.sync().is_err();
                    disk.fail_syncs(0);
                }
                Step::Acknowledge { lane, part } => {
                    let last = spool.reader().last(stream(lane)) * part / 100;
                    spool.reader().acknowledge(stream(lane), last);
                    let most = model.durable.entry(lane).or_insert(0);
                    *most = last.max(*most);
                }
                Step::Restart | Step::Crash { .. } => {
                    drop(spool);
                    if let Step::Crash { keep, torn } = step { disk.crash(keep, torn); }
                    if model.failed_sync && matches!(step, Step::Crash { .. }) { return Ok(()); }
                    Opened { spool, heads } = open(&disk, limits, BOOT);
                    model.check(&spool, &heads)?;
                    for (lane, durable) in &model.durable {
                        spool.reader().acknowledge(stream(*lane), *durable);
                    }
                }
            }
            prop_assert!(held(&disk) <= limit);
        }
    }

    #[test]
    fn any_damage_leaves_the_rest_readable(
        payloads in prop::collection::vec(0_usize..2000, 1..12),
        places in prop::collection::vec((0_usize..40_000, any::<u8>()), 1..6),
    ) {
        let disk = MemoryDisk::default();
        let Opened { mut spool, mut heads } = open(&disk, Limits { limit: 64_000, reserve: 0 }, BOOT);
        let written = write(&mut spool, &mut heads, Lane::Protected, &payloads);
        let files: Vec<PathBuf> = disk.files().into_iter().map(|(path, _)| path).collect();
        let mut bad = std::collections::BTreeSet::new();
        for (place, value) in places {
            let mut left = place;
            for path in &files {
                let len = disk.files().iter().find(|(p, _)| p == path).unwrap().1.len();
                if left < len {
                    disk.damage(path, |bytes| bytes[left] = value);
                    break;
                }
                left -= len;
            }
            let mut end = 0;
            for (n, frame) in written.iter().enumerate() {
                let begin = end;
                end += frame.bytes().len();
                if (begin..end).contains(&place) { bad.insert(n); }
            }
        }
        let again = open(&disk, WIDE, BOOT);
        let found = read(&again.spool, stream(Lane::Protected), 0);
        let whole: Vec<_> = written.iter().enumerate().filter(|(n, _)| !bad.contains(n)).map(|(_, f)| f).collect();
        for frame in whole {
            prop_assert!(found.iter().any(|f| f.bytes() == frame.bytes()), "a whole frame is not found");
        }
        for frame in &found {
            prop_assert!(written.iter().any(|f| f.bytes() == frame.bytes()), "a frame that was never written");
        }
    }
}
