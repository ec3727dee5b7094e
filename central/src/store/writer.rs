//! The thread that owns the store: groups what waits into one commit and answers when it is durable.
//!
//! Writes and questions are taken in the order in which they came, so whoever asks sees what it wrote.

use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::{Store, StoreError, Write, Written};

/// Writes in one commit: an fsync is shared by so many; more would let the first wait too long.
const GROUP: usize = 256;
/// Bytes of frames in one commit: keeps a transaction's memory small.
const GROUP_BYTES: usize = 32 << 20;
/// Writes and questions that may wait: beyond it the streams wait, and the hosts keep what they have.
const QUEUE: usize = 1_024;

type Question = Box<dyn FnOnce(Result<&dyn Store, StoreError>) + Send>;
type Opener = Box<dyn FnMut() -> Result<Box<dyn Store + Send>, StoreError> + Send>;

enum Job {
    Write(Box<Write>, oneshot::Sender<Written>),
    Ask(Question),
}

/// A way to the store's thread.
#[derive(Clone)]
pub struct Writer {
    jobs: mpsc::Sender<Job>,
}

/// The clock of the central log: ns since the Unix epoch.
pub type Clock = fn() -> i64;

impl Writer {
    /// Starts the thread. `open` is called now, and again after an error, so that what a failed commit left
    /// half done is compared afresh before anything else is taken.
    pub fn start(mut open: Opener, clock: Clock) -> Result<(Self, JoinHandle<()>), StoreError> {
        let store = open()?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || run(queue, store, open, clock))
            .map_err(|_| StoreError::Stopped)?;
        Ok((Self { jobs }, thread))
    }

    /// Queues a write. The receiver yields when it is durable; it fails when it could not be made durable.
    pub async fn write(&self, write: Write) -> Result<oneshot::Receiver<Written>, StoreError> {
        let (done, answer) = oneshot::channel();
        self.jobs.send(Job::Write(Box::new(write), done)).await.map_err(|_| StoreError::Stopped)?;
        Ok(answer)
    }

    /// Asks the store.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (done, answer) = oneshot::channel();
        let ask: Question = Box::new(move |store| {
            // The asker may have gone: then nobody needs the answer.
            let _ = done.send(store.and_then(question));
        });
        self.jobs.send(Job::Ask(ask)).await.map_err(|_| StoreError::Stopped)?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }
}

fn run(mut queue: mpsc::Receiver<Job>, store: Box<dyn Store + Send>, mut open: Opener, clock: Clock) {
    let mut store = Some(store);
    let mut next = None;
    while let Some(job) = next.take().or_else(|| queue.blocking_recv()) {
        if store.is_none() {
            match open() {
                Ok(opened) => store = Some(opened),
                Err(e) => tracing::error!(error = %sentence(&e), "the store cannot be opened"),
            }
        }
        match job {
            Job::Ask(question) => {
                question(store.as_deref().map(|s| s as &dyn Store).ok_or(StoreError::Stopped))
            }
            Job::Write(write, done) => {
                let (group, waiting, rest) = gather(*write, done, &mut queue);
                next = rest;
                let committed = store.as_mut().map(|store| store.commit(&group, clock()));
                match committed {
                    Some(Ok(answers)) => answer(waiting, answers),
                    Some(Err(e)) => {
                        tracing::error!(error = %sentence(&e), "nothing of this group is acknowledged");
                        store = None;
                    }
                    None => {}
                }
            }
        }
    }
}

/// Takes what waits, up to the bounds and not beyond a question.
fn gather(
    first: Write,
    done: oneshot::Sender<Written>,
    queue: &mut mpsc::Receiver<Job>,
) -> (Vec<Write>, Vec<oneshot::Sender<Written>>, Option<Job>) {
    let mut bytes = size(&first);
    let (mut group, mut waiting) = (vec![first], vec![done]);
    while group.len() < GROUP && bytes < GROUP_BYTES {
        match queue.try_recv() {
            Ok(Job::Write(write, done)) => {
                bytes += size(&write);
                group.push(*write);
                waiting.push(done);
            }
            Ok(ask) => return (group, waiting, Some(ask)),
            Err(_) => break,
        }
    }
    (group, waiting, None)
}

fn size(write: &Write) -> usize {
    match write {
        Write::Frame { verified, .. } => verified.frame.bytes().len(),
        _ => 0,
    }
}

fn answer(waiting: Vec<oneshot::Sender<Written>>, answers: Vec<Written>) {
    for (done, written) in waiting.into_iter().zip(answers) {
        // A stream that ended does not wait for its answer; the frame is stored all the same.
        let _ = done.send(written);
    }
}

