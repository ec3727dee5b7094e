//! What outlives the agent, in a BPF file system: the links, so that the programs stay on their hooks, and the maps that they
//! write. What happens while no agent runs waits in the rings; the next one takes it from there.
//!
//! In: a folder, the loaded sensor. Out: what earlier runs left: records in order, rows of losses, and how many were counted and
//! never told. Always: the next sensor is attached before the one that was left is let go, and of what both saw each thing is
//! handed on once; what cannot be read is counted. Never: reads the records of another layout, or uses a folder that others than
//! root may change.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use aya::maps::{Array, Map, MapData, MapInfo, PerCpuArray};
use graven_abi::header::{ABI_VERSION, Header, ring};
use graven_abi::{counter, told};
use graven_record::id::HostId;

use crate::lock::{Lock, LockError};

use super::links::{self, LINK};
use super::overflow::{Overflow, Overflows};
use super::rings::{self, Drain};
use super::{Merge, Raw, SensorError, attach, map_error, total};

/// BPF_FS_MAGIC of `linux/magic.h`.
const BPF_FS: i64 = 0xcafe_4a11;
/// Maps that are kept, by name.
pub(super) const LASTING: [&str; 7] =
    ["LIFE", "PROTECTED", "ACTIVITY", "COUNTERS", "SEQUENCES", "OVERFLOW", "TOLD"];
/// Hexadecimal digits of a host's number that tell its agents from another's on the same machine.
const HOST: usize = 16;
/// A program that was taken off has handed over its record by then: as long as the merge waits for one.
const SETTLE: Duration = Duration::from_millis(50);
/// How often that is waited for.
const SETTLING: usize = 4;
/// Bytes of records that are read of one run: twice what its rings hold. More is written by nobody that was taken off.
const MOST: usize = 16 << 20;
/// What one sensor calls before a moment another may call after it, ns: a program can be interrupted before it takes the time.
pub const MARGIN: u64 = 20_000_000;

/// The folder of one host's agent: in it a folder for each run that was not let go.
#[derive(Clone, Debug)]
pub struct Pins {
    root: PathBuf,
    folder: PathBuf,
}

/// What one run left.
#[derive(Debug)]
pub struct Left {
    folder: PathBuf,
    version: u16,
}

/// What lay in it.
#[derive(Debug, Default)]
pub struct Inherited {
    /// What happened until [`MARGIN`] after the new sensor took over, in order.
    pub records: Vec<Raw>,
    /// Who lost records where.
    pub rows: Vec<Overflow>,
    /// Counted in the kernel, and told nowhere.
    pub lost: Counted,
    /// Records of another layout.
    pub unreadable: u64,
    /// Records that the run had taken from the rings and may not have put on disk.
    pub in_hand: u64,
}

/// Numbers of `graven_abi::told`: how much was counted, or how much of that is on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Records taken from the rings.
    pub records: u64,
    /// Losses of the three rings.
    pub lost: [u64; 3],
    /// Operations without their inodes.
    pub state_full: u64,
    /// Runs that the kernel skipped.
    pub skipped: u64,
}

impl Counted {
    /// By index, but for [`told::FROM`].
    pub(super) fn numbers(self) -> [(u32, u64); 6] {
        let [life, protected, activity] = self.lost;
        [
            (told::RECORDS, self.records),
            (told::LOST_LIFE, life),
            (told::LOST_PROTECTED, protected),
            (told::LOST_ACTIVITY, activity),
            (told::STATE_FULL, self.state_full),
            (told::SKIPPED, self.skipped),
        ]
    }

    /// All losses.
    pub fn losses(self) -> u64 {
        self.lost.iter().sum::<u64>() + self.state_full + self.skipped
    }

    /// What is in this and not in the other.
    fn beyond(self, other: Self) -> Self {
        let lost = [0, 1, 2].map(|ring| self.lost[ring].saturating_sub(other.lost[ring]));
        Self {
            records: self.records.saturating_sub(other.records),
            lost,
            state_full: self.state_full.saturating_sub(other.state_full),
            skipped: self.skipped.saturating_sub(other.skipped),
        }
    }
}

