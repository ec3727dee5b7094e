//! The sensor seen from user space.
//!
//! In: the running kernel, the policy's roots. Out: [`Raw`] records in the order in which they happened.
//! Always: what the kernel could not hand over is counted and asked for by [`Sensor::counters`]. Never:
//! looks at what a record says, waits for a disk, or exempts a process. It fails when the kernel refuses a
//! program that nothing can stand in for, with the kernel's own words and the remedy.

mod btf;
mod cast;
mod offsets;
mod wanted;
mod attach;
mod links;
mod runs;
mod frozen;
mod marks;
mod pieces;
mod rings;
mod merge;
mod overflow;
mod pins;
mod stay;
mod twins;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray};
use aya::programs::ProgramError;
use aya::sys::{Stats, enable_stats};
use aya::{Ebpf, EbpfError};
use aya_log::EbpfLogger;
use graven_abi::counter;
use graven_abi::header::ring;

use crate::lock::Lock;

pub use attach::Hook;
pub use marks::{Mark, MarkClass, Wanted, above, with_mounts};
pub use merge::Merge;
pub use overflow::Overflow;
pub use pins::{Counted, Inherited, Left, MARGIN, Pins, refusal};
pub use rings::{Drain, Drained, Waker};
pub use runs::Runs;
pub use twins::Twins;

/// The programs, as `cargo xtask build` left them.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("GRAVEN_SENSOR"));

/// The same for kernels with bpf_rdonly_cast (from 6.2 on, with the JIT).
pub static OBJECT_CAST: &[u8] = aya::include_bytes_aligned!(env!("GRAVEN_SENSOR_CAST"));

/// The same for kernels before 5.12, which have no atomics that return a value.
pub static OBJECT_COUNTED: &[u8] = aya::include_bytes_aligned!(env!("GRAVEN_SENSOR_COUNTED"));

/// Where the kernel describes its own types.
pub const BTF: &str = "/sys/kernel/btf/vmlinux";

/// One record as it lay in a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw(pub bytes::Bytes);

impl Raw {
    /// CLOCK_BOOTTIME of what happened, ns; 0 when it is too short to say.
    pub fn time(&self) -> u64 {
        time(&self.0)
    }
}

/// How many rings there are.
const RINGS: usize = 3;

/// Where the time lies in a record's header.
const TIME_AT: usize = 8;

/// Kernel time of a record; 0 (so that it is handed on first) when it is too short to have one.
fn time(record: &[u8]) -> u64 {
    let field = record.get(TIME_AT..TIME_AT + 8).and_then(|bytes| bytes.try_into().ok());
    field.map_or(0, u64::from_le_bytes)
}

