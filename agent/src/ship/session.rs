//! One open stream to the central log: frames up within its window, receipts down.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

use graven_record::wire::downward::Message as Down;
use graven_record::wire::ingest_client::IngestClient;
use graven_record::wire::upward::Message as Up;
use graven_record::wire::{Downward, Durable, Heartbeat, Open, Refused as Refusal, Upward};
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::message::{
    FromShip, Order, Outbox, Receipt, Refused, Report, Resumed, Sealed, Settings, ToShip, Want,
};
use super::printable;

/// The central log answers an `Open` within this, or it is not well.
const OPEN_WITHIN: Duration = Duration::from_secs(15);
/// Frames under way without any receipt for this long: the connection is of no use.
const STALLED_AFTER: Duration = Duration::from_secs(60);
/// How long the end of a stream may take when this process ends.
const GOODBYE_WITHIN: Duration = Duration::from_millis(500);
/// Most frames under way, whatever the central log allows.
const MAX_WINDOW: u32 = 256;
/// No further frame is asked for while this many bytes are under way: it bounds the memory of this process.
const MAX_BYTES: usize = 16 << 20;
/// Frames handed to the connection and not yet taken by it.
const UP: usize = 4;
/// Messages to `watch` that wait; receipts gather until there is room.
const MAX_OUT: usize = 8;

/// `watch`, as this process sees it.
pub(super) struct Link {
    pub(super) inbox: mpsc::Receiver<io::Result<ToShip>>,
    pub(super) outbox: Outbox,
    pub(super) to: OwnedWriteHalf,
    /// The newest heartbeat, until it is sent.
    pub(super) beat: Option<Heartbeat>,
}

/// `watch` closed its end: this process has nothing left to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gone;

/// Why a session ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    Gone,
    /// The connection is lost or of no use.
    Lost {
        reason: String,
        progress: bool,
    },
    /// A frame was refused and it was not said which: send them one by one.
    Unnamed,
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl Link {
    /// Awaits something while listening for the end of `watch`. Frames of an ended session are dropped.
    pub(super) async fn during<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Gone> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                message = self.inbox.recv() => self.hear(message).map(drop)?,
                written = self.outbox.write(&mut self.to) => written.map_err(|_| Gone)?,
            }
        }
    }

    fn hear(&mut self, message: Option<io::Result<ToShip>>) -> Result<Option<Sealed>, Gone> {
        let message = message.ok_or(Gone)?.map_err(|error| {
            tracing::error!(%error, "the agent sends what is no message");
            Gone
        })?;
        match message.order {
            Some(Order::Frame(sealed)) => return Ok(Some(sealed)),
            Some(Order::Heartbeat(beat)) => self.beat = Some(beat),
            Some(Order::Settings(_)) | None => {}
        }
        Ok(None)
    }

    pub(super) fn say(&mut self, report: Report) {
        self.outbox.push(&FromShip { report: Some(report) });
    }
}

/// Frames between us and the central log.
#[derive(Debug, Default)]
struct Flight {
    window: u32,
    asked: u32,
    sent: VecDeque<Sent>,
    bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent {
    boot: Vec<u8>,
    lane: u32,
    first: u64,
    last: u64,
    bytes: usize,
}

impl Flight {
    /// How many frames more may be asked for.
    fn free(&self) -> u32 {
        let under_way = u32::try_from(self.sent.len()).unwrap_or(u32::MAX);
        let room = self.window.min(MAX_WINDOW).saturating_sub(under_way.saturating_add(self.asked));
        if self.bytes < MAX_BYTES { room } else { 0 }
    }

    fn add(&mut self, sealed: &Sealed) {
        let Durable { boot, lane, sequence } = sealed.last.clone();
        self.asked = self.asked.saturating_sub(1);
        self.bytes += sealed.bytes.len();
        self.sent.push_back(Sent {
            boot,
            lane,
            first: sealed.first,
            last: sequence,
            bytes: sealed.bytes.len(),
        });
    }

    /// What is durable is under way no more.
    fn receive(&mut self, durable: &[Durable]) {
        self.remove(|sent| {
            durable.iter().any(|d| d.boot == sent.boot && d.lane == sent.lane && sent.last <= d.sequence)
        });
    }

