//! The policy's roots in the kernel's filter.
//!
//! A mark is keyed by what the kernel itself reports of the inode (asked through a descriptor of our own),
//! because `stat` numbers differ on overlay and btrfs. An inotify watch keeps the inode in memory, so that
//! its address stays its own, without keeping the mount busy, and tells when it moves, goes or is unmounted.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData};
use aya::programs::{Program, RawTracePoint, RawTracePointRunOptions, TestRun};
use graven_abi::filter::{self, class, shape};
use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};
use rustix::fs::{Mode, OFlags};
use zerocopy::{FromBytes, IntoBytes};

use super::{SensorError, map_error, take};

/// What the kernel does below a root, in the order in which more is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MarkClass {
    /// Count only.
    Mutable,
    /// Keep; user space decides by path.
    Keep,
    /// Keep, in the protected ring.
    Protect,
}

impl MarkClass {
    fn number(self) -> u32 {
        match self {
            Self::Protect => class::PROTECT,
            Self::Mutable => class::MUTABLE,
            Self::Keep => class::KEEP,
        }
    }
}

/// One root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// An existing directory or file; the last component is not followed when it is a symbolic link.
    pub path: PathBuf,
    /// What is done below it.
    pub class: MarkClass,
}

/// What is to be marked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The roots.
    pub roots: Vec<Mark>,
    /// The directories between a root and the one above it, with what holds there: one that moves takes the roots below it
    /// along, and what is put at their places has no mark.
    pub above: Vec<Mark>,
    /// The policy is another one: what the old one protected by its paths is not, unless it was moved away from them.
    pub anew: bool,
}

/// The directories above roots, see [`Wanted::above`].
pub fn above(roots: &[Mark]) -> Vec<Mark> {
    let by_path: BTreeMap<&Path, MarkClass> = roots.iter().map(|m| (m.path.as_path(), m.class)).collect();
    let mut between = BTreeMap::new();
    for path in by_path.keys() {
        let nearest = |path: &Path| path.ancestors().skip(1).find_map(|path| by_path.get(path)).copied();
        let unmarked = path.ancestors().skip(1).take_while(|path| !by_path.contains_key(*path));
        between.extend(unmarked.filter_map(|path| Some((path.to_path_buf(), nearest(path)?))));
    }
    between.into_iter().map(|(path, class)| Mark { path, class }).collect()
}

/// Adds the roots of the mounts: the kernel's walk ends at the root of a file system, so each mount point
/// carries on what holds at its place.
pub fn with_mounts<'a>(marks: Vec<Mark>, mounts: impl Iterator<Item = &'a Path>) -> Vec<Mark> {
    let by_path: BTreeMap<PathBuf, MarkClass> = marks.into_iter().map(|m| (m.path, m.class)).collect();
    let inherited: Vec<(PathBuf, MarkClass)> = mounts
        .filter(|mount| !by_path.contains_key(*mount))
        .filter_map(|mount| {
            let class = mount.ancestors().find_map(|ancestor| by_path.get(ancestor))?;
            Some((mount.to_path_buf(), *class))
        })
        .collect();
    by_path.into_iter().chain(inherited).map(|(path, class)| Mark { path, class }).collect()
}

/// What [`Marks::mend`] has found and done.
pub(super) struct Mended {
    pub(super) marks: usize,
    pub(super) words: usize,
    pub(super) written: Result<(), SensorError>,
}

/// The table and what keeps its inodes in memory.
pub(super) struct Marks {
    table: HashMap<MapData, u64, [u8; 16]>,
    /// Which inodes may be in it.
    marked: Array<MapData, u64>,
    bits: Vec<u64>,
    answers: Array<MapData, [u8; 32]>,
    generation: Array<MapData, [u8; 24]>,
    watch: Inotify,
    /// Which watch keeps which inode.
    watched: std::collections::HashMap<WatchDescriptor, u64>,
    set: BTreeMap<u64, [u8; 16]>,
    /// Of these, the directories above roots.
    above: BTreeSet<u64>,
    /// And those that a path of the policy led to at the last look.
    named: BTreeSet<u64>,
    /// And those on file systems without multigrain times.
    coarse: BTreeSet<u64>,
}

