//! One host's stream: `Open`, `Resume`, then frames and heartbeats up, receipts and refusals down.

use std::collections::{BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use graven_record::frame::Header;
use graven_record::id::{BootId, HostId, Lane};
use graven_record::wire::downward::Message as Down;
use graven_record::wire::ingest_server::Ingest;
use graven_record::wire::upward::Message as Up;
use graven_record::wire::{Ack, Downward, Durable, Open, Refused, Resume, Upward};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::incoming;
use super::live::{Claim, Live};
use super::session::{LaneName, Session, Step};
use super::{BYTES_UNDER_WAY, WINDOW};
use crate::authority::ca::host_of_certificate;
use crate::store::writer::Writer;
use crate::store::{Finding, HostRow, StoreError, Write, Written};
use crate::verify::{Place, Refusal, Verified};

/// `Open` comes at once or the connection is of no use.
const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// A host sends a heartbeat every 10 s: six missed ones are a dead connection.
const SILENCE: Duration = Duration::from_secs(60);
/// A host that does not read its receipts for so long is not there.
const SEND_WITHIN: Duration = Duration::from_secs(30);
/// Answers on their way down.
const ANSWERS: usize = 16;
/// Frames refused before the stream ends: what keeps sending them is broken or hostile.
const REFUSALS: u32 = 256;
/// The byte budget is counted in these, because a semaphore counts to 2^29.
const UNIT: usize = 1024;

/// The service.
#[derive(Clone)]
pub struct Streams {
    store: Writer,
    live: Live,
    bytes: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

impl Streams {
    /// Streams into this store, until `stop` says true.
    pub fn new(store: Writer, stop: watch::Receiver<bool>) -> Self {
        Self { store, live: Live::default(), bytes: Arc::new(Semaphore::new(BYTES_UNDER_WAY / UNIT)), stop }
    }
}

#[tonic::async_trait]
impl Ingest for Streams {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<Downward, Status>> + Send>>;

    async fn stream(
        &self,
        request: Request<Streaming<Upward>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        incoming::spoke(&request);
        let id = certified(&request)?;
        let (answers, receiver) = mpsc::channel(ANSWERS);
        let streams = self.clone();
        tokio::spawn(async move {
            let end = streams.serve(id, request.into_inner(), &answers).await;
            if let Err(status) = end {
                tracing::info!(host = %id, reason = status.message(), "a stream ended");
                // The host may have gone already.
                let _ = timeout(SEND_WITHIN, answers.send(Err(status))).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// The host that the client certificate names; TLS has verified it against our CA.
fn certified(request: &Request<Streaming<Upward>>) -> Result<HostId, Status> {
    let certificates = incoming::certificates(request).unwrap_or_default();
    let first = certificates.first().ok_or_else(|| {
        Status::unauthenticated("frames need a host certificate: enrol with `graven-agent enrol`")
    })?;
    host_of_certificate(first).ok_or_else(|| Status::unauthenticated("the certificate names no host"))
}

fn unavailable(error: &StoreError) -> Status {
    tracing::error!(error = ?error, "the store failed under a stream");
    Status::unavailable("the central log cannot store now: keep the frames and try again")
}

impl Streams {
    async fn serve(&self, id: HostId, mut up: Streaming<Upward>, down: &Answers) -> Result<(), Status> {
        let host = self.store.ask(move |store| store.host(&id)).await.map_err(|e| unavailable(&e))?;
        let host =
            host.ok_or_else(|| Status::permission_denied("this host is not enrolled here: enrol it again"))?;
        let open = timeout(OPEN_WITHIN, up.message()).await;
        let open = match open.map_err(|_| Status::deadline_exceeded("no Open came"))?? {
            Some(Upward { message: Some(Up::Open(open)) }) => open,
            _ => return Err(Status::invalid_argument("the first message must be Open")),
        };
        let boot = self.opened(&host, &open).await?;
        let claim = self.live.claim(id).await;
        let session = Session::begin(host, boot, self.store.clone()).await.map_err(|e| unavailable(&e))?;
        let mut talk = Talk {
            session,
            claim,
            store: self.store.clone(),
            bytes: Arc::clone(&self.bytes),
            pending: VecDeque::new(),
            due: BTreeSet::new(),
            refusals: 0,
            down,
        };
        talk.resume().await?;
        let end = talk.run(&mut up, self.stop.clone()).await;
        // The next stream of this host must see what this one had under way.
        talk.settle().await;
        end
    }

    /// Checks and records an `Open`.
    async fn opened(&self, host: &HostRow, open: &Open) -> Result<BootId, Status> {
        let boot = BootId::from_slice(&open.boot).map_err(|e| Status::invalid_argument(e.to_string()))?;
        if open.host != host.id.0 {
            let reason = "an Open names another host than the certificate".to_owned();
            let (kind, number) = ("host".to_owned(), host.number);
            let finding = Finding { host: number, kind, boot, lane: 0, first: 0, last: 0, reason };
            note(&self.store, finding).await?;
            return Err(Status::permission_denied("the host in Open is not the certificate's"));
        }
        let seen = Write::Seen { host: host.number, hostname: open.hostname.clone() };
        self.store.write(seen).await.map_err(|e| unavailable(&e))?;
        Ok(boot)
    }
}

/// Writes a finding down before the host hears of it.
async fn note(store: &Writer, finding: Finding) -> Result<(), Status> {
    let noted = store.write(Write::Finding(finding)).await.map_err(|e| unavailable(&e))?;
    noted.await.map(drop).map_err(|_| unavailable(&StoreError::Stopped))
}

type Answers = mpsc::Sender<Result<Downward, Status>>;

/// A frame that the store has and has not answered for.
struct Pending {
    lane: LaneName,
    sent: Sent,
    answer: oneshot::Receiver<Written>,
    _bytes: OwnedSemaphorePermit,
}

/// What is remembered of a frame under way.
struct Sent {
    header: Header,
    late: bool,
}

struct Talk<'a> {
    session: Session,
    claim: Claim,
    store: Writer,
    bytes: Arc<Semaphore>,
    pending: VecDeque<Pending>,
    /// Lanes whose durable sequence the host has not heard since it moved.
    due: BTreeSet<LaneName>,
    refusals: u32,
    down: &'a Answers,
}

enum Event {
    Message(Option<Upward>),
    Answered(Result<Written, oneshot::error::RecvError>),
}

impl Talk<'_> {
    async fn run(
        &mut self,
        up: &mut Streaming<Upward>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), Status> {
        loop {
            let room = self.pending.len() < WINDOW as usize;
            let waiting = !self.pending.is_empty();
            let event = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return Err(Status::unavailable("the central log stops: come again")),
                () = self.claim.replaced() => return Err(Status::aborted("a newer stream of this host took its place")),
                answer = front(&mut self.pending), if waiting => Event::Answered(answer),
                message = timeout(SILENCE, up.message()), if room => match message {
                    Ok(message) => Event::Message(message?),
                    Err(_) => return Err(Status::deadline_exceeded("no heartbeat for a minute")),
                },
            };
            match event {
                Event::Message(None) => return Ok(()),
                Event::Message(Some(message)) => self.hear(message).await?,
                Event::Answered(answer) => self.answered(answer).await?,
            }
            self.acknowledge().await?;
        }
    }

    async fn hear(&mut self, message: Upward) -> Result<(), Status> {
        match message.message {
            Some(Up::Frame(bytes)) => self.frame(&bytes).await,
            Some(Up::Heartbeat(heartbeat)) => {
                let writes = self.session.beat(heartbeat).await.map_err(|e| unavailable(&e))?;
                for write in writes {
                    self.store.write(write).await.map_err(|e| unavailable(&e))?;
                }
                Ok(())
            }
            Some(Up::Open(_)) => Err(Status::invalid_argument("a stream is opened once")),
            // A newer agent may say more than this release knows.
            None => Ok(()),
        }
    }

    async fn frame(&mut self, bytes: &[u8]) -> Result<(), Status> {
        let permit = self.room(bytes.len()).await?;
        match self.session.judge(bytes, &self.claim).await.map_err(|e| unavailable(&e))? {
            Step::Acknowledge(lane) => {
                self.due.insert(lane);
                Ok(())
            }
            Step::Refuse(finding, refused) => self.refuse(finding, refused).await,
            Step::Store(verified, finding) => self.store(verified, finding, permit).await,
        }
    }

    /// Waits for room among the bytes under way, and goes on taking answers meanwhile: the room that is
    /// missing may be this stream's own.
    async fn room(&mut self, bytes: usize) -> Result<OwnedSemaphorePermit, Status> {
        let units = u32::try_from(bytes / UNIT + 1).unwrap_or(u32::MAX);
        let mut acquiring = std::pin::pin!(Arc::clone(&self.bytes).acquire_many_owned(units));
        loop {
            let waiting = !self.pending.is_empty();
            tokio::select! {
                permit = &mut acquiring => return permit.map_err(|_| unavailable(&StoreError::Stopped)),
                answer = front(&mut self.pending), if waiting => self.answered(answer).await?,
            }
        }
    }

    async fn store(
        &mut self,
        verified: Box<Verified>,
        finding: Option<Finding>,
        permit: OwnedSemaphorePermit,
    ) -> Result<(), Status> {
        if let Some(finding) = finding {
            // Before the frame: a commit that fails must not leave a gap that nobody hears of.
            note(&self.store, finding).await?;
        }
        let header = verified.frame.header().clone();
        let lane = (header.boot, header.lane);
        let sent = Sent { header, late: verified.place == Place::Late };
        let write = Write::Frame { host: self.session.number(), verified };
        let answer = self.store.write(write).await.map_err(|e| unavailable(&e))?;
        self.pending.push_back(Pending { lane, sent, answer, _bytes: permit });
        Ok(())
    }

    async fn refuse(&mut self, finding: Option<Finding>, refused: Refused) -> Result<(), Status> {
        tracing::warn!(reason = refused.reason, retry = refused.retry, "a frame was refused");
        let lane = Lane::from_number(refused.lane).ok().zip(BootId::from_slice(&refused.boot).ok());
        self.due.extend(lane.map(|(lane, boot)| (boot, lane)));
        if let Some(finding) = finding {
            note(&self.store, finding).await?;
        }
        self.send(Down::Refused(refused)).await?;
        self.refusals += 1;
        if self.refusals >= REFUSALS {
            return Err(Status::failed_precondition("too many frames of this stream were refused"));
        }
        Ok(())
    }

    /// The store answered for the oldest frame under way.
    async fn answered(&mut self, answer: Result<Written, oneshot::error::RecvError>) -> Result<(), Status> {
        let Some(done) = self.pending.pop_front() else { return Ok(()) };
        match answer {
            Ok(Written::Stored | Written::Already) => {
                if !done.sent.late {
                    self.session.stored(done.lane, done.sent.header.last);
                }
                self.due.insert(done.lane);
                Ok(())
            }
            Ok(Written::Conflict) => {
                self.session.forget();
                match self.session.refuse(&Refusal::Fork, Some(&done.sent.header)) {
                    Step::Refuse(finding, refused) => self.refuse(finding, refused).await,
                    _ => Ok(()),
                }
            }
            // A commit failed under this stream: the next one begins at what is on disk.
            Ok(Written::Unfollowed) => {
                Err(Status::unavailable("the frame before this one was not stored: send from there again"))
            }
            Err(_) => Err(unavailable(&StoreError::Stopped)),
        }
    }

    async fn resume(&mut self) -> Result<(), Status> {
        let durable = self.durable(self.session.lanes());
        self.send(Down::Resume(Resume { durable, window: WINDOW })).await
    }

    /// One receipt for all that is ready: the store answers a group at once.
    async fn acknowledge(&mut self) -> Result<(), Status> {
        while let Some(front) = self.pending.front_mut() {
            match front.answer.try_recv() {
                Ok(written) => self.answered(Ok(written)).await?,
                Err(oneshot::error::TryRecvError::Empty) => break,
                Err(oneshot::error::TryRecvError::Closed) => {
                    // An answer that was taken must not be waited for again.
                    self.pending.pop_front();
                    return Err(unavailable(&StoreError::Stopped));
                }
            }
        }
        if self.due.is_empty() {
            return Ok(());
        }
        let lanes = std::mem::take(&mut self.due);
        let durable = self.durable(lanes);
        self.send(Down::Ack(Ack { durable, window: WINDOW })).await
    }

    fn durable(&self, lanes: impl IntoIterator<Item = LaneName>) -> Vec<Durable> {
        let one = |name: LaneName| Durable {
            boot: name.0.0.to_vec(),
            lane: name.1.number().into(),
            sequence: self.session.durable(&name),
        };
        lanes.into_iter().map(one).collect()
    }

    async fn send(&self, message: Down) -> Result<(), Status> {
        let message = Ok(Downward { message: Some(message) });
        match timeout(SEND_WITHIN, self.down.send(message)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Status::cancelled("the host does not read its receipts")),
        }
    }

    /// Waits until nothing of this stream is under way in the store.
    async fn settle(&mut self) {
        for pending in self.pending.drain(..) {
            // Whatever became of it, the host asks again when it resumes.
            let _ = pending.answer.await;
        }
    }
}

async fn front(pending: &mut VecDeque<Pending>) -> Result<Written, oneshot::error::RecvError> {
    match pending.front_mut() {
        Some(first) => (&mut first.answer).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;
    use crate::data::DataDir;
    use crate::fixture::Host;
    use crate::store::Store;
    use crate::store::sqlite::Sqlite;

    fn row(host: &Host) -> HostRow {
        HostRow {
            number: 1,
            id: host.id(),
            hostname: String::new(),
            group: String::new(),
            start_key: host.start_key.verifying_key(),
            enrolled_at: 0,
            serial: Vec::new(),
            expires: 0,
            last_seen: None,
            heartbeat: None,
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_failed_commit_ends_the_stream_and_is_not_waited_for_again() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(dir.path()).unwrap();
        let open = move || Sqlite::open(&data, 0).map(|store| Box::new(store) as Box<dyn Store + Send>);
        let (store, _thread) = Writer::start(Box::new(open), || 0).unwrap();
        let mut host = Host::new(1);
        let header = host.frame(Lane::Protected, 1).header().clone();
        let (answers, _heard) = mpsc::channel(ANSWERS);
        let bytes = Arc::new(Semaphore::new(2));
        let mut talk = Talk {
            session: Session::begin(row(&host), host.boot, store.clone()).await.unwrap(),
            claim: Live::default().claim(host.id()).await,
            store,
            bytes: Arc::clone(&bytes),
            pending: VecDeque::new(),
            due: BTreeSet::new(),
            refusals: 0,
            down: &answers,
        };
        for _ in 0..2 {
            let (failed, answer) = oneshot::channel();
            drop(failed);
            let sent = Sent { header: header.clone(), late: false };
            let permit = Arc::clone(&bytes).acquire_owned().await.unwrap();
            let lane = (host.boot, Lane::Protected);
            talk.pending.push_back(Pending { lane, sent, answer, _bytes: permit });
        }
        assert_eq!(talk.acknowledge().await.unwrap_err().code(), tonic::Code::Unavailable);
        talk.settle().await;
        assert_eq!(bytes.available_permits(), 2);
    }
}