/// Why nothing can be kept below this folder; none: something can.
pub fn refusal(root: &Path) -> Option<String> {
    let there = root.ancestors().find(|path| path.exists()).unwrap_or(root);
    if !rustix::fs::statfs(there).is_ok_and(|found| found.f_type == BPF_FS) {
        let remedy = "mount one, mount -t bpf -o mode=700 bpf /sys/fs/bpf";
        return Some(format!("{} is in no BPF file system: {remedy}", root.display()));
    }
    // In a folder with the sticky bit nobody else moves what is root's.
    let is_safe = match there == root {
        true => is_roots(root, false) && root.parent().is_none_or(|above| is_roots(above, true)),
        false => is_roots(there, true),
    };
    (!is_safe).then(|| format!("others than root may change {}: chown and chmod it", there.display()))
}

fn is_roots(folder: &Path, sticky: bool) -> bool {
    fs::symlink_metadata(folder).is_ok_and(|found| {
        let (mode, is_sticky) = (found.mode(), found.mode() & 0o1000 != 0);
        found.is_dir() && found.uid() == 0 && (mode & 0o022 == 0 || (sticky && is_sticky))
    })
}

impl Pins {
    /// Those of one host's agent.
    pub fn of(root: &Path, host: &HostId) -> Self {
        let mut name = hex::encode(host.0);
        name.truncate(HOST);
        Self { root: root.to_owned(), folder: root.join(name) }
    }

    /// Those of all agents.
    pub fn all(root: &Path) -> Result<Vec<Self>, SensorError> {
        let folders = folders(root)?.into_iter();
        Ok(folders.map(|folder| Self { root: root.to_owned(), folder }).collect())
    }

    /// What earlier runs left, the oldest first.
    pub fn left(&self) -> Result<Vec<Left>, SensorError> {
        if !self.folder.exists() {
            return Ok(Vec::new());
        }
        if let Some(why) = refusal(&self.root) {
            return Err(kept(&self.folder, why));
        }
        let named = folders(&self.folder)?.into_iter().filter_map(|folder| Some((name_of(&folder)?, folder)));
        let mut named: Vec<_> = named.collect();
        named.sort_by_key(|((_, start), _)| *start);
        Ok(named.into_iter().map(|((version, _), folder)| Left { folder, version }).collect())
    }

    /// The folder of a run that begins.
    pub(super) fn begin(&self) -> PathBuf {
        self.folder.join(format!("{ABI_VERSION}-{:016x}", rings::boot_time()))
    }
}

fn folders(above: &Path) -> Result<Vec<PathBuf>, SensorError> {
    let entries = match fs::read_dir(above) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| kept(above, error))?,
    };
    let entries = entries.collect::<io::Result<Vec<_>>>().map_err(|error| kept(above, error))?;
    let folders = entries.into_iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(folders.map(|entry| entry.path()).collect())
}

/// The layout of what lies in a folder, and when it was made, as its name says.
fn name_of(folder: &Path) -> Option<(u16, u64)> {
    let (version, start) = folder.file_name()?.to_str()?.split_once('-')?;
    Some((version.parse().ok()?, u64::from_str_radix(start, 16).ok()?))
}

/// Makes the folder, if it is not there, and holds it: before anything lies in it that another could take for left.
pub(super) fn hold(folder: &Path) -> Result<Lock, SensorError> {
    // Whoever can open it can hold it.
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| kept(folder, error))?;
    let lock = Lock::of_kept(folder).map_err(|error| kept(folder, error))?;
    match lock.is_of(folder) {
        true => Ok(lock),
        false => Err(kept(folder, "somebody has removed it while it was made".to_owned())),
    }
}

