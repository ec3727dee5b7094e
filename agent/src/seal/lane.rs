//! One lane's queue: what was judged and is not yet in a frame.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use graven_record::batch::MAX_RECORDS;
use graven_record::v1::{Context, Record};

/// A record waits at most this long for others (ns).
const MAX_WAIT: u64 = 100_000_000;
/// Bytes at which a batch is closed: with one record and its private values on top it stays far below what
/// a frame holds (4 MiB each for the public and the private part).
const BATCH_BYTES: usize = 1 << 20;
/// Most records that wait: ten seconds of a heavy load while the disk stands still.
const MAX_QUEUE: usize = 10_000;
/// Most bytes that wait.
const MAX_QUEUE_BYTES: usize = 32 << 20;

/// One waiting record.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) record: Box<Record>,
    pub(super) private: Vec<Bytes>,
    /// Encoded, private values included.
    pub(super) bytes: usize,
    /// When it came, boot ns.
    pub(super) since: u64,
    /// What held for it when it was judged.
    pub(super) context: Arc<Context>,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

impl Queue {
    /// False when there is no room.
    pub(super) fn push(&mut self, waiting: Waiting) -> bool {
        let room = self.waiting.len() < MAX_QUEUE && self.bytes + waiting.bytes <= MAX_QUEUE_BYTES;
        if room {
            self.bytes += waiting.bytes;
            self.waiting.push_back(waiting);
        }
        room
    }

    /// When the next batch must be sealed at the latest, boot ns.
    pub(super) fn due(&self) -> Option<u64> {
        let full = self.waiting.len() >= MAX_RECORDS || self.bytes >= BATCH_BYTES;
        self.waiting.front().map(|first| if full { 0 } else { first.since.saturating_add(MAX_WAIT) })
    }

    /// When the first of them came, boot ns.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.waiting.front().map(|first| first.since)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What the oldest record was judged under.
    pub(super) fn context(&self) -> Option<Arc<Context>> {
        self.waiting.front().map(|first| Arc::clone(&first.context))
    }

    /// The next batch: at most `count` records, all judged under one context.
    pub(super) fn take(&mut self, count: usize) -> Vec<Waiting> {
        let mut batch: Vec<Waiting> = Vec::new();
        let mut bytes = 0;
        while batch.len() < count && bytes < BATCH_BYTES {
            let same = |next: &mut Waiting| {
                batch.first().is_none_or(|first| Arc::ptr_eq(&first.context, &next.context))
            };
            let Some(next) = self.waiting.pop_front_if(same) else { break };
            bytes += next.bytes;
            batch.push(next);
        }
        self.bytes -= bytes;
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(bytes: usize, since: u64, context: &Arc<Context>) -> Waiting {
        Waiting { record: Box::default(), private: Vec::new(), bytes, since, context: Arc::clone(context) }
    }

    #[test]
    fn a_batch_is_due_when_it_is_full_large_or_old() {
        let context = Arc::default();
        let mut queue = Queue::default();
        assert_eq!(queue.due(), None);
        assert!(queue.push(waiting(10, 5, &context)));
        assert_eq!(queue.due(), Some(5 + MAX_WAIT));
        assert!(queue.push(waiting(BATCH_BYTES, 6, &context)));
        assert_eq!(queue.due(), Some(0));
        assert_eq!(queue.take(100).len(), 2);
        (0..MAX_RECORDS as u64).for_each(|n| assert!(queue.push(waiting(10, n, &context))));
        assert_eq!(queue.due(), Some(0));
        assert_eq!(queue.take(30).len(), 30);
        assert_eq!(queue.take(100).len(), 70);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_batch_ends_where_the_context_changes() {
        let (old, new) = (Arc::default(), Arc::new(Context::default()));
        let mut queue = Queue::default();
        for context in [&old, &old, &new] {
            assert!(queue.push(waiting(10, 1, context)));
        }
        assert_eq!(queue.take(100).len(), 2);
        assert_eq!(queue.take(100).len(), 1);
    }

    #[test]
    fn a_full_queue_refuses() {
        let context = Arc::default();
        let mut queue = Queue::default();
        (0..MAX_QUEUE).for_each(|_| assert!(queue.push(waiting(1, 1, &context))));
        assert!(!queue.push(waiting(1, 1, &context)));
        let mut queue = Queue::default();
        assert!(queue.push(waiting(MAX_QUEUE_BYTES, 1, &context)));
        assert!(!queue.push(waiting(1, 1, &context)));
    }
}
