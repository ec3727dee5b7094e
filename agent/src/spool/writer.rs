//! The writing side: append, sync, make room.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use graven_record::frame::Frame;
use graven_record::id::{BootId, HostId, Lane};
use graven_record::v1::record::Event;

use super::index::{MAX_SEGMENTS, Segment, Shared, Victim};
use super::recover::recover;
use super::{Disk, DiskFile, Finding, HostDisk, Limits, Reader, SpoolError, Stream};
use crate::seal::Heads;

/// A segment is closed at this size: small enough that room comes back in small steps and that looking
/// through the last one at start takes no time.
pub(super) const SEGMENT_BYTES: u64 = 8 << 20;
/// A small budget, or a nearly full disk, is cut into at least this many segments: the one being written is
/// never reclaimed, so it must be a small part of the room there is.
const SEGMENTS: u64 = 8;
/// No segment is made smaller than this.
const LEAST_SEGMENT: u64 = 16 << 10;
/// The part of the budget that `activity` may fill, in quarters.
const ACTIVITY_QUARTERS: u64 = 3;

/// What the logger has to say of itself fits beside the limit, and into the reserve, by this much: a spool that
/// is full must still hold that it is full, and why the run ended.
pub const LAST_WORD: u64 = 64 << 10;
/// The part of it that only the record of a stop may use.
const STOP_WORD: u64 = LAST_WORD / 2;

/// The one writer of a spool.
pub struct Spool<D: Disk = HostDisk> {
    disk: D,
    root: PathBuf,
    limits: Limits,
    boot: BootId,
    shared: Shared,
    protected: Option<Active<D::File>>,
    activity: Option<Active<D::File>>,
    /// What the disk had free when it was asked last, less what was appended since. None after a sync, a refusal and a deletion:
    /// under a heavy load that is asked as often as the disk is.
    free: Cell<Option<u64>>,
}

/// What was found at the start.
pub struct Opened<D: Disk = HostDisk> {
    /// To write.
    pub spool: Spool<D>,
    /// Where the chains of this boot stand.
    pub heads: Heads,
}

/// The segment that is being written.
struct Active<F> {
    file: F,
    number: u32,
    /// It is closed at this size.
    most: u64,
    written: u64,
    /// Last sequence in it.
    last: u64,
    unsynced: bool,
}

impl Spool<HostDisk> {
    /// Opens, or makes, the spool of a host.
    pub fn open(root: &Path, limits: Limits, host: HostId, boot: BootId) -> Result<Opened, SpoolError> {
        Self::open_on(HostDisk, root, limits, host, boot)
    }
}

impl<D: Disk> Spool<D> {
    /// As [`Spool::open`], on any file system.
    pub fn open_on(
        disk: D,
        root: &Path,
        limits: Limits,
        host: HostId,
        boot: BootId,
    ) -> Result<Opened<D>, SpoolError> {
        let failed = |source| SpoolError::Open { path: root.to_owned(), source };
        disk.make_dir(root).map_err(failed)?;
        if let Some(why) = disk.not_private(root).map_err(failed)? {
            return Err(SpoolError::NotPrivate { path: root.to_owned(), why });
        }
        let (index, heads) = recover(&disk, root, host, boot)?;
        let shared = Shared::new(index);
        let (root, free) = (root.to_owned(), Cell::new(None));
        let spool = Self { disk, root, limits, boot, shared, protected: None, activity: None, free };
        Ok(Opened { spool, heads })
    }

    /// A reading side. Any number may read while this one writes.
    pub fn reader(&self) -> Reader<D> {
        Reader::new(self.disk.clone(), self.shared.clone())
    }

    /// What was found wrong since the last call.
    pub fn findings(&self) -> Vec<Finding> {
        self.shared.lock().take_findings()
    }

    /// Writes a frame. It is safe, and can be read, after the next [`Self::sync`].
    pub fn append(&mut self, frame: &Frame) -> Result<(), SpoolError> {
        self.put(frame).inspect_err(|_| self.free.set(None))
    }

    fn put(&mut self, frame: &Frame) -> Result<(), SpoolError> {
        let (header, bytes) = (frame.header(), frame.bytes());
        if header.boot != self.boot {
            return Err(SpoolError::OtherBoot(header.boot));
        }
        self.make_room(frame)?;
        let mut active = self.segment_for(frame)?;
        let written = active.file.append(bytes);
        let stream = Stream { boot: self.boot, lane: header.lane };
        if let Err(source) = written {
            let path = self.path(stream, active.number);
            *self.active(header.lane) = self.cut_back(header.lane, active);
            return Err(SpoolError::Write { path, source });
        }
        active.written += bytes.len() as u64;
        self.free.set(self.free.get().map(|free| free.saturating_sub(bytes.len() as u64)));
        active.last = header.last;
        active.unsynced = true;
        if let Some(segment) = self.shared.lock().segment_mut(stream, active.number) {
            segment.size = active.written;
        }
        *self.active(header.lane) = Some(active);
        Ok(())
    }