/// Keeps maps with these numbers of the kernel's in a folder that is held, those that are not kept yet.
pub(super) fn keep(folder: &Path, maps: &[(&'static str, u32)]) -> Result<(), SensorError> {
    for (name, id) in maps.iter().filter(|(name, id)| !is_kept(folder, name, *id)) {
        let path = folder.join(name);
        // Something else may stand there.
        let _removed = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        let map = MapData::from_id(*id).map_err(|error| map_error(name, error))?;
        map.pin(&path).map_err(|error| kept(&path, error))?;
    }
    Ok(())
}

fn is_kept(folder: &Path, name: &str, id: u32) -> bool {
    MapInfo::from_pin(folder.join(name)).is_ok_and(|found| found.id() == id)
}

/// How many of the maps are not there.
pub(super) fn missing(folder: &Path, maps: &[(&'static str, u32)]) -> usize {
    maps.iter().filter(|(name, id)| !is_kept(folder, name, *id)).count()
}

impl Left {
    /// From which moment on it is this run's to tell, CLOCK_BOOTTIME, ns; none = from its beginning.
    pub fn from(&self) -> Option<u64> {
        self.told().ok().map(|(_, from)| from).filter(|from| *from > 0)
    }

    /// So that it is nobody else's to take. None: nothing is left any more.
    pub fn lock(&self) -> Result<Option<Lock>, LockError> {
        match Lock::of_kept(&self.folder) {
            Ok(lock) => Ok(Some(lock).filter(|lock| lock.is_of(&self.folder))),
            Err(LockError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes the programs off their hooks and reads what they have left to tell. `until`: CLOCK_BOOTTIME, ns; what is younger the
    /// sensor tells that was attached before that.
    pub fn take(&self, until: u64) -> Result<Inherited, SensorError> {
        let (links, programs) = links::kept_in(&self.folder);
        self.let_go().map_err(|error| kept(&self.folder, error))?;
        links::await_end(&links);
        let mut drain = Drain::over([self.map("LIFE")?, self.map("PROTECTED")?, self.map("ACTIVITY")?])?;
        let records = self.rest(&mut drain);
        let drained = records.len() as u64;
        let counted = or_nothing(self.counted(programs.iter().map(links::Program::skipped).sum()));
        let (mut told, from) = or_nothing(self.told());
        if told.records > counted.records || from > until {
            tracing::error!("what {} says to have told cannot be: it is told again", self.folder.display());
            told = Counted::default();
        }
        let lost = Counted { records: 0, ..counted.beyond(told) };
        let untold = counted.records.saturating_sub(told.records);
        let untold = untold.saturating_sub(counted.lost.iter().sum());
        if self.version != ABI_VERSION {
            let unreadable = untold.max(drained);
            return Ok(Inherited { lost, unreadable, ..Inherited::default() });
        }
        let end = until.saturating_add(MARGIN);
        Ok(Inherited {
            records: records.into_iter().filter(|raw| raw.time() < end).collect(),
            rows: or_nothing(self.rows()),
            lost,
            unreadable: 0,
            in_hand: untold.saturating_sub(drained),
        })
    }

    /// Everything that lies in the rings, in order: once they are empty and nothing was added meanwhile, all programs have ended.
    fn rest(&self, drain: &mut Drain) -> Vec<Raw> {
        let (mut merge, mut records, mut bytes) = (Merge::default(), Vec::new(), 0);
        for _ in 0..SETTLING {
            sleep(SETTLE);
            // Of another layout it cannot be told.
            let before = self.sequences().ok();
            while bytes < MOST {
                let round = drain.take();
                if round.is_empty() {
                    break;
                }
                // A record has a header, whatever stands in the ring.
                bytes += round.bytes().max(size_of::<Header>());
                records.append(&mut merge.add(round));
            }
            if self.sequences().ok() == before {
                break;
            }
        }
        records.append(&mut merge.finish());
        records
    }

    fn rows(&self) -> Result<Vec<Overflow>, SensorError> {
        let mut rows = Overflows::over(self.map("OVERFLOW")?)?;
        rows.complete();
        rows.take()
    }

    fn numbers(&self, name: &'static str) -> Result<PerCpuArray<MapData, u64>, SensorError> {
        PerCpuArray::try_from(self.map(name)?).map_err(|error| map_error(name, error))
    }

    /// How many records there were for the rings.
    fn sequences(&self) -> Result<u64, SensorError> {
        let sequences = self.numbers("SEQUENCES")?;
        let kept = |ring: u8| total(&sequences, "SEQUENCES", ring.into());
        Ok(kept(ring::LIFE)? + kept(ring::PROTECTED)? + kept(ring::ACTIVITY)?)
    }

    /// How much was counted in the kernel.
    fn counted(&self, skipped: u64) -> Result<Counted, SensorError> {
        let counters = self.numbers("COUNTERS")?;
        let sum = |index| total(&counters, "COUNTERS", index);
        Ok(Counted {
            records: self.sequences()?,
            lost: [sum(counter::LOST_LIFE)?, sum(counter::LOST_PROTECTED)?, sum(counter::LOST_ACTIVITY)?],
            state_full: sum(counter::STATE_FULL)?,
            skipped,
        })
    }

    /// How much is on disk, and from when on.
    fn told(&self) -> Result<(Counted, u64), SensorError> {
        let told: Array<MapData, u64> =
            Array::try_from(self.map("TOLD")?).map_err(|error| map_error("TOLD", error))?;
        let get = |index| told.get(&index, 0).map_err(|error| map_error("TOLD", error));
        let counted = Counted {
            records: get(told::RECORDS)?,
            lost: [get(told::LOST_LIFE)?, get(told::LOST_PROTECTED)?, get(told::LOST_ACTIVITY)?],
            state_full: get(told::STATE_FULL)?,
            skipped: get(told::SKIPPED)?,
        };
        Ok((counted, get(told::FROM)?))
    }

    fn map(&self, name: &'static str) -> Result<Map, SensorError> {
        let map = MapData::from_pin(self.folder.join(name)).and_then(Map::from_map_data);
        map.map_err(|error| map_error(name, error))
    }

    /// Takes the programs off their hooks.
    fn let_go(&self) -> io::Result<()> {
        remove(&self.folder, |name| name.starts_with(LINK))
    }

    /// What was read is on disk: nothing of it is needed any more.
    pub fn forget(&self) -> io::Result<()> {
        forget(&self.folder)
    }
}

/// What cannot be read is said, and the rest is used.
fn or_nothing<T: Default>(read: Result<T, SensorError>) -> T {
    read.unwrap_or_else(|error| {
        tracing::error!("of what an earlier run left: {}", attach::reason(&error));
        T::default()
    })
}

/// Removes everything that a run keeps, the links first.
pub(super) fn forget(folder: &Path) -> io::Result<()> {
    remove(folder, |name| name.starts_with(LINK))?;
    // Another release may have kept other maps.
    remove(folder, |_| true)?;
    fs::remove_dir(folder)
}

fn remove(folder: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(&wanted) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

pub(super) fn kept(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SensorError {
    SensorError::Keep { path: path.to_owned(), source: source.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_not_counted_again() {
        let told = Counted { records: 5, lost: [1, 2, 3], state_full: 4, skipped: 6 };
        let counted = Counted { records: 9, lost: [1, 5, 3], state_full: 5, skipped: 6 };
        let beyond = Counted { records: 4, lost: [0, 3, 0], state_full: 1, skipped: 0 };
        assert_eq!((counted.beyond(told), told.beyond(counted)), (beyond, Counted::default()));
    }

    #[test]
    fn a_folder_says_its_layout_and_its_moment() {
        let path = Path::new("/sys/fs/bpf/graven/0011223344556677").join("4-00000000000000ff");
        assert_eq!(name_of(&path), Some((4, 255)));
        assert_eq!(name_of(Path::new("/x/4")), None);
    }

    #[test]
    fn what_is_no_bpf_file_system_is_said_with_the_remedy() {
        assert!(refusal(Path::new("/proc/graven")).is_some_and(|why| why.contains("mount -t bpf")));
    }
}