/// An error with its causes, for the log.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use graven_record::id::{BootId, HostId, Lane};

    use super::*;
    use crate::query::{Damage, Found, Query, Row};
    use crate::store::{HostRow, Made};
    use crate::verify::{Epoch, EpochName, LaneHead, Stored};

    /// Notes the size of each commit; fails the commits that it is told to.
    struct Fake {
        commits: Arc<Mutex<Vec<usize>>>,
        fails: bool,
    }

    impl Store for Fake {
        fn commit(&mut self, group: &[Write], _: i64) -> Result<Vec<Written>, StoreError> {
            if self.fails {
                return Err(StoreError::Stopped);
            }
            self.commits.lock().unwrap().push(group.len());
            Ok(vec![Written::Stored; group.len()])
        }
        fn heads(&self, _: i64, _: usize) -> Result<Vec<(BootId, Lane, LaneHead)>, StoreError> {
            Ok(Vec::new())
        }
        fn head(&self, _: i64, _: BootId, _: Lane) -> Result<LaneHead, StoreError> {
            Ok(LaneHead::NONE)
        }
        fn epoch(&self, _: i64, _: &EpochName) -> Result<Option<Epoch>, StoreError> {
            Ok(None)
        }
        fn stored(&self, _: i64, _: BootId, _: Lane, _: u64, _: u64) -> Result<Stored, StoreError> {
            Ok(Stored::Nothing)
        }
        fn made(&self, _: i64, _: BootId, _: Lane, _: u64) -> Result<Option<Made>, StoreError> {
            Ok(None)
        }
        fn host(&self, _: &HostId) -> Result<Option<HostRow>, StoreError> {
            Ok(None)
        }
        fn find(&self, _: &Query) -> Result<Vec<Row>, StoreError> {
            Ok(Vec::new())
        }
        fn frames(&self, _: &[Row]) -> Result<Vec<Result<Found, Damage>>, StoreError> {
            Ok(Vec::new())
        }
    }

    fn seen(host: i64) -> Write {
        Write::Seen { host, hostname: String::new() }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_failed_commit_acknowledges_nothing_and_the_store_is_opened_again() {
        let opened = Arc::new(AtomicUsize::new(0));
        let commits = Arc::new(Mutex::new(Vec::new()));
        let (count, sizes) = (Arc::clone(&opened), Arc::clone(&commits));
        let open = move || {
            let fails = count.fetch_add(1, Ordering::SeqCst) == 0;
            Ok(Box::new(Fake { commits: Arc::clone(&sizes), fails }) as Box<dyn Store + Send>)
        };
        let (writer, thread) = Writer::start(Box::new(open), || 0).unwrap();
        assert!(writer.write(seen(1)).await.unwrap().await.is_err());
        assert_eq!(writer.write(seen(1)).await.unwrap().await, Ok(Written::Stored));
        assert_eq!(opened.load(Ordering::SeqCst), 2);
        drop(writer);
        thread.join().unwrap();
        assert_eq!(*commits.lock().unwrap(), [1]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_waits_shares_a_commit_and_a_question_sees_what_was_written_before_it() {
        let commits = Arc::new(Mutex::new(Vec::new()));
        let sizes = Arc::clone(&commits);
        let open =
            move || Ok(Box::new(Fake { commits: Arc::clone(&sizes), fails: false }) as Box<dyn Store + Send>);
        let (writer, _thread) = Writer::start(Box::new(open), || 0).unwrap();
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let (begun, begins) = oneshot::channel::<()>();
        tokio::spawn({
            let writer = writer.clone();
            // The store's thread stands still in this question while the writes queue up behind it.
            let wait = move |_: &dyn Store| {
                begun.send(()).unwrap();
                held.recv().unwrap();
                Ok(())
            };
            async move { writer.ask(wait).await }
        });
        begins.await.unwrap();
        let mut answers = Vec::new();
        for host in 0..300 {
            answers.push(writer.write(seen(host)).await.unwrap());
        }
        let asked = tokio::spawn({
            let (writer, commits) = (writer.clone(), Arc::clone(&commits));
            async move { writer.ask(move |_| Ok(commits.lock().unwrap().iter().sum::<usize>())).await.unwrap() }
        });
        hold.send(()).unwrap();
        for answer in answers {
            assert_eq!(answer.await, Ok(Written::Stored));
        }
        assert_eq!(asked.await.unwrap(), 300);
        assert_eq!(*commits.lock().unwrap(), [GROUP, 300 - GROUP]);
    }
}