/// The kernel, or what it was asked, does not allow the sensor.
#[derive(Debug, thiserror::Error)]
pub enum SensorError {
    /// Not root.
    #[error(
        "the sensor needs root (CAP_BPF and CAP_PERFMON are not enough to read /proc of others): run it as root"
    )]
    NotRoot,
    /// No type information.
    #[error("the kernel has no BTF ({BTF} cannot be read): use a kernel built with CONFIG_DEBUG_INFO_BTF=y")]
    NoBtf(#[source] std::io::Error),
    /// It cannot be understood.
    #[error("the kernel's BTF ({BTF}) is damaged or of a newer format than this release reads")]
    Btf,
    /// A field that the sensor needs is not in this kernel.
    #[error(
        "this kernel has no field {structure}.{field}: it is newer or older than the sensor knows; please report the kernel's version"
    )]
    Field {
        /// The struct.
        structure: &'static str,
        /// The field's path in it.
        field: &'static str,
    },
    /// No ring buffer maps.
    #[error("the kernel has no BPF ring buffers (they came with 5.8): use a newer kernel")]
    NoRingBuffer,
    /// BPF is refused.
    #[error(
        "the kernel refuses tracing programs to this process ({operation}): check that it is root in the initial user namespace with CAP_BPF and CAP_PERFMON, and that neither lockdown=confidentiality, a container nor a security module forbids bpf(2)"
    )]
    Refused {
        /// What was asked.
        operation: String,
        /// The kernel's answer.
        #[source]
        source: std::io::Error,
    },
    /// The object does not load.
    #[error("the sensor does not load")]
    Load(#[source] Box<EbpfError>),
    /// A program does not load or attach.
    #[error("program {name} does not load or attach")]
    Program {
        /// Its name.
        name: &'static str,
        /// Why.
        #[source]
        source: Box<ProgramError>,
    },
    /// A map does not work.
    #[error("map {name} cannot be used")]
    Map {
        /// Its name.
        name: &'static str,
        /// Why.
        #[source]
        source: Box<MapError>,
    },
    /// Part of the object is missing: our bug.
    #[error("the embedded sensor has no {0}: it is of another version, run `cargo xtask build`")]
    Missing(&'static str),
    /// The protected places cannot be watched.
    #[error("{path} cannot be marked{}", remedy(source))]
    Mark {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The policy has more roots than the kernel's table holds.
    #[error("the policy needs {0} marks, at most {max} fit: name fewer places", max = graven_abi::limits::MARKS)]
    TooManyMarks(usize),
    /// Nobody counts how often programs run.
    #[error("the kernel does not count how often programs run (BPF_ENABLE_STATS, since 5.8)")]
    Count(#[source] std::io::Error),
    /// What is to outlive the agent, or has outlived it, cannot be kept or read.
    #[error("what is kept of the sensor at {path} cannot be used")]
    Keep {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The rings cannot be waited for.
    #[error("the rings cannot be read")]
    Rings(#[source] std::io::Error),
}

/// The kernel's counters, summed over CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Kept for the life, protected and activity ring.
    pub kept: [u64; 3],
    /// Of these, without room.
    pub lost: [u64; 3],
    /// Changes of mutable places.
    pub ignored: u64,
    /// Operations seen without their inodes, because a table was full.
    pub state_full: u64,
    /// Changes folded into an earlier record of the same second.
    pub folded: u64,
    /// Refused attempts that are not recorded one by one.
    pub refused: u64,
    /// Losses that the overflow table had no room to tell about.
    pub untold: u64,
}

/// What tells which inodes change, whoever changes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// The inode-time tracepoints (from 6.13 on).
    Times,
    /// Functions of the VFS (from 5.15 on).
    Functions,
    /// Nothing: names are the callers', and so is the outcome.
    Nothing,
}

impl Witness {
    /// Is every change told by its inode?
    pub fn is_there(self) -> bool {
        self != Self::Nothing
    }

    /// For people and programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Times => "inode-time tracepoints",
            Self::Functions => "functions of the VFS",
            Self::Nothing => "nothing",
        }
    }
}

/// A map that somebody else wrote into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mended {
    /// Its name.
    pub map: &'static str,
    /// What differed.
    pub change: String,
    /// Whether what was there stands there again.
    pub written: Result<(), String>,
}

impl Mended {
    fn unread(map: &'static str, error: &SensorError) -> Self {
        let change = "it cannot be compared with what was written there".to_owned();
        Self { map, change, written: Err(attach::reason(error)) }
    }
}

