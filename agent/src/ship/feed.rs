//! Which frame goes next: `watch`'s side of the conversation, without a socket.

use std::collections::{BTreeMap, BTreeSet};

use graven_record::frame::Frame;
use graven_record::wire::Durable;

use super::message::{Refused, Sealed, stream_of};
use crate::spool::{Disk, HostDisk, Place, Reader, Stream};

/// Most frames that `ship` may have asked for: far above the central log's window.
const MAX_WANTED: u32 = 1_024;
/// Most refused frames that are remembered; beyond it the oldest is sent, and refused, once more.
const MAX_REFUSED: usize = 4_096;

/// What the central log has, what it refused, and where the reading stands.
pub(super) struct Feed<D: Disk = HostDisk> {
    reader: Reader<D>,
    /// Number of the open stream, `None` = there is none.
    session: Option<u64>,
    wanted: u32,
    durable: BTreeMap<Stream, u64>,
    places: BTreeMap<Stream, Place<D>>,
    refused: BTreeSet<(Stream, u64)>,
    /// Streams that could not be read in this session.
    unreadable: BTreeSet<Stream>,
    /// Streams of which the central log has more than the spool.
    ahead: BTreeSet<Stream>,
}

impl<D: Disk> Feed<D> {
    pub(super) fn new(reader: Reader<D>) -> Self {
        Self {
            reader,
            session: None,
            wanted: 0,
            durable: BTreeMap::new(),
            places: BTreeMap::new(),
            refused: BTreeSet::new(),
            unreadable: BTreeSet::new(),
            ahead: BTreeSet::new(),
        }
    }

    /// A stream to the central log is open: it says from where to go on.
    pub(super) fn resume(&mut self, session: u64, durable: &[Durable]) {
        (self.session, self.wanted) = (Some(session), 0);
        self.places.clear();
        self.unreadable.clear();
        self.durable.clear();
        self.ahead.clear();
        self.receive(durable);
    }

    /// There is no connection.
    pub(super) fn away(&mut self) {
        (self.session, self.wanted) = (None, 0);
    }

    /// Waiting for the central log is of no use: it has everything, or it is away.
    pub(super) fn is_settled(&self) -> bool {
        let delivered =
            |stream: &Stream| self.durable.get(stream).is_some_and(|d| *d >= self.reader.last(*stream));
        self.session.is_none() || self.reader.streams().iter().all(delivered)
    }

    /// Receipts: the spool may reclaim what they cover.
    pub(super) fn receive(&mut self, durable: &[Durable]) {
        for Durable { boot, lane, sequence } in durable {
            let Some(stream) = stream_of(boot, *lane) else { continue };
            let held = self.reader.last(stream);
            if held == 0 {
                continue;
            }
            if *sequence <= held {
                self.reader.acknowledge(stream, *sequence);
                self.durable.insert(stream, *sequence);
            } else if self.ahead.insert(stream) {
                // Whoever emptied the spool shall not have it pass for delivered: the central log is
                // given everything and sees the fork.
                tracing::error!(
                    boot = %stream.boot, lane = stream.lane.name(), has = sequence, held,
                    "the central log has records that this spool never had: it was emptied or set back"
                );
            }
        }
    }

    /// `ship` can take so many frames more.
    pub(super) fn want(&mut self, session: u64, frames: u32) {
        if self.session == Some(session) {
            self.wanted = self.wanted.saturating_add(frames).min(MAX_WANTED);
        }
    }

    /// The central log will never take this frame: it is kept for a person and passed over from now on.
    pub(super) fn refuse(&mut self, refused: &Refused) {
        let Some(stream) = stream_of(&refused.boot, refused.lane) else { return };
        tracing::error!(
            boot = %stream.boot, lane = stream.lane.name(), first = refused.first, last = refused.last,
            reason = %super::printable(&refused.reason),
            "the central log refuses a frame for good; it is kept in the spool as sequence-{}.refused", refused.first
        );
        if self.refused.len() >= MAX_REFUSED {
            self.refused.pop_first();
        }
        self.refused.insert((stream, refused.first));
        if let Err(error) = self.keep(stream, refused.first) {
            tracing::error!(%error, "a refused frame could not be kept in a file of its own");
        }
    }

    fn keep(&self, stream: Stream, first: u64) -> Result<(), crate::spool::SpoolError> {
        let mut place = Place::after(stream, first.saturating_sub(1));
        match self.reader.next(&mut place)? {
            Some(frame) if frame.header().first == first => self.reader.keep_refused(stream, &frame),
            _ => Ok(()),
        }
    }

    /// The next frame, if one is wanted and there is one: `protected` first.
    pub(super) fn next(&mut self) -> Option<Sealed> {
        let session = self.session.filter(|_| self.wanted > 0)?;
        let streams = self.reader.streams();
        self.places.retain(|stream, _| streams.contains(stream));
        let (stream, frame) = streams.into_iter().find_map(|stream| Some((stream, self.read(stream)?)))?;
        self.wanted -= 1;
        let header = frame.header();
        let last = Durable {
            boot: stream.boot.0.to_vec(),
            lane: stream.lane.number().into(),
            sequence: header.last,
        };
        Some(Sealed { session, last, first: header.first, bytes: frame.bytes().to_vec() })
    }

    fn read(&mut self, stream: Stream) -> Option<Frame> {
        if self.unreadable.contains(&stream) {
            return None;
        }
        let after = self.durable.get(&stream).copied().unwrap_or(0);
        let place = self.places.entry(stream).or_insert_with(|| Place::after(stream, after));
        loop {
            match self.reader.next(place) {
                Ok(Some(frame)) if self.refused.contains(&(stream, frame.header().first)) => {}
                Ok(frame) => return frame,
                Err(error) => {
                    tracing::error!(%error, "the spool cannot be read; the next connection tries again");
                    self.unreadable.insert(stream);
                    return None;
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