    /// Returns when all that was appended is on the disk; then the readers see it.
    pub fn sync(&mut self) -> Result<(), SpoolError> {
        self.free.set(None);
        let mut result = Ok(());
        for lane in Lane::ALL {
            if let Some(active) = self.active(lane).take() {
                let (active, synced) = self.sync_one(lane, active);
                *self.active(lane) = active;
                result = result.and(synced);
            }
        }
        result
    }

    /// Takes back what was half written. Where even that fails the segment ends here: what is whole in it is
    /// synced, and the readers stop before the rest.
    fn cut_back(&self, lane: Lane, mut active: Active<D::File>) -> Option<Active<D::File>> {
        if active.file.cut(active.written).is_ok() {
            return Some(active);
        }
        let stream = Stream { boot: self.boot, lane };
        if let (Ok(size), Some(segment)) =
            (active.file.length(), self.shared.lock().segment_mut(stream, active.number))
        {
            segment.size = size;
        }
        let (_, synced) = self.sync_one(lane, active);
        if let Err(error) = synced {
            tracing::error!(%error, "a spool segment is given up");
        }
        None
    }

    /// A segment that cannot be synced is given up for writing: the kernel reports such an error once and
    /// then forgets it. What is in it is shown to the readers all the same, the sooner the better.
    fn sync_one(
        &self,
        lane: Lane,
        mut active: Active<D::File>,
    ) -> (Option<Active<D::File>>, Result<(), SpoolError>) {
        if !active.unsynced {
            return (Some(active), Ok(()));
        }
        let stream = Stream { boot: self.boot, lane };
        let synced = active.file.sync();
        active.unsynced = false;
        let mut index = self.shared.lock();
        if let Some(segment) = index.segment_mut(stream, active.number) {
            segment.readable = active.written;
        }
        index.set_last(stream, active.last);
        drop(index);
        match synced {
            Ok(()) => (Some(active), Ok(())),
            Err(source) => (None, Err(SpoolError::Sync { path: self.path(stream, active.number), source })),
        }
    }

    /// The segment that a frame goes into: the one being written, or a new one.
    fn segment_for(&mut self, frame: &Frame) -> Result<Active<D::File>, SpoolError> {
        let lane = frame.header().lane;
        let size = frame.bytes().len() as u64;
        match self.active(lane).take() {
            Some(active) if active.written == 0 => Ok(active),
            Some(active) if active.written + size <= active.most => Ok(active),
            Some(full) => {
                let (_, synced) = self.sync_one(lane, full);
                synced?;
                self.create(frame)
            }
            None => self.create(frame),
        }
    }

    fn create(&self, frame: &Frame) -> Result<Active<D::File>, SpoolError> {
        let (first, since) = (frame.header().first, frame.header().sealed_at);
        let stream = Stream { boot: self.boot, lane: frame.header().lane };
        let number = self.shared.lock().claim_number(stream);
        let (path, file) = self.create_file(stream, number)?;
        self.sync_names(&path)?;
        let segment = Segment { number, first, since, size: 0, readable: 0, damaged: false };
        self.shared.lock().add(stream, segment);
        let most = self.segment_bytes();
        Ok(Active { file, number, most, written: 0, last: first - 1, unsynced: false })
    }

    fn create_file(&self, stream: Stream, number: u32) -> Result<(PathBuf, D::File), SpoolError> {
        let folder = self.shared.lock().folder(stream);
        let failed = |source| SpoolError::Write { path: folder.clone(), source };
        self.disk.make_dir(&self.root.join(stream.boot.to_string())).map_err(failed)?;
        self.disk.make_dir(&folder).map_err(failed)?;
        let path = self.path(stream, number);
        let file =
            self.disk.create(&path).map_err(|source| SpoolError::Write { path: path.clone(), source })?;
        Ok((path, file))
    }

    /// The new name, and those of its folders, survive a power cut before a frame is promised.
    fn sync_names(&self, path: &Path) -> Result<(), SpoolError> {
        for folder in path.ancestors().skip(1).take_while(|folder| folder.starts_with(&self.root)) {
            self.disk
                .sync_dir(folder)
                .map_err(|source| SpoolError::Write { path: folder.to_owned(), source })?;
        }
        Ok(())
    }

