//! A file system in memory that can fail and lose what was not synced.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Disk, DiskFile};

#[derive(Clone, Default)]
pub(super) struct MemoryDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    folders: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, Arc<Mutex<Data>>>,
    /// Names that a crash does not take.
    durable: BTreeMap<PathBuf, Arc<Mutex<Data>>>,
    capacity: Option<u64>,
    /// The next so many appends fail.
    bad_appends: u32,
    bad_syncs: u32,
    bad_cuts: u32,
}

#[derive(Default)]
struct Data {
    bytes: Vec<u8>,
    synced: usize,
}

pub(super) struct MemoryFile {
    disk: MemoryDisk,
    data: Arc<Mutex<Data>>,
}

fn missing() -> io::Error {
    ErrorKind::NotFound.into()
}

impl MemoryDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds the lock")
    }

    pub(super) fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    pub(super) fn fail_appends(&self, count: u32) {
        self.state().bad_appends = count;
    }

    pub(super) fn fail_syncs(&self, count: u32) {
        self.state().bad_syncs = count;
    }

    pub(super) fn fail_cuts(&self, count: u32) {
        self.state().bad_cuts = count;
    }

    fn used(&self) -> u64 {
        let state = self.state();
        state.files.values().map(|data| data.lock().expect("as above").bytes.len() as u64).sum()
    }

    /// Every file and its bytes.
    pub(super) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let state = self.state();
        let bytes = |data: &Arc<Mutex<Data>>| data.lock().expect("as above").bytes.clone();
        state.files.iter().map(|(path, data)| (path.clone(), bytes(data))).collect()
    }

    pub(super) fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let data = Arc::clone(self.state().files.get(path).expect("the test names a file that is there"));
        let mut data = data.lock().expect("as above");
        change(&mut data.bytes);
        data.synced = data.bytes.len();
    }

    /// A power cut: names that were not synced are gone; of bytes that were not synced `keep` per cent are
    /// there, the last of them perhaps torn.
    pub(super) fn crash(&self, keep: usize, torn: bool) {
        let mut state = self.state();
        state.files = state.durable.clone();
        for data in state.files.values() {
            let mut data = data.lock().expect("as above");
            let unsynced = data.bytes.len().saturating_sub(data.synced);
            let end = data.bytes.len().min(data.synced) + unsynced * keep / 100;
            data.bytes.truncate(end);
            if torn
                && end > data.synced
                && let Some(last) = data.bytes.last_mut()
            {
                *last ^= 0xff;
            }
            data.synced = data.bytes.len();
        }
    }
}

impl Disk for MemoryDisk {
    type File = MemoryFile;

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.state().folders.insert(path.to_owned());
        Ok(())
    }

    fn not_private(&self, _: &Path) -> io::Result<Option<&'static str>> {
        Ok(None)
    }

    fn names(&self, path: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        if !state.folders.contains(path) {
            return Err(missing());
        }
        let below = state.files.keys().chain(&state.folders).filter(|p| p.parent() == Some(path));
        Ok(below.filter_map(|p| Some(p.file_name()?.to_str()?.to_owned())).collect())
    }

    fn create(&self, path: &Path) -> io::Result<MemoryFile> {
        let mut state = self.state();
        if state.files.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let data = Arc::<Mutex<Data>>::default();
        state.files.insert(path.to_owned(), Arc::clone(&data));
        Ok(MemoryFile { disk: self.clone(), data })
    }

    fn open(&self, path: &Path) -> io::Result<MemoryFile> {
        let data = Arc::clone(self.state().files.get(path).ok_or_else(missing)?);
        Ok(MemoryFile { disk: self.clone(), data })
    }

    fn cut(&self, path: &Path, len: u64) -> io::Result<()> {
        let mut file = self.open(path)?;
        file.cut(len)?;
        file.sync()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let data = state.files.remove(from).ok_or_else(missing)?;
        state.durable.remove(from);
        state.durable.insert(to.to_owned(), Arc::clone(&data));
        state.files.insert(to.to_owned(), data);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.durable.remove(path);
        state.files.remove(path).map(drop).ok_or_else(missing)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if state.files.keys().chain(&state.folders).any(|p| p.parent() == Some(path)) {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        state.folders.remove(path).then_some(()).ok_or_else(missing)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let below: Vec<_> = state
            .files
            .iter()
            .filter(|(p, _)| p.parent() == Some(path))
            .map(|(p, data)| (p.clone(), Arc::clone(data)))
            .collect();
        state.durable.extend(below);
        Ok(())
    }

    fn available(&self, _: &Path) -> io::Result<u64> {
        let capacity = self.state().capacity;
        Ok(capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used())))
    }
}

impl DiskFile for MemoryFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let room = {
            let used = self.disk.used();
            let mut state = self.disk.state();
            let bad = state.bad_appends > 0;
            state.bad_appends = state.bad_appends.saturating_sub(1);
            let room = state.capacity.map_or(bytes.len() as u64, |capacity| capacity.saturating_sub(used));
            if bad { room.min(bytes.len() as u64 / 2) } else { room }
        };
        let fits = usize::try_from(room).map_or(bytes.len(), |room| room.min(bytes.len()));
        self.data.lock().expect("as above").bytes.extend_from_slice(&bytes[..fits]);
        (fits == bytes.len()).then_some(()).ok_or_else(|| ErrorKind::StorageFull.into())
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        if state.bad_cuts > 0 {
            state.bad_cuts -= 1;
            return Err(io::Error::other("the disk is gone"));
        }
        let mut data = self.data.lock().expect("as above");
        data.bytes.truncate(usize::try_from(len).expect("a test's file is small"));
        data.synced = data.synced.min(data.bytes.len());
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        if state.bad_syncs > 0 {
            state.bad_syncs -= 1;
            return Err(io::Error::other("the disk lost it"));
        }
        let mut data = self.data.lock().expect("as above");
        data.synced = data.bytes.len();
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.data.lock().expect("as above").bytes.len() as u64)
    }

    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let data = self.data.lock().expect("as above");
        let from = usize::try_from(at).expect("a test's file is small").min(data.bytes.len());
        let count = into.len().min(data.bytes.len() - from);
        into[..count].copy_from_slice(&data.bytes[from..from + count]);
        Ok(count)
    }
}