/// The loaded sensor. Dropping it detaches everything, unless this process is about to die or was told to leave it.
pub struct Sensor {
    object: &'static [u8],
    ebpf: Ebpf,
    hooks: Vec<Hook>,
    links: Vec<links::Link>,
    kernel: wanted::Version,
    witnessed: bool,
    functions: Option<Vec<&'static str>>,
    uncast: Option<String>,
    /// Maps that user space can change though nobody of it should.
    open: Vec<String>,
    /// The kernel's numbers of the maps that outlive the agent.
    lasting: Vec<(&'static str, u32)>,
    /// Where they are kept, with the links.
    kept: Option<PathBuf>,
    /// And held, so that nobody else takes it for what an agent has left.
    held: Option<Lock>,
    told: Array<MapData, u64>,
    /// What was written there last.
    on_disk: Counted,
    from: u64,
    own: Array<MapData, u32>,
    guarded: Vec<u32>,
    /// One number: something tells of writes.
    witnesses: Array<MapData, u32>,
    overflow: overflow::Overflows,
    marks: marks::Marks,
    log: EbpfLogger<&'static dyn log::Log>,
    counters: PerCpuArray<MapData, u64>,
    sequences: PerCpuArray<MapData, u64>,
}

impl Sensor {
    /// Loads the object with this kernel's offsets. Nothing is attached yet.
    pub fn load() -> Result<Self, SensorError> {
        let attach::Loaded { object, mut ebpf, witnessed, functions, kernel, uncast, .. } = attach::load()?;
        let open = frozen::freeze(&ebpf);
        let lasting = stay::lasting(&ebpf)?;
        let told = Array::try_from(take(&mut ebpf, "TOLD")?).map_err(|source| map_error("TOLD", source))?;
        let log = EbpfLogger::init(&mut ebpf).map_err(|_| SensorError::Missing("log"))?;
        let (counters, sequences) = (numbers(&mut ebpf, "COUNTERS")?, numbers(&mut ebpf, "SEQUENCES")?);
        let table: HashMap<MapData, u64, [u8; 16]> =
            HashMap::try_from(take(&mut ebpf, "MARKS")?).map_err(|source| map_error("MARKS", source))?;
        let marks = marks::Marks::new(&mut ebpf, table)?;
        let own = Array::try_from(take(&mut ebpf, "OWN")?).map_err(|source| map_error("OWN", source))?;
        let witnesses = Array::try_from(take(&mut ebpf, "WITNESS")?);
        let witnesses = witnesses.map_err(|source| map_error("WITNESS", source))?;
        let overflow = overflow::Overflows::new(&mut ebpf)?;
        let (hooks, links) = (Vec::new(), Vec::new());
        Ok(Self {
            object,
            ebpf,
            hooks,
            links,
            kernel,
            witnessed,
            functions,
            uncast,
            open,
            lasting,
            kept: None,
            held: None,
            told,
            on_disk: Counted::default(),
            from: 0,
            own,
            guarded: Vec::new(),
            witnesses,
            overflow,
            marks,
            log,
            counters,
            sequences,
        })
    }

    /// The build that was loaded.
    pub fn object(&self) -> &'static [u8] {
        self.object
    }

    /// What tells which inodes change. Once it is attached.
    pub fn witness(&self) -> Witness {
        let missing = self.hooks.iter().any(|hook| attach::is_function(hook.name) && hook.refused.is_some());
        match (self.witnessed, self.functions.is_some() && !missing) {
            (true, _) => Witness::Times,
            (false, true) => Witness::Functions,
            (false, false) => Witness::Nothing,
        }
    }

    /// Does something tell of each change of what is protected, whatever asked for it and by whatever name? As of the last
    /// [`Self::mark`].
    pub fn tells_of_all(&self) -> bool {
        self.witness() == Witness::Times && self.marks.are_multigrain()
    }

    /// The agent's own processes: what others do to them is recorded.
    pub fn guard(&mut self, processes: &[u32]) -> Result<(), SensorError> {
        for (index, pid) in (0..graven_abi::limits::OWN).zip(processes) {
            self.own.set(index, pid, 0).map_err(|source| map_error("OWN", source))?;
        }
        self.guarded = processes.to_vec();
        Ok(())
    }

    /// Were all rows of losses taken out at the last look?
    pub fn is_told(&self) -> bool {
        self.overflow.is_empty()
    }

    /// Nothing more is added to rows: the sensor is detached.
    pub fn complete(&mut self) {
        self.overflow.complete();
    }

    /// What was lost where and by whom, of all seconds that are over.
    pub fn overflows(&mut self) -> Result<Vec<Overflow>, SensorError> {
        self.overflow.take()
    }

    /// Sets the policy's roots, all at once; what was marked before is forgotten. How many directories above roots are left
    /// out: if one of these moves, what is put at the root's place is protected from the next look at the mounts on.
    pub fn mark(&mut self, wanted: &Wanted) -> Result<usize, SensorError> {
        let marked = self.marks.replace(&mut self.ebpf, wanted);
        self.log.flush();
        marked
    }

    /// Has a root gone, moved or been unmounted, so that [`Self::mark`] must be called again?
    pub fn marks_stale(&mut self) -> bool {
        self.marks.stale()
    }

    /// Attaches everything. What this kernel does not have and the sensor can do without is said in
    /// [`Self::hooks`].
    pub fn attach(&mut self) -> Result<(), SensorError> {
        (self.hooks, self.links) = attach::attach(&mut self.ebpf, self.kernel, self.functions.as_deref())?;
        self.tell_witness()?;
        if let Some(why) = &self.uncast {
            let slower =
                self.hooks.iter_mut().filter(|hook| hook.name == "sys_exit" && hook.remark.is_none());
            slower.for_each(|hook| {
                hook.remark = Some(format!(
                    "each change costs more than it must, because the kernel does not let its memory be loaded: {why}"
                ));
            });
        }
        Ok(())
    }