    /// Deletes acknowledged segments, oldest first, until a frame of this size fits.
    fn make_room(&self, frame: &Frame) -> Result<(), SpoolError> {
        let (lane, size) = (frame.header().lane, frame.bytes().len() as u64);
        loop {
            let Some((full, only)) = self.full(lane, size, self.limits)? else { return Ok(()) };
            let victim = self.shared.lock().reclaim(only);
            match victim {
                Some(victim) => self.delete(victim),
                None if self.full(lane, size, self.limits.beside(own_words(frame)))?.is_none() => {
                    return Ok(());
                }
                None => return Err(full),
            }
        }
    }

    /// Which bound a frame of this size would break, and whether only its own lane can make room for it.
    fn full(
        &self,
        lane: Lane,
        size: u64,
        Limits { limit, reserve }: Limits,
    ) -> Result<Option<(SpoolError, Option<Lane>)>, SpoolError> {
        let ((all, own), count) = {
            let index = self.shared.lock();
            (index.held(lane), index.count())
        };
        if all + size > limit || count >= MAX_SEGMENTS {
            return Ok(Some((SpoolError::Full { held: all, limit }, None)));
        }
        let available = self.available(reserve.saturating_add(size))?;
        let room = available.saturating_sub(reserve);
        if size > room {
            return Ok(Some((SpoolError::Reserve { available, reserve }, None)));
        }
        // Of a nearly full disk, too, one lane leaves a part to the other.
        let share = limit.min(all.saturating_add(room)) / 4 * ACTIVITY_QUARTERS;
        let greedy = lane == Lane::Activity && own + size > share;
        Ok(greedy.then_some((SpoolError::Full { held: own, limit: share }, Some(lane))))
    }

    /// Bytes that are free; whether it is less than `wanted` is asked anew.
    fn available(&self, wanted: u64) -> Result<u64, SpoolError> {
        if let Some(free) = self.free.get().filter(|free| *free >= wanted) {
            return Ok(free);
        }
        let available = self.disk.available(&self.root);
        let free = available.map_err(|source| SpoolError::Write { path: self.root.clone(), source })?;
        self.free.set(Some(free));
        Ok(free)
    }

    fn delete(&self, Victim { path, empty }: Victim) {
        self.free.set(None);
        if let Err(error) = self.disk.remove(&path) {
            tracing::warn!(path = %path.display(), %error, "an acknowledged spool segment cannot be deleted");
        }
        if let Some(stream) = empty {
            let folder = self.shared.lock().folder(stream);
            // Not empty as long as something is set aside in it, or the other lane has segments.
            drop(self.disk.remove_dir(&folder));
            drop(folder.parent().map(|boot| self.disk.remove_dir(boot)));
        }
    }

    fn path(&self, stream: Stream, number: u32) -> PathBuf {
        let index = self.shared.lock();
        let known = index.segment(stream, number);
        let new = Segment { number, first: 0, since: 0, size: 0, readable: 0, damaged: false };
        index.path(stream, &known.unwrap_or(new))
    }

    fn segment_bytes(&self) -> u64 {
        // Unreadable, it is as if there were room: the next append finds out.
        let free = self.disk.available(&self.root).unwrap_or(u64::MAX).saturating_sub(self.limits.reserve);
        let room = free.min(self.limits.limit) / SEGMENTS;
        room.clamp(LEAST_SEGMENT, SEGMENT_BYTES)
    }

    fn active(&mut self, lane: Lane) -> &mut Option<Active<D::File>> {
        match lane {
            Lane::Protected => &mut self.protected,
            Lane::Activity => &mut self.activity,
        }
    }
}

impl Limits {
    /// With so many bytes more.
    fn beside(self, more: u64) -> Self {
        Self { limit: self.limit.saturating_add(more), reserve: self.reserve.saturating_sub(more) }
    }
}

/// Does a frame hold only the logger's words of itself?
pub fn is_own(frame: &Frame) -> bool {
    own_words(frame) > 0
}

/// How much of [`LAST_WORD`] a frame may use: nothing when it holds more than the logger's words of itself.
fn own_words(frame: &Frame) -> u64 {
    let Ok(batch) = frame.batch() else { return 0 };
    let own = |event: &Option<Event>| {
        matches!(event, Some(Event::EpochStart(_) | Event::Start(_) | Event::Stop(_) | Event::Lost(_)))
    };
    if frame.header().lane != Lane::Protected || !batch.records.iter().all(|record| own(&record.event)) {
        return 0;
    }
    let stops = batch.records.iter().any(|record| matches!(record.event, Some(Event::Stop(_))));
    if stops { LAST_WORD } else { LAST_WORD - STOP_WORD }
}