impl std::fmt::Debug for Marks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Marks").field("set", &self.set.len()).finish_non_exhaustive()
    }
}

impl Marks {
    pub(super) fn new(ebpf: &mut Ebpf, table: HashMap<MapData, u64, [u8; 16]>) -> Result<Self, SensorError> {
        let answers = Array::try_from(take(ebpf, "RESOLVED")?).map_err(|e| map_error("RESOLVED", e))?;
        let marked = Array::try_from(take(ebpf, "MARKED")?).map_err(|e| map_error("MARKED", e))?;
        let generation =
            Array::try_from(take(ebpf, "GENERATION")?).map_err(|e| map_error("GENERATION", e))?;
        let watch = Inotify::init().map_err(|source| mark_error(Path::new("inotify"), source))?;
        let bits = bits_of(std::iter::empty());
        let (watched, set) = (std::collections::HashMap::new(), BTreeMap::new());
        let (above, named, coarse) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        Ok(Self { table, marked, bits, answers, generation, watch, watched, set, above, named, coarse })
    }

    /// Sets all marks while the kernel believes no verdict. A protected root that lives on stays marked though
    /// its path leads elsewhere now: something was mounted over it, or it was moved; descriptors still reach it.
    /// How many directories above roots found no room or cannot be watched.
    pub(super) fn replace(&mut self, ebpf: &mut Ebpf, wanted: &Wanted) -> Result<usize, SensorError> {
        run(ebpf, "shape", shape::LOOKING)?;
        let replaced = self.look(ebpf, wanted);
        run(ebpf, "shape", if replaced.is_ok() { shape::MARKED } else { shape::FAILED })?;
        replaced
    }

    /// Does every change of what is marked as protected or kept set a multigrain time (Linux 6.13)? Then the tracepoints tell
    /// of it, whatever asked for it.
    pub(super) fn are_multigrain(&self) -> bool {
        let is_coarse = |(address, value): (&u64, &[u8; 16])| {
            class_of(value) != class::MUTABLE && self.coarse.contains(address)
        };
        !self.set.iter().any(is_coarse)
    }

    /// Finds the roots and writes their marks.
    fn look(&mut self, ebpf: &mut Ebpf, wanted: &Wanted) -> Result<usize, SensorError> {
        let mut set = self.still_protected();
        if wanted.anew {
            // Where another policy's paths lead it says itself.
            set.retain(|address, _| !self.named.contains(address));
        }
        let mut named = BTreeSet::new();
        for mark in &wanted.roots {
            if let Some((address, value)) = self.resolve(ebpf, mark)? {
                keep_strictest(&mut set, address, value);
                named.insert(address);
            }
        }
        if set.len() > graven_abi::limits::MARKS as usize {
            return Err(SensorError::TooManyMarks(set.len()));
        }
        let (above, left_out) = self.resolve_above(ebpf, &wanted.above, &mut set);
        run(ebpf, "shape", shape::CHANGING)?;
        let written = self.write(&set);
        if written.is_err()
            && let Ok(found) = self.found()
        {
            // What was written until then is known again.
            self.set = found;
        }
        run(ebpf, "shape", shape::CHANGED)?;
        written?;
        self.set = set;
        self.above = above;
        self.named = named;
        self.forget();
        Ok(left_out)
    }

    /// Adds the directories above roots as far as there is room.
    fn resolve_above(
        &mut self,
        ebpf: &mut Ebpf,
        wanted: &[Mark],
        set: &mut BTreeMap<u64, [u8; 16]>,
    ) -> (BTreeSet<u64>, usize) {
        let (mut above, mut left_out) = (BTreeSet::new(), 0);
        for mark in wanted {
            let full = set.len() >= graven_abi::limits::MARKS as usize;
            match if full { Err(SensorError::TooManyMarks(set.len())) } else { self.resolve(ebpf, mark) } {
                Ok(Some((address, value))) => {
                    if let Entry::Vacant(free) = set.entry(address) {
                        free.insert(value);
                        above.insert(address);
                    }
                }
                Ok(None) => {}
                Err(_) => left_out += 1,
            }
        }
        (above, left_out)
    }

