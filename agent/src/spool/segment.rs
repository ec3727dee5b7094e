//! The bytes of one segment: frames one after the other, and how to find them again behind a bad place.

use graven_record::chain::Head;
use graven_record::frame::{Frame, FrameError, PREFIX_LEN};

use super::{DiskFile, Stream};

/// What every header begins with: where a frame may begin after a bad place.
const MAGIC: &[u8] = b"GRVN";

/// The end of what a close look found whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// First sequence.
    pub(super) first: u64,
    /// The last frame.
    pub(super) head: Head,
    /// Wall time of the first frame.
    pub(super) since: u64,
    /// Where the last whole frame ends.
    pub(super) end: u64,
    /// There is a bad place before that end.
    pub(super) damaged: bool,
}

/// Why there is no frame at a position.
#[derive(Debug)]
pub(super) enum NoFrame {
    /// Bytes that are no frame of this stream.
    Bad,
    /// The disk cannot be read.
    Disk(std::io::Error),
}

/// The frame at a position of a file of which `end` bytes count.
pub(super) fn frame_at(file: &impl DiskFile, at: u64, end: u64, stream: Stream) -> Result<Frame, NoFrame> {
    let mut prefix = [0; PREFIX_LEN];
    let read = file.read_at(&mut prefix, at).map_err(NoFrame::Disk)?;
    let length = Frame::length(&prefix[..read]).and_then(Result::ok).ok_or(NoFrame::Bad)?;
    if at + length as u64 > end {
        return Err(NoFrame::Bad);
    }
    let mut bytes = vec![0; length];
    let read = file.read_at(&mut bytes, at).map_err(NoFrame::Disk)?;
    parse(&bytes[..read], stream).map_err(|_| NoFrame::Bad)
}

fn parse(bytes: &[u8], stream: Stream) -> Result<Frame, FrameError> {
    let frame = Frame::parse(bytes)?;
    let own = frame.header().boot == stream.boot && frame.header().lane == stream.lane;
    own.then_some(frame).ok_or(FrameError::Field("stream"))
}

/// The first whole frame that begins after a position, and where.
pub(super) fn next_whole(bytes: &[u8], after: usize, stream: Stream) -> Option<(usize, Frame)> {
    let from = after + 1 + PREFIX_LEN;
    let places = bytes.get(from..)?.windows(MAGIC.len()).enumerate().filter(|(_, window)| *window == MAGIC);
    places.map(|(n, _)| from + n - PREFIX_LEN).find_map(|at| Some((at, parse(&bytes[at..], stream).ok()?)))
}

/// Looks at every byte.
pub(super) fn look(bytes: &[u8], stream: Stream) -> Option<Look> {
    let mut found: Option<Look> = None;
    let (mut at, mut bad) = (0, false);
    while at < bytes.len() {
        let Ok(frame) = parse(&bytes[at..], stream) else {
            bad = true;
            let Some((next, _)) = next_whole(bytes, at, stream) else { break };
            at = next;
            continue;
        };
        let header = frame.header();
        at += frame.bytes().len();
        let first = found.map_or((header.first, header.sealed_at), |f| (f.first, f.since));
        let end = at as u64;
        found = Some(Look { first: first.0, since: first.1, head: Head::of(header), end, damaged: bad });
    }
    found
}
