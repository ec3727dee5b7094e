//! The reading side: verbatim frames after a sequence, while the writer appends.

use graven_record::frame::Frame;

use super::index::{Segment, Shared};
use super::segment::{NoFrame, frame_at, next_whole};
use super::{Disk, DiskFile, Finding, HostDisk, SpoolError, Stream};

/// Most bytes of frames that the central log refused for good and that are kept as files of their own.
const MAX_REFUSED_BYTES: u64 = 16 << 20;

/// Reads any stream of the spool. Clones are independent.
#[derive(Clone)]
pub struct Reader<D: Disk = HostDisk> {
    disk: D,
    shared: Shared,
}

/// Where a reader stands in a stream: keeps the segment open, so that the next frame is one read away.
pub struct Place<D: Disk = HostDisk> {
    stream: Stream,
    /// Sequence of the last record that was given, or that the central log has.
    after: u64,
    at: Option<(Segment, D::File, u64)>,
}

impl<D: Disk> Place<D> {
    /// Before the first frame with a record after this sequence.
    pub fn after(stream: Stream, sequence: u64) -> Self {
        Self { stream, after: sequence, at: None }
    }

    /// Of which stream.
    pub fn stream(&self) -> Stream {
        self.stream
    }
}

impl<D: Disk> Reader<D> {
    pub(super) fn new(disk: D, shared: Shared) -> Self {
        Self { disk, shared }
    }

    /// All streams in the order in which they are to be sent: `protected` first, in it the oldest boot first.
    pub fn streams(&self) -> Vec<Stream> {
        self.shared.lock().streams()
    }

    /// Sequence of the last record that can be read; 0 = none.
    pub fn last(&self, stream: Stream) -> u64 {
        self.shared.lock().last(stream)
    }

    /// The central log has everything up to here. It may say less than before: then it was restored.
    pub fn acknowledge(&self, stream: Stream, sequence: u64) {
        self.shared.lock().acknowledge(stream, sequence);
    }

    /// The next frame; `None` = no more now. A bad place is stepped over and reported.
    pub fn next(&self, place: &mut Place<D>) -> Result<Option<Frame>, SpoolError> {
        loop {
            let Some((segment, file, at)) = self.step(place)? else { return Ok(None) };
            match frame_at(&file, at, segment.readable, place.stream) {
                Ok(frame) => {
                    place.at = Some((segment, file, at + frame.bytes().len() as u64));
                    if frame.header().last > place.after {
                        self.advance(place, &frame);
                        return Ok(Some(frame));
                    }
                }
                Err(NoFrame::Bad) => {
                    let next = self.resync(place.stream, &segment, &file, at)?;
                    place.at = Some((segment, file, next));
                }
                Err(NoFrame::Disk(source)) => return Err(self.failed(place.stream, &segment, source)),
            }
        }
    }

    /// Keeps a frame that the central log will never take in a file of its own, for a person.
    pub fn keep_refused(&self, stream: Stream, frame: &Frame) -> Result<(), SpoolError> {
        let path =
            self.shared.lock().folder(stream).join(format!("sequence-{}.refused", frame.header().first));
        let size = frame.bytes().len() as u64;
        if !self.shared.lock().room_for_refused(size, MAX_REFUSED_BYTES) {
            return Ok(());
        }
        let failed = |source| SpoolError::Write { path: path.clone(), source };
        let mut file = match self.disk.create(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
            made => made.map_err(failed)?,
        };
        file.append(frame.bytes()).and_then(|()| file.sync()).map_err(failed)?;
        self.shared.lock().add_aside(path, size);
        Ok(())
    }

    /// A gap between what was given last and this frame is reported; the records in it are lost.
    fn advance(&self, place: &mut Place<D>, frame: &Frame) {
        let header = frame.header();
        if header.first > place.after + 1 {
            self.shared.lock().find_missing(place.stream, place.after + 1, header.first - 1);
        }
        place.after = header.last;
    }

    /// The segment and position to read at; `None` = nothing readable is left.
    fn step(&self, place: &mut Place<D>) -> Result<Option<(Segment, D::File, u64)>, SpoolError> {
        let stream = place.stream;
        let index = self.shared.lock();
        let next = match place.at.take() {
            None => index.holding(stream, place.after + 1).and_then(|segment| match segment.readable {
                0 => index.after(stream, segment.number),
                _ => Some(segment),
            }),
            Some((segment, file, at)) => {
                let segment = index.segment(stream, segment.number).unwrap_or(segment);
                if at < segment.readable {
                    return Ok(Some((segment, file, at)));
                }
                let next = index.after(stream, segment.number);
                if next.is_none() {
                    place.at = Some((segment, file, at));
                }
                next
            }
        };
        drop(index);
        let Some(segment) = next else { return Ok(None) };
        Ok(self.open(stream, &segment)?.map(|file| (segment, file, 0)))
    }

    /// `None` = it was deleted just now, which only happens to what is acknowledged.
    fn open(&self, stream: Stream, segment: &Segment) -> Result<Option<D::File>, SpoolError> {
        let path = self.shared.lock().path(stream, segment);
        match self.disk.open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(SpoolError::Read { path, source }),
        }
    }

    /// Gives the segment the name that says it is damaged, and finds where to go on.
    fn resync(&self, stream: Stream, segment: &Segment, file: &D::File, at: u64) -> Result<u64, SpoolError> {
        self.mark_damaged(stream, segment.number);
        let rest = usize::try_from(segment.readable - at).unwrap_or(0);
        let mut bytes = vec![0; rest];
        let read = file.read_at(&mut bytes, at).map_err(|source| self.failed(stream, segment, source))?;
        let next = next_whole(&bytes[..read], 0, stream).map_or(rest, |(place, _)| place);
        Ok(at + next as u64)
    }

    fn mark_damaged(&self, stream: Stream, number: u32) {
        let mut index = self.shared.lock();
        let Some(old) = index.segment(stream, number).filter(|s| !s.damaged) else { return };
        let new = Segment { damaged: true, ..old };
        let (from, to) = (index.path(stream, &old), index.path(stream, &new));
        match self.disk.rename(&from, &to) {
            Ok(()) => {
                if let Some(segment) = index.segment_mut(stream, number) {
                    segment.damaged = true;
                }
                index.find(Finding::Damaged { path: to });
            }
            Err(error) => {
                tracing::error!(path = %from.display(), %error, "a damaged spool segment cannot be renamed");
                index.find(Finding::Damaged { path: from });
            }
        }
    }

    fn failed(&self, stream: Stream, segment: &Segment, source: std::io::Error) -> SpoolError {
        SpoolError::Read { path: self.shared.lock().path(stream, segment), source }
    }
}