    /// Compares the kernel's table with what was written there, and writes again what differs: how many marks and words of
    /// bits did, and whether that could be done.
    pub(super) fn mend(&mut self, ebpf: &mut Ebpf) -> Result<Mended, SensorError> {
        let (found, bits) = (self.found()?, self.found_bits()?);
        let words = self.bits.iter().zip(&bits).filter(|(wanted, found)| wanted != found).count();
        let marks = differences(&self.set, &found);
        if (marks, words) == (0, 0) {
            return Ok(Mended { marks, words, written: Ok(()) });
        }
        self.bits = bits;
        let wanted = std::mem::replace(&mut self.set, found);
        // Only the table: where the roots are is looked for by `replace`.
        let written = run(ebpf, "shape", shape::CHANGING).and_then(|()| self.write(&wanted));
        self.set = wanted;
        let changed = run(ebpf, "shape", shape::CHANGED);
        Ok(Mended { marks, words, written: written.and(changed) })
    }

    /// The kernel's table as it is. Whoever removes keys meanwhile makes the kernel begin again (`htab_map_get_next_key`):
    /// not for ever.
    fn found(&self) -> Result<BTreeMap<u64, [u8; 16]>, SensorError> {
        let marks = self.table.iter().take(4 * graven_abi::limits::MARKS as usize).collect::<Result<_, _>>();
        marks.map_err(|error| map_error("MARKS", error))
    }

    fn found_bits(&self) -> Result<Vec<u64>, SensorError> {
        let bits = (0..filter::marked::WORDS).map(|word| self.marked.get(&word, 0));
        bits.collect::<Result<_, _>>().map_err(|error| map_error("MARKED", error))
    }

    fn still_protected(&self) -> BTreeMap<u64, [u8; 16]> {
        let lives = |address: &u64| self.watched.values().any(|watched| watched == address);
        let marks = self.set.iter().filter(|(address, value)| {
            class_of(value) != class::MUTABLE && !self.above.contains(address) && lives(address)
        });
        marks.map(|(address, value)| (*address, *value)).collect()
    }

    fn write(&mut self, set: &BTreeMap<u64, [u8; 16]>) -> Result<(), SensorError> {
        let gone: Vec<u64> = self.set.keys().filter(|key| !set.contains_key(key)).copied().collect();
        // What has no bit is not looked up: all bits stand before the first mark, and go behind the last.
        self.set_bits(bits_of(set.keys().chain(&gone)))?;
        // Meanwhile nothing is ignored: what stands already is left, what goes makes room for what comes.
        for key in &gone {
            self.table.remove(key).map_err(|e| map_error("MARKS", e))?;
        }
        for (key, value) in set.iter().filter(|(key, value)| self.set.get(key) != Some(value)) {
            self.table.insert(key, value, 0).map_err(|e| map_error("MARKS", e))?;
        }
        self.set_bits(bits_of(set.keys()))
    }

    fn set_bits(&mut self, bits: Vec<u64>) -> Result<(), SensorError> {
        for (word, (new, old)) in (0..).zip(bits.iter().zip(&mut self.bits)) {
            if new != old {
                self.marked.set(word, new, 0).map_err(|e| map_error("MARKED", e))?;
                *old = *new;
            }
        }
        Ok(())
    }

    /// Drops the watches of inodes without a mark.
    fn forget(&mut self) {
        self.coarse.retain(|address| self.set.contains_key(address));
        let without = |(_, address): &(&WatchDescriptor, &u64)| !self.set.contains_key(address);
        let old: Vec<WatchDescriptor> =
            self.watched.iter().filter(without).map(|(watch, _)| watch.clone()).collect();
        for watch in old {
            self.watched.remove(&watch);
            // A root that is gone has lost its watch already: then there is nothing to remove.
            drop(self.watch.watches().remove(watch));
        }
    }

