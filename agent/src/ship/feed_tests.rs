#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::Path;

use ed25519_dalek::SigningKey;
use graven_record::id::{BootId, HostId, Lane};
use graven_record::v1::{self, record::Event};

use super::*;
use crate::policy::Judged;
use crate::seal::{Now, Opening, Sealer, new_run};
use crate::spool::{Limits, Opened, Spool};

const HOST: HostId = HostId([1; 32]);
const LIMITS: Limits = Limits { limit: 1 << 30, reserve: 0 };

struct Host {
    sealer: Sealer,
    spool: Spool,
    boot: BootId,
}

impl Host {
    fn open(root: &Path, boot: BootId) -> Self {
        let Opened { spool, heads } = Spool::open(root, LIMITS, HOST, boot).unwrap();
        let start_key = SigningKey::from_bytes(&[9; 32]);
        let opening = Opening {
            host: HOST,
            start_key: &start_key,
            boot,
            run: new_run().unwrap(),
            heads,
            context: v1::Context::default(),
            reason: "start".into(),
        };
        Self { sealer: Sealer::open(opening, Now::read()).unwrap(), spool, boot }
    }

    /// So many frames with one record each (and the certificate in the first).
    fn write(&mut self, lane: Lane, frames: usize) {
        for _ in 0..frames {
            let record =
                v1::Record { event: Some(Event::Exit(v1::Exit::default())), ..v1::Record::default() };
            self.sealer.push(Judged { record: Box::new(record), lane, private: Vec::new() }, Now::read());
            let frame = self.sealer.rest(Now::read()).unwrap().unwrap();
            self.spool.append(&frame).unwrap();
        }
        self.spool.sync().unwrap();
    }

    fn feed(&self) -> Feed {
        Feed::new(self.spool.reader())
    }

    fn durable(&self, lane: Lane, sequence: u64) -> Durable {
        Durable { boot: self.boot.0.to_vec(), lane: lane.number().into(), sequence }
    }
}

/// Lanes and last sequences of all that the feed gives.
fn drain(feed: &mut Feed) -> Vec<(u32, u64)> {
    std::iter::from_fn(|| feed.next()).map(|sealed| (sealed.last.lane, sealed.last.sequence)).collect()
}

#[test]
fn nothing_goes_before_it_is_wanted_and_protected_goes_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut host = Host::open(&dir.path().join("s"), BootId([2; 16]));
    host.write(Lane::Activity, 2);
    host.write(Lane::Protected, 2);
    let mut feed = host.feed();
    feed.resume(7, &[]);
    assert!(feed.next().is_none());
    feed.want(6, 9);
    assert!(feed.next().is_none(), "a wish of an older session");
    feed.want(7, 3);
    assert_eq!(drain(&mut feed), [(1, 2), (1, 3), (2, 2)]);
    feed.want(7, 3);
    assert_eq!(drain(&mut feed), [(2, 3)]);
    host.write(Lane::Activity, 1);
    assert_eq!(drain(&mut feed), [(2, 4)]);
}

#[test]
fn each_session_begins_where_the_central_log_says() {
    let dir = tempfile::tempdir().unwrap();
    let mut host = Host::open(&dir.path().join("s"), BootId([2; 16]));
    host.write(Lane::Protected, 4);
    let mut feed = host.feed();
    for (session, durable, expected) in [(1, 3, vec![4, 5]), (2, 0, vec![2, 3, 4, 5]), (3, 5, vec![])] {
        feed.resume(session, &[host.durable(Lane::Protected, durable)]);
        feed.want(session, 9);
        assert_eq!(drain(&mut feed), expected.iter().map(|last| (1, *last)).collect::<Vec<_>>());
    }
}

#[test]
fn frames_of_an_older_boot_go_too() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("s");
    Host::open(&root, BootId([2; 16])).write(Lane::Activity, 1);
    let mut host = Host::open(&root, BootId([3; 16]));
    host.write(Lane::Protected, 1);
    let mut feed = host.feed();
    feed.resume(1, &[host.durable(Lane::Protected, 0)]);
    feed.want(1, 9);
    let boots: Vec<u8> = std::iter::from_fn(|| feed.next()).map(|sealed| sealed.last.boot[0]).collect();
    assert_eq!(boots, [3, 2]);
}

#[test]
fn a_refused_frame_is_kept_and_passed_over_ever_after() {
    let dir = tempfile::tempdir().unwrap();
    let mut host = Host::open(&dir.path().join("s"), BootId([2; 16]));
    host.write(Lane::Protected, 3);
    let mut feed = host.feed();
    feed.resume(1, &[]);
    feed.refuse(&Refused { boot: vec![2; 16], lane: 1, first: 3, last: 3, reason: "no".into() });
    feed.want(1, 9);
    assert_eq!(drain(&mut feed), [(1, 2), (1, 4)]);
    feed.resume(2, &[]);
    feed.want(2, 9);
    assert_eq!(drain(&mut feed), [(1, 2), (1, 4)]);
    let kept = dir.path().join("s").join(host.boot.to_string()).join("protected/sequence-3.refused");
    let kept = Frame::parse(&std::fs::read(kept).unwrap()).unwrap();
    assert_eq!(kept.header().first, 3);
}

#[test]
fn a_spool_that_was_emptied_is_sent_whole_and_not_taken_for_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let mut host = Host::open(&dir.path().join("s"), BootId([2; 16]));
    host.write(Lane::Protected, 2);
    let mut feed = host.feed();
    feed.resume(1, &[host.durable(Lane::Protected, 500)]);
    feed.want(1, 9);
    assert_eq!(drain(&mut feed), [(1, 2), (1, 3)]);
}

#[test]
fn it_is_settled_when_everything_is_delivered_or_nobody_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut host = Host::open(&dir.path().join("s"), BootId([2; 16]));
    host.write(Lane::Protected, 2);
    let mut feed = host.feed();
    assert!(feed.is_settled());
    feed.resume(1, &[host.durable(Lane::Protected, 2)]);
    assert!(!feed.is_settled());
    feed.receive(&[host.durable(Lane::Protected, 3)]);
    assert!(feed.is_settled());
    host.write(Lane::Activity, 1);
    assert!(!feed.is_settled());
    feed.away();
    assert!(feed.is_settled());
}