    /// The frame that a refusal means: the one it names, or the only one there is.
    fn refuse(&mut self, refusal: &Refusal) -> Option<Sent> {
        let named = |sent: &Sent| {
            sent.boot == refusal.boot && sent.lane == refusal.lane && sent.first == refusal.first_sequence
        };
        let place = self.sent.iter().position(named).or((self.sent.len() == 1).then_some(0))?;
        let found = self.sent.remove(place)?;
        self.bytes -= found.bytes;
        Some(found)
    }

    fn remove(&mut self, gone: impl Fn(&Sent) -> bool) {
        self.sent.retain(|sent| !gone(sent));
        self.bytes = self.sent.iter().map(|sent| sent.bytes).sum();
    }
}

/// One session, from `Open` to its end. With `careful` one frame at a time.
pub(super) async fn serve(
    channel: Channel,
    settings: &Settings,
    link: &mut Link,
    number: u64,
    careful: bool,
) -> End {
    let (up, frames) = mpsc::channel(UP);
    let lost = |reason: &str| End::Lost { reason: printable(reason), progress: false };
    let mut client = IngestClient::new(channel);
    let opening = async {
        up.send(Upward { message: Some(Up::Open(open(settings))) })
            .await
            .map_err(|e| Status::internal(e.to_string()))?;
        let mut down = client.stream(ReceiverStream::new(frames)).await?.into_inner();
        let first = down.message().await?;
        Ok::<_, Status>((down, first))
    };
    let opened = match link.during(timeout(OPEN_WITHIN, opening)).await {
        Err(gone) => return gone.into(),
        Ok(Err(_)) => return lost("it does not answer"),
        Ok(Ok(Err(status))) => return lost(&super::process::words(&status)),
        Ok(Ok(Ok(opened))) => opened,
    };
    let (mut down, Some(Downward { message: Some(Down::Resume(resume)) })) = opened else {
        return lost("its first answer is no Resume");
    };
    let window = if careful { 1 } else { resume.window };
    let flight = Flight { window, ..Flight::default() };
    link.say(Report::Resumed(Resumed { session: number, durable: resume.durable }));
    let mut session = Session {
        link,
        number,
        careful,
        flight,
        waiting: VecDeque::new(),
        receipts: BTreeMap::new(),
        progress: false,
        stalled: Instant::now() + STALLED_AFTER,
    };
    let end = session.run(&up, &mut down).await;
    if end == End::Gone
        && let Some(beat) = link.beat.take()
    {
        // No room is no harm: then the newest but one was just sent.
        drop(up.try_send(Upward { message: Some(Up::Heartbeat(beat)) }));
    }
    drop(up);
    if end == End::Gone {
        // So that the central log sees an end and not a failure.
        let _ = timeout(GOODBYE_WITHIN, async { while let Ok(Some(_)) = down.message().await {} }).await;
    }
    end
}

fn open(settings: &Settings) -> Open {
    Open {
        host: settings.host.clone(),
        boot: settings.boot.clone(),
        run: settings.run.clone(),
        agent_version: settings.agent_version.clone(),
        hostname: settings.hostname.clone(),
    }
}

struct Session<'a> {
    link: &'a mut Link,
    number: u64,
    careful: bool,
    flight: Flight,
    /// Asked for, arrived, not yet handed to the connection: never more than the window.
    waiting: VecDeque<Vec<u8>>,
    receipts: BTreeMap<(Vec<u8>, u32), u64>,
    /// The central log took something: it is well.
    progress: bool,
    stalled: Instant,
}