    /// The kernel's key for a root, kept in memory from here on. None when it is gone.
    fn resolve(&mut self, ebpf: &mut Ebpf, mark: &Mark) -> Result<Option<(u64, [u8; 16])>, SensorError> {
        let Some(descriptor) = open(&mark.path)? else { return Ok(None) };
        let events = WatchMask::DELETE_SELF | WatchMask::MOVE_SELF;
        let link = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
        let watch = self.watch.watches().add(link, events).map_err(|e| mark_error(&mark.path, e))?;
        run(ebpf, "resolve", descriptor.as_raw_fd().unsigned_abs().into())?;
        let answer = self.answers.get(&0, 0).map_err(|e| map_error("RESOLVED", e))?;
        let resolved = filter::Resolved::read_from_bytes(&answer).unwrap_or_default();
        if resolved.found == 0 {
            return Err(SensorError::Missing("answer to resolve"));
        }
        self.watched.insert(watch, resolved.key.pointer);
        match has_multigrain_times(&descriptor) {
            true => self.coarse.remove(&resolved.key.pointer),
            false => self.coarse.insert(resolved.key.pointer),
        };
        let value = filter::Mark {
            inode: resolved.key.inode,
            generation: resolved.key.generation,
            class: mark.class.number(),
        };
        let mut bytes = [0; 16];
        bytes.copy_from_slice(value.as_bytes());
        Ok(Some((resolved.key.pointer, bytes)))
    }

    /// Has any root moved, gone or been unmounted since the last call, or does the kernel wait for new marks?
    pub(super) fn stale(&mut self) -> bool {
        self.is_awaited() | self.has_moved()
    }

    fn is_awaited(&self) -> bool {
        // A map that cannot be read is no reason to wait.
        self.generation.get(&0, 0).map_or(true, |bytes| {
            filter::Generation::read_from_bytes(&bytes).is_ok_and(|now| now.distrust == filter::UNMARKED)
        })
    }

    fn has_moved(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let gone = EventMask::DELETE_SELF | EventMask::UNMOUNT | EventMask::IGNORED;
        let Ok(events) = self.watch.read_events(&mut buffer) else { return false };
        let mut stale = false;
        for event in events {
            stale |= event.mask.intersects(gone | EventMask::MOVE_SELF | EventMask::Q_OVERFLOW);
            if event.mask.intersects(gone) {
                self.watched.remove(&event.wd);
            }
        }
        stale
    }
}

/// Marks of one table that the other has not, or has otherwise, both ways.
fn differences(one: &BTreeMap<u64, [u8; 16]>, other: &BTreeMap<u64, [u8; 16]>) -> usize {
    let without = |key: &&u64| !one.contains_key(key);
    one.iter().filter(|(key, value)| other.get(key) != Some(value)).count()
        + other.keys().filter(without).count()
}

/// The bits of these inodes.
fn bits_of<'a>(inodes: impl Iterator<Item = &'a u64>) -> Vec<u64> {
    let mut bits = vec![0; filter::marked::WORDS as usize];
    for (word, bit) in inodes.map(|inode| filter::marked::of(*inode)) {
        bits[word as usize] |= bit;
    }
    bits
}

/// Two paths of one inode: the one that keeps more wins.
fn keep_strictest(set: &mut BTreeMap<u64, [u8; 16]>, address: u64, value: [u8; 16]) {
    let rank = |bytes: &[u8; 16]| match class_of(bytes) {
        class::PROTECT => 2,
        class::KEEP => 1,
        _ => 0,
    };
    let slot = set.entry(address).or_insert(value);
    if rank(&value) > rank(slot) {
        *slot = value;
    }
}

fn class_of(value: &[u8; 16]) -> u32 {
    filter::Mark::read_from_bytes(value).unwrap_or_default().class
}

fn open(path: &Path) -> Result<Option<OwnedFd>, SensorError> {
    match rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Ok(descriptor) => Ok(Some(descriptor)),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
        Err(error) => Err(mark_error(path, error.into())),
    }
}

