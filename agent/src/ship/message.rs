//! What `watch` and `ship` say to each other over their socket: protobuf behind a length.

use std::collections::VecDeque;
use std::io;

use graven_record::frame::MAX_FRAME;
use graven_record::id::{BootId, Lane};
use graven_record::wire::{Durable, Heartbeat};
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::spool::Stream;

/// Most bytes of one message: a frame and what names it.
const MAX_MESSAGE: usize = MAX_FRAME + (4 << 10);
/// Messages read and not yet worked on.
const INBOX: usize = 4;

/// To `ship`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ToShip {
    #[prost(oneof = "Order", tags = "1, 2, 3")]
    pub(super) order: Option<Order>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Order {
    /// First, once.
    #[prost(message, tag = "1")]
    Settings(Settings),
    #[prost(message, tag = "2")]
    Frame(Sealed),
    #[prost(message, tag = "3")]
    Heartbeat(Heartbeat),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Settings {
    #[prost(string, repeated, tag = "1")]
    pub(super) servers: Vec<String>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) host: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) boot: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) run: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(super) agent_version: String,
    #[prost(string, tag = "6")]
    pub(super) hostname: String,
    #[prost(string, tag = "7")]
    pub(super) certificate: String,
    #[prost(string, tag = "8")]
    pub(super) key: String,
    #[prost(string, tag = "9")]
    pub(super) ca: String,
}

/// A frame with the names by which its receipt comes back.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Sealed {
    /// The session it was asked for in: frames of an older one are dropped.
    #[prost(uint64, tag = "1")]
    pub(super) session: u64,
    #[prost(message, required, tag = "2")]
    pub(super) last: Durable,
    #[prost(uint64, tag = "3")]
    pub(super) first: u64,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) bytes: Vec<u8>,
}

/// From `ship`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FromShip {
    #[prost(oneof = "Report", tags = "1, 2, 3, 4, 5")]
    pub(super) report: Option<Report>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Report {
    #[prost(message, tag = "1")]
    Resumed(Resumed),
    #[prost(message, tag = "2")]
    Want(Want),
    #[prost(message, tag = "3")]
    Receipt(Receipt),
    #[prost(message, tag = "4")]
    Refused(Refused),
    #[prost(message, tag = "5")]
    Away(Away),
}

/// A stream is open; what is durable.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Resumed {
    #[prost(uint64, tag = "1")]
    pub(super) session: u64,
    #[prost(message, repeated, tag = "2")]
    pub(super) durable: Vec<Durable>,
}

/// The session is over.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Away {}

/// So many frames more.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Want {
    #[prost(uint64, tag = "1")]
    pub(super) session: u64,
    #[prost(uint32, tag = "2")]
    pub(super) frames: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Receipt {
    #[prost(message, repeated, tag = "1")]
    pub(super) durable: Vec<Durable>,
}

/// The central log will never take this frame.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Refused {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) boot: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(super) lane: u32,
    #[prost(uint64, tag = "3")]
    pub(super) first: u64,
    #[prost(uint64, tag = "4")]
    pub(super) last: u64,
    #[prost(string, tag = "5")]
    pub(super) reason: String,
}

/// The stream that a message names.
pub(super) fn stream_of(boot: &[u8], lane: u32) -> Option<Stream> {
    Some(Stream { boot: BootId::from_slice(boot).ok()?, lane: Lane::from_number(lane).ok()? })
}

/// Messages on their way out. Writing them never blocks the reader: call [`Self::write`] in a `select!`.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Vec<u8>>,
    written: usize,
}

impl Outbox {
    pub(super) fn push(&mut self, message: &impl Message) {
        let body = message.encode_to_vec();
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
        self.waiting.push_back([&length, body.as_slice()].concat());
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Writes a part of the first message. Dropped before it is done, it has written nothing.
    pub(super) async fn write(&mut self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let Some(first) = self.waiting.front() else { return std::future::pending().await };
        match to.write(&first[self.written..]).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => self.written += count,
        }
        if self.written == first.len() {
            self.waiting.pop_front();
            self.written = 0;
        }
        Ok(())
    }
}

/// Reads messages in a task of its own; the channel ends when the other side does.
pub(super) fn inbox<M: Message + Default + 'static>(
    mut from: impl AsyncRead + Unpin + Send + 'static,
) -> mpsc::Receiver<io::Result<M>> {
    let (sender, receiver) = mpsc::channel(INBOX);
    tokio::spawn(async move {
        while let Some(message) = read(&mut from).await.transpose() {
            let failed = message.is_err();
            if sender.send(message).await.is_err() || failed {
                return;
            }
        }
    });
    receiver
}

/// `None` = the other side closed between two messages.
async fn read<M: Message + Default>(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<M>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    };
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_MESSAGE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is longer than a frame"));
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).await?;
    M::decode(body.as_slice()).map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    fn want(frames: u32) -> FromShip {
        FromShip { report: Some(Report::Want(Want { session: 1, frames })) }
    }

    #[tokio::test]
    async fn messages_arrive_whole_and_in_order_through_a_narrow_pipe() {
        let (mut out, incoming) = tokio::io::duplex(3);
        let mut inbox = inbox::<FromShip>(incoming);
        let mut outbox = Outbox::default();
        (0..20).for_each(|n| outbox.push(&want(n)));
        let mut received = Vec::new();
        while received.len() < 20 {
            tokio::select! {
                message = inbox.recv() => received.push(message.unwrap().unwrap()),
                written = outbox.write(&mut out) => written.unwrap(),
            }
        }
        assert_eq!(received, (0..20).map(want).collect::<Vec<_>>());
        drop(out);
        assert!(inbox.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_length_beyond_the_bound_is_refused_before_it_is_allocated() {
        let mut inbox = inbox::<FromShip>(&[0xff_u8; 12][..]);
        assert!(inbox.recv().await.unwrap().is_err());
        assert!(inbox.recv().await.is_none());
    }
}