impl Session<'_> {
    async fn run(&mut self, up: &mpsc::Sender<Upward>, down: &mut Streaming<Downward>) -> End {
        loop {
            self.report();
            let to_send = !self.waiting.is_empty() || self.link.beat.is_some();
            let under_way = !self.flight.sent.is_empty();
            let step = tokio::select! {
                message = self.link.inbox.recv() => self.hear(message),
                written = self.link.outbox.write(&mut self.link.to) => written.map_err(|_| End::Gone),
                permit = up.reserve(), if to_send => match (permit, self.next()) {
                    (Ok(permit), Some(message)) => { permit.send(message); Ok(()) }
                    (Ok(_), None) => Ok(()),
                    (Err(_), _) => Err(self.lost("it closed the stream")),
                },
                answer = down.message() => match answer {
                    Ok(Some(answer)) => self.answer(answer),
                    Ok(None) => Err(self.lost("it closed the stream")),
                    Err(status) => Err(self.lost(&super::process::words(&status))),
                },
                () = sleep_until(self.stalled), if under_way => Err(self.lost("it takes frames but gives no receipts")),
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    fn lost(&self, reason: &str) -> End {
        End::Lost { reason: printable(reason), progress: self.progress }
    }

    /// Says to `watch` what gathered, as far as there is room.
    fn report(&mut self) {
        if self.link.outbox.len() >= MAX_OUT {
            return;
        }
        if !self.receipts.is_empty() {
            let receipts = std::mem::take(&mut self.receipts).into_iter();
            let durable = receipts.map(|((boot, lane), sequence)| Durable { boot, lane, sequence }).collect();
            self.link.say(Report::Receipt(Receipt { durable }));
        }
        let frames = self.flight.free();
        if frames > 0 {
            self.flight.asked += frames;
            self.link.say(Report::Want(Want { session: self.number, frames }));
        }
    }

    fn hear(&mut self, message: Option<io::Result<ToShip>>) -> Result<(), End> {
        let Some(sealed) = self.link.hear(message)?.filter(|sealed| sealed.session == self.number) else {
            return Ok(());
        };
        if self.flight.sent.is_empty() {
            self.stalled = Instant::now() + STALLED_AFTER;
        }
        self.flight.add(&sealed);
        self.waiting.push_back(sealed.bytes);
        Ok(())
    }

    fn next(&mut self) -> Option<Upward> {
        let beat = self.link.beat.take().map(Up::Heartbeat);
        let message = beat.or_else(|| self.waiting.pop_front().map(Up::Frame))?;
        Some(Upward { message: Some(message) })
    }

    fn answer(&mut self, answer: Downward) -> Result<(), End> {
        self.stalled = Instant::now() + STALLED_AFTER;
        match answer.message {
            Some(Down::Ack(ack)) => {
                self.progress = true;
                self.flight.receive(&ack.durable);
                self.flight.window = if self.careful { 1 } else { ack.window.max(1) };
                for Durable { boot, lane, sequence } in ack.durable {
                    self.receipts.insert((boot, lane), sequence);
                }
                Ok(())
            }
            Some(Down::Refused(refusal)) if refusal.retry => Err(self.lost(&refusal.reason)),
            Some(Down::Refused(refusal)) => {
                let Sent { boot, lane, first, last, .. } =
                    self.flight.refuse(&refusal).ok_or(End::Unnamed)?;
                self.progress = true;
                let reason = printable(&refusal.reason);
                self.link.say(Report::Refused(Refused { boot, lane, first, last, reason }));
                Ok(())
            }
            Some(Down::Resume(_)) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(first: u64, size: usize) -> Sealed {
        let last = Durable { boot: vec![1; 16], lane: 1, sequence: first + 9 };
        Sealed { session: 1, last, first, bytes: vec![0; size] }
    }

    fn refusal(first: u64) -> Refusal {
        Refusal { boot: vec![1; 16], lane: 1, first_sequence: first, ..Refusal::default() }
    }

    #[test]
    fn no_more_is_asked_for_than_the_window_and_the_bytes_allow() {
        let mut flight = Flight { window: 3, ..Flight::default() };
        assert_eq!(flight.free(), 3);
        flight.asked = 3;
        assert_eq!(flight.free(), 0);
        (0..3).for_each(|n| flight.add(&sealed(n * 10 + 1, 100)));
        assert_eq!((flight.free(), flight.asked), (0, 0));
        flight.receive(&[Durable { boot: vec![1; 16], lane: 1, sequence: 20 }]);
        assert_eq!((flight.free(), flight.bytes), (2, 100));
        flight.receive(&[Durable { boot: vec![2; 16], lane: 1, sequence: 90 }]);
        assert_eq!(flight.free(), 2);
        flight.add(&sealed(41, MAX_BYTES));
        assert_eq!(flight.free(), 0);
    }

    #[test]
    fn a_refusal_means_the_frame_it_names_or_the_only_one() {
        let mut flight = Flight { window: 9, ..Flight::default() };
        (0..3).for_each(|n| flight.add(&sealed(n * 10 + 1, 100)));
        assert_eq!(flight.refuse(&refusal(11)).map(|s| s.last), Some(20));
        assert_eq!(flight.refuse(&refusal(0)), None);
        assert_eq!(flight.refuse(&refusal(1)).map(|s| s.last), Some(10));
        assert_eq!(flight.refuse(&refusal(0)).map(|s| s.first), Some(21));
        assert_eq!((flight.bytes, flight.sent.len()), (0, 0));
    }
}
