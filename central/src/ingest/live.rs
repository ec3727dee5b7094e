//! The live streams: one a host. A newer one takes the place of an older one, which may be a connection
//! that died without a word; it begins when the older one's frames are on disk or given up.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use graven_record::id::{BootId, HostId, Lane};
use tokio::sync::watch;

/// Gaps remembered of a host between its streams, the newest: frames that were under way behind a gap are
/// gaps too.
const GAPS: usize = 256;
/// Hosts whose gaps are remembered while they are away; beyond it a host is told of its gap once more.
const HOSTS: usize = 65_536;

/// A gap that a host was told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Of the kernel.
    pub boot: BootId,
    /// Which lane.
    pub lane: Lane,
    /// First missing.
    pub from: u64,
    /// Last missing.
    pub to: u64,
}

/// All live streams.
#[derive(Clone, Default)]
pub struct Live(Arc<Mutex<Hosts>>);

#[derive(Default)]
struct Hosts {
    next: u64,
    streams: HashMap<HostId, Stream>,
    gaps: HashMap<HostId, VecDeque<Gap>>,
}

struct Stream {
    number: u64,
    stop: watch::Sender<bool>,
    /// Closed when the stream's last word to the store is answered.
    ended: watch::Receiver<()>,
}

/// A stream's right to be its host's; gives it up when dropped.
pub struct Claim {
    live: Live,
    host: HostId,
    number: u64,
    stopped: watch::Receiver<bool>,
    _ended: watch::Sender<()>,
}

impl Live {
    /// Takes the host's place; tells an older stream to end and waits until it has.
    pub async fn claim(&self, host: HostId) -> Claim {
        let (stop, stopped) = watch::channel(false);
        let (ended_when_dropped, ended) = watch::channel(());
        let (number, older) = self.with(|hosts| {
            hosts.next += 1;
            let number = hosts.next;
            let older = hosts.streams.insert(host, Stream { number, stop, ended });
            (number, older)
        });
        if let Some(older) = older {
            older.stop.send_replace(true);
            let mut ended = older.ended;
            // Ends with an error when the older stream drops its claim: that is the sign.
            while ended.changed().await.is_ok() {}
        }
        Claim { live: self.clone(), host, number, stopped, _ended: ended_when_dropped }
    }

    /// Hosts with a stream.
    pub fn count(&self) -> usize {
        self.with(|hosts| hosts.streams.len())
    }

    fn with<T>(&self, f: impl FnOnce(&mut Hosts) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Claim {
    /// Resolves when a newer stream wants the place.
    pub async fn replaced(&mut self) {
        while !*self.stopped.borrow_and_update() {
            if self.stopped.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Was the host told of this gap before? Then it is forgotten, because the frame is taken now, and with
    /// it what began no later in that lane: the head has passed it.
    pub fn insists(&self, gap: Gap) -> bool {
        self.live.with(|hosts| {
            let Some(gaps) = hosts.gaps.get_mut(&self.host) else { return false };
            let insisted = gaps.contains(&gap);
            if insisted {
                let lane = (gap.boot, gap.lane);
                gaps.retain(|told| (told.boot, told.lane) != lane || told.from > gap.to);
            }
            if gaps.is_empty() {
                hosts.gaps.remove(&self.host);
            }
            insisted
        })
    }

    /// The host is told of it now.
    pub fn remember(&self, gap: Gap) {
        self.live.with(|hosts| {
            if hosts.gaps.len() >= HOSTS && !hosts.gaps.contains_key(&self.host) {
                return;
            }
            let gaps = hosts.gaps.entry(self.host).or_default();
            if gaps.contains(&gap) {
                return;
            }
            if gaps.len() >= GAPS {
                gaps.pop_front();
            }
            gaps.push_back(gap);
        });
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.live.with(|hosts| {
            if hosts.streams.get(&self.host).is_some_and(|stream| stream.number == self.number) {
                hosts.streams.remove(&self.host);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: HostId = HostId([1; 32]);

    #[tokio::test]
    async fn a_newer_stream_waits_until_the_older_one_has_ended() {
        let live = Live::default();
        let mut older = live.claim(HOST).await;
        let newer = tokio::spawn({
            let live = live.clone();
            async move { live.claim(HOST).await }
        });
        older.replaced().await;
        assert!(!newer.is_finished());
        drop(older);
        let newer = newer.await;
        assert!(newer.is_ok());
        assert_eq!(live.count(), 1);
        drop(newer);
        assert_eq!(live.count(), 0);
    }

    #[tokio::test]
    async fn a_gap_is_insisted_on_once() {
        let claim = Live::default().claim(HOST).await;
        let gap = Gap { boot: BootId([0; 16]), lane: Lane::Protected, from: 1, to: 2 };
        assert!(!claim.insists(gap));
        claim.remember(gap);
        assert!(claim.insists(gap));
        assert!(!claim.insists(gap));
    }

    #[tokio::test]
    async fn a_gap_that_is_taken_forgets_what_the_head_has_passed_and_the_oldest_makes_room() {
        let claim = Live::default().claim(HOST).await;
        let gap = |from, to, lane| Gap { boot: BootId([0; 16]), lane, from, to };
        // The frames under way behind a gap: one gap each, from the same head.
        for to in 5..9 {
            claim.remember(gap(3, to, Lane::Protected));
        }
        claim.remember(gap(20, 30, Lane::Protected));
        claim.remember(gap(3, 5, Lane::Activity));
        assert!(claim.insists(gap(3, 5, Lane::Protected)));
        assert!(!claim.insists(gap(3, 6, Lane::Protected)));
        assert!(claim.insists(gap(3, 5, Lane::Activity)));
        assert!(claim.insists(gap(20, 30, Lane::Protected)));
        for from in 0..=GAPS as u64 {
            claim.remember(gap(from, from, Lane::Protected));
        }
        assert!(!claim.insists(gap(0, 0, Lane::Protected)));
        assert!(claim.insists(gap(GAPS as u64, GAPS as u64, Lane::Protected)));
    }
}