/// FS_MGTIME, which only the kernel has: these have it since there is such a thing, and of any other file system it is not
/// believed. An answer that cannot be had is none.
fn has_multigrain_times(descriptor: &OwnedFd) -> bool {
    // EXT4_SUPER_MAGIC, BTRFS_SUPER_MAGIC, XFS_SUPER_MAGIC and TMPFS_MAGIC of `linux/magic.h`.
    const MULTIGRAIN: [i64; 4] = [0xef53, 0x9123_683e, 0x5846_5342, 0x0102_1994];
    rustix::fs::fstatfs(descriptor).is_ok_and(|found| MULTIGRAIN.contains(&found.f_type))
}

fn mark_error(path: &Path, source: io::Error) -> SensorError {
    SensorError::Mark { path: path.to_path_buf(), source }
}

/// Runs a program in this thread.
fn run(ebpf: &mut Ebpf, name: &'static str, argument: u64) -> Result<(), SensorError> {
    let Some(Program::RawTracePoint(program)) = ebpf.program_mut(name) else {
        return Err(SensorError::Missing(name));
    };
    let program: &RawTracePoint = program;
    let mut options = RawTracePointRunOptions::new();
    options.args[0] = argument;
    program
        .test_run(options)
        .map(drop)
        .map_err(|source| SensorError::Program { name, source: Box::new(source) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_below_a_root_carries_on_what_holds_there() {
        let mark = |path: &str, class| Mark { path: path.into(), class };
        let marks = vec![mark("/", MarkClass::Mutable), mark("/etc", MarkClass::Protect)];
        let mounts = ["/", "/etc/ssl", "/proc"].map(Path::new);
        let all = with_mounts(marks, mounts.into_iter());
        let class = |path: &str| all.iter().find(|m| m.path == Path::new(path)).map(|m| m.class);
        assert_eq!(class("/etc/ssl"), Some(MarkClass::Protect));
        assert_eq!(class("/proc"), Some(MarkClass::Mutable));
        assert_eq!(all.len(), 4);
    }

    #[test]
    fn a_directory_above_a_root_carries_on_what_holds_there() {
        let mark = |path: &str, class| Mark { path: path.into(), class };
        let marks = vec![mark("/", MarkClass::Mutable), mark("/opt/app/conf", MarkClass::Protect)];
        let nested = mark("/opt/app/conf/a/cache", MarkClass::Mutable);
        let all = above(&[marks, vec![nested]].concat());
        let class = |path: &str| all.iter().find(|m| m.path == Path::new(path)).map(|m| m.class);
        assert_eq!(["/opt", "/opt/app"].map(class), [Some(MarkClass::Mutable); 2]);
        assert_eq!(class("/opt/app/conf/a"), Some(MarkClass::Protect));
        assert_eq!(all.len(), 3);
        assert_eq!(above(&[mark("/etc/a", MarkClass::Protect)]).len(), 0, "nothing is known above");
    }

    #[test]
    fn a_mark_that_is_missing_added_or_altered_is_a_difference() {
        let table = |marks: &[(u64, u8)]| marks.iter().map(|(key, value)| (*key, [*value; 16])).collect();
        let whole: BTreeMap<u64, [u8; 16]> = table(&[(1, 1), (2, 2)]);
        let differ = |other: &[(u64, u8)]| differences(&whole, &table(other));
        assert_eq!([differ(&[(1, 1), (2, 2)]), differ(&[(1, 1)]), differ(&[])], [0, 1, 2]);
        assert_eq!([differ(&[(1, 1), (2, 2), (3, 3)]), differ(&[(1, 1), (2, 9)])], [1, 1]);
    }

    /// Inodes of one file system lie next to each other in the kernel's slabs.
    #[test]
    fn neighbours_have_bits_of_their_own() {
        let inodes: Vec<u64> = (0..500).map(|number| 0xffff_8880_1234_0000 + number * 1096).collect();
        let set: u32 = bits_of(inodes.iter()).iter().map(|word| word.count_ones()).sum();
        assert!(set > 480, "{set} bits of 500 inodes");
    }

    #[test]
    fn a_mount_that_no_root_covers_gets_no_mark() {
        let marks = vec![Mark { path: "/etc".into(), class: MarkClass::Protect }];
        assert_eq!(with_mounts(marks, [Path::new("/srv")].into_iter()).len(), 1);
    }
}