    /// The programs learn whether something tells of writes.
    fn tell_witness(&mut self) -> Result<(), SensorError> {
        let told = u32::from(self.witness().is_there());
        self.witnesses.set(0, told, 0).map_err(|source| map_error("WITNESS", source))
    }

    /// Hooks whose programs were attached and are so no more, as far as this process's own descriptors tell.
    pub fn lost_hooks(&self) -> Vec<&'static str> {
        self.links.iter().filter(|link| !link.is_held()).map(|link| link.hook).collect()
    }

    /// Takes the programs of these hooks off and attaches them again: what came of it, for each. The functions of the VFS are
    /// used together or not at all: all that are off are attached with them.
    pub fn hang_again(
        &mut self,
        hooks: &BTreeSet<&'static str>,
    ) -> BTreeMap<&'static str, Result<(), String>> {
        // One that is off already may only have to be held again.
        for link in self.links.iter_mut().filter(|link| hooks.contains(link.hook) && link.is_held()) {
            link.release();
        }
        let (functions, others): (BTreeSet<_>, BTreeSet<_>) =
            hooks.iter().partition(|hook| attach::is_function(hook));
        let mut renewed: BTreeMap<_, _> =
            others.into_iter().map(|hook| (hook, self.renew(|name| name == hook))).collect();
        if !functions.is_empty() {
            let together = self.renew(attach::is_function);
            if together.is_err() {
                let mine = self.links.iter_mut().filter(|link| attach::is_function(link.hook));
                mine.for_each(links::Link::release);
            }
            renewed.extend(functions.into_iter().map(|hook| (hook, together.clone())));
        }
        for hook in &mut self.hooks {
            let link = self.links.iter().find(|link| link.hook == hook.name);
            if let Some(link) = link {
                hook.refused = (!link.is_held()).then(|| "it cannot be attached again".to_owned());
            }
        }
        if let Err(error) = self.tell_witness() {
            tracing::error!("the sensor's programs may wait for words of writes that do not come: {error}");
        }
        renewed
    }

    /// Those that are off.
    fn renew(&mut self, wanted: impl Fn(&str) -> bool) -> Result<(), String> {
        let ebpf = &mut self.ebpf;
        let mut off = self.links.iter_mut().filter(|link| wanted(link.hook) && !link.is_held());
        off.try_for_each(|link| link.renew(ebpf)).map_err(|error| attach::reason(&error))
    }

    /// How often each program runs while `deeds` are done, which are told what is attached: before and after. Meanwhile each
    /// run of each program of the host is timed (BPF_ENABLE_STATS, since 5.8).
    pub fn count_runs<T>(
        &self,
        deeds: impl FnOnce(&BTreeSet<&'static str>) -> T,
    ) -> Result<(Vec<Runs>, T, Vec<Runs>), SensorError> {
        let counting = enable_stats(Stats::RunTime).map_err(|error| SensorError::Count(error.io_error))?;
        let before = runs::runs(&self.ebpf, &self.hooks);
        let done = deeds(&before.iter().map(|runs| runs.hook).collect());
        let after = runs::runs(&self.ebpf, &self.hooks);
        drop(counting);
        Ok((before, done, after))
    }

    /// Compares what the agent wrote into the kernel's maps with what is there, writes again what differs, and says which
    /// map it was, what differed, and whether it could be written.
    pub fn mend_maps(&mut self) -> Vec<Mended> {
        let mut mended = Vec::new();
        match self.marks.mend(&mut self.ebpf) {
            Ok(marks::Mended { marks, words, written }) => {
                let written = written.map_err(|error| attach::reason(&error));
                if marks > 0 {
                    let change =
                        format!("{marks} marks of the policy's places were missing, added or altered");
                    mended.push(Mended { map: "MARKS", change, written: written.clone() });
                }
                if words > 0 {
                    let change =
                        format!("{words} words of the bits that tell which inodes have marks were altered");
                    mended.push(Mended { map: "MARKED", change, written });
                }
            }
            Err(error) => mended.push(Mended::unread("MARKS", &error)),
        }
        let pids = (0..).zip(&self.guarded).take(graven_abi::limits::OWN as usize);
        let differ = |(index, pid): &(u32, &u32)| self.own.get(index, 0).map_or(true, |found| found != **pid);
        if pids.filter(differ).count() > 0 {
            let written = self.guard(&self.guarded.clone()).map_err(|error| attach::reason(&error));
            let change = "the pids of the agent's own processes were altered".to_owned();
            mended.push(Mended { map: "OWN", change, written });
        }
        let told = u32::from(self.witness().is_there());
        if self.witnesses.get(&0, 0).map_or(true, |found| found != told) {
            let written = self.tell_witness().map_err(|error| attach::reason(&error));
            let change = "what says that the kernel tells of writes was altered".to_owned();
            mended.push(Mended { map: "WITNESS", change, written });
        }
        mended.extend(self.mend_kept());
        mended
    }

    /// Maps that others with the rights can change unseen, because the kernel did not freeze them.
    pub fn open_maps(&self) -> &[String] {
        &self.open
    }

    /// Takes everything off its hooks. What lies in the rings stays to be read, the counters too.
    pub fn detach(&mut self) {
        // Last attached first: what notes a change goes before what uses the note up.
        while let Some(mut link) = self.links.pop() {
            link.release();
        }
        if let Some(folder) = self.kept.take() {
            stay::forget(&folder);
        }
    }

    /// What hangs on what.
    pub fn hooks(&self) -> &[Hook] {
        &self.hooks
    }

    /// The three rings, to be read by one thread. Can be taken once.
    pub fn rings(&mut self) -> Result<Drain, SensorError> {
        Drain::new(&mut self.ebpf)
    }

    /// The counters now.
    pub fn counters(&self) -> Result<Counters, SensorError> {
        let sum = |index| total(&self.counters, "COUNTERS", index);
        let kept = |ring: u8| total(&self.sequences, "SEQUENCES", ring.into());
        Ok(Counters {
            kept: [kept(ring::LIFE)?, kept(ring::PROTECTED)?, kept(ring::ACTIVITY)?],
            lost: [sum(counter::LOST_LIFE)?, sum(counter::LOST_PROTECTED)?, sum(counter::LOST_ACTIVITY)?],
            ignored: sum(counter::IGNORED)?,
            state_full: sum(counter::STATE_FULL)?,
            folded: sum(counter::FOLDED)?,
            refused: sum(counter::REFUSED)?,
            untold: sum(counter::OVERFLOW_FULL)?,
        })
    }

    /// Instructions that the verifier followed before it took a hook's program, of a million that it follows at most
    /// (`verified_insns`, since Linux 5.16).
    pub fn verified(&self, hook: &Hook) -> Option<u32> {
        attach::verified(&self.ebpf, hook)
    }

    /// How often the kernel skipped each attached program (`recursion_misses`, since 5.12): loss that no
    /// ring shows.
    pub fn skipped(&self) -> Vec<(&'static str, u64)> {
        let mut sums: Vec<(&'static str, u64)> = Vec::new();
        for runs in runs::runs(&self.ebpf, &self.hooks) {
            match sums.last_mut() {
                Some((hook, sum)) if *hook == runs.hook => *sum = sum.saturating_add(runs.skipped),
                _ => sums.push((runs.hook, runs.skipped)),
            }
        }
        sums
    }
}

/// inotify_add_watch(2).
fn remedy(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::StorageFull => ": raise fs.inotify.max_user_watches",
        _ => "",
    }
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, SensorError> {
    ebpf.take_map(name).ok_or(SensorError::Missing(name))
}

/// A map of numbers, one for each CPU.
fn numbers(ebpf: &mut Ebpf, name: &'static str) -> Result<PerCpuArray<MapData, u64>, SensorError> {
    PerCpuArray::try_from(take(ebpf, name)?).map_err(|source| map_error(name, source))
}

/// One of its numbers, of all CPUs.
fn total(numbers: &PerCpuArray<MapData, u64>, name: &'static str, index: u32) -> Result<u64, SensorError> {
    let values = numbers.get(&index, 0).map_err(|source| map_error(name, source))?;
    Ok(values.iter().sum())
}

fn map_error(name: &'static str, source: MapError) -> SensorError {
    SensorError::Map { name, source: Box::new(source) }
}
