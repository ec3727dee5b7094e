//! The maps that the filter and the counters live in.

#[cfg(not(feature = "counted"))]
use core::intrinsics::atomic_cxchg;
use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray};
use graven_abi::filter::{Generation, InodeKey, LOOKED, Mark, Resolved, UNMARKED, Verdict, class, marked};
use graven_abi::header::ExecKey;
use graven_abi::{counter, limits, told};

use super::clock::now;
use super::read::copy;

/// Policy roots by inode address. Never LRU: a mark that is forgotten is a hole.
#[map]
static MARKS: HashMap<u64, Mark> = HashMap::with_max_entries(limits::MARKS, 0);
/// Which inodes may have one, see `filter::marked`.
#[map]
static MARKED: Array<u64> = Array::with_max_entries(marked::WORDS, 0);
#[map]
static VERDICTS: LruHashMap<InodeKey, Verdict> = LruHashMap::with_max_entries(limits::VERDICTS, 0);
#[map]
static GENERATION: Array<Generation> = Array::with_max_entries(1, 0);
/// See [`told`].
#[map]
static MODIFIED: LruHashMap<ModifyKey, u64> = LruHashMap::with_max_entries(limits::MODIFIED, 0);
#[map]
static UNCOVERED: LruHashMap<UncoveredKey, u32> = LruHashMap::with_max_entries(limits::UNCOVERED, 0);
#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(counter::COUNT, 0);
/// By ring number: the last sequence, which is how many records there were.
#[map]
static SEQUENCES: PerCpuArray<u64> = PerCpuArray::with_max_entries(4, 0);
#[map]
static REFUSED: LruHashMap<ExecKey, Refusals> = LruHashMap::with_max_entries(limits::REFUSING, 0);
/// By a part of the thread's number: the write that a tracepoint or a function has told of, until its call ends. An array and
/// no hash: each call that writes looks here when it ends.
#[map]
static WROTE: Array<Wrote> = Array::with_max_entries(limits::WRITERS, 0);
/// By thread: the request that it submitted last.
#[map]
static SUBMITTED: LruHashMap<u64, i32> = LruHashMap::with_max_entries(limits::SUBMITTERS, 0);
/// The agent's own processes: their pids, 0 = none.
#[map]
static OWN: Array<u32> = Array::with_max_entries(limits::OWN, 0);
/// 1 = inode-time tracepoints or functions of the VFS tell of writes: the agent says so once they are attached.
#[map]
static WITNESS: Array<u32> = Array::with_max_entries(1, 0);
/// 1 = the agent sleeps, and wants to be woken by the next record.
#[map]
static ASLEEP: Array<u32> = Array::with_max_entries(1, 0);
/// Written and read by the agent alone, see `graven_abi::told`; it lives as long as the rings do.
#[map]
static TOLD: Array<u64> = Array::with_max_entries(told::COUNT, 0);
#[map]
static RESOLVED: Array<Resolved> = Array::with_max_entries(1, 0);

/// Verdicts that were found by the old marks are gone after this, ns.
const SETTLE: u64 = 100_000_000;

/// For this long after a directory changed in an undecoded way no verdict is believed: the change time is set
/// before the dentry moves, and a thread can be kept from going on for a while. ns.
pub const DISTRUST: u64 = 4_000_000_000;

/// Which program run changed which inode.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ModifyKey {
    pub who: ExecKey,
    pub inode: InodeKey,
    /// The command of an ioctl: each is a record of its own.
    pub command: u32,
    /// One of [`modified`].
    pub by: u32,
}

/// What told of a change: a proven one is not folded into one that was only said.
pub mod modified {
    /// The kernel: the inode's time was set, or a function of the VFS went about it.
    pub const PROVEN: u32 = 0;
    /// Nothing but the call.
    pub const SAID: u32 = 1;
}

/// What a call of a thread has written to.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Wrote {
    /// 0 = nobody.
    pub thread: u32,
    /// As what it was told: one of `filter::class`.
    pub class: u32,
    pub inode: u64,
    pub entry: u32,
    pub number: i32,
    /// When, ns.
    pub time: u64,
}

const _: () = assert!(limits::WRITERS.is_power_of_two());

/// Which process used which unknown call.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct UncoveredKey {
    pub start: u64,
    pub number: i64,
    pub pid: u32,
    pub entry: u32,
}

/// How often a program run was refused within a second.
#[derive(Clone, Copy)]
#[repr(C)]
struct Refusals {
    since: u64,
    count: u64,
}

/// The mark on an inode's address.
#[inline(always)]
pub fn mark(inode: u64) -> Option<&'static Mark> {
    let (word, bit) = marked::of(inode);
    // SAFETY: a live map value; volatile, because the agent writes it.
    if unsafe { MARKED.get_ptr(word)?.read_volatile() } & bit == 0 {
        return None;
    }
    // SAFETY: plain data; the agent replaces marks whole.
    unsafe { MARKS.get(inode) }
}

#[inline(always)]
pub fn verdict(directory: &InodeKey) -> Option<&'static Verdict> {
    // SAFETY: plain data; a torn one has a generation that does not match.
    unsafe { VERDICTS.get(directory) }
}

#[inline(always)]
pub fn remember(directory: &InodeKey, verdict: &Verdict) {
    let _full = VERDICTS.insert(directory, verdict, 0);
}

/// Both numbers of the sequence lock, `finished` first, as a reader must. While verdicts are distrusted they
/// differ.
#[inline(always)]
pub fn generation() -> (u64, u64) {
    let Some(generation) = GENERATION.get_ptr(0) else { return (0, 1) };
    // SAFETY: a live map value; volatile, because other CPUs write it.
    let (finished, started, distrust) = unsafe {
        let finished = core::ptr::read_volatile(&raw const (*generation).finished);
        let started = core::ptr::read_volatile(&raw const (*generation).started);
        (finished, started, core::ptr::read_volatile(&raw const (*generation).distrust))
    };
    if distrust != 0 && now() < distrust { (finished, finished + 1) } else { (finished, started) }
}

/// The number of finished moves of directories, with 1 added, while none is running; else 0.
#[inline(always)]
pub fn settled() -> u64 {
    let (finished, started) = generation();
    if finished == started { finished.wrapping_add(1) } else { 0 }
}

/// The time until which no verdict is believed.
#[inline(always)]
fn distrusted() -> u64 {
    match GENERATION.get_ptr(0) {
        // SAFETY: a live, aligned map value; volatile, because other CPUs write it.
        Some(generation) => unsafe { core::ptr::read_volatile(&raw const (*generation).distrust) },
        None => 0,
    }
}

/// Believe no verdict before this time. Two writers at once are a moment apart: either time will do.
#[inline(always)]
fn distrust(until: u64) {
    if let Some(generation) = GENERATION.get_ptr_mut(0) {
        // SAFETY: a live, aligned map value; volatile, because other CPUs read it.
        unsafe { core::ptr::write_volatile(&raw mut (*generation).distrust, until) }
    }
}

/// The same if it is `before` until now: who has another reason meanwhile is not overwritten.
#[cfg(not(feature = "counted"))]
#[inline(always)]
fn distrust_instead(before: u64, until: u64) {
    if let Some(generation) = GENERATION.get_ptr_mut(0) {
        // SAFETY: a live, aligned map value.
        let cell = unsafe { &raw mut (*generation).distrust };
        // SAFETY: as above.
        let _was = unsafe {
            atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(cell, before, until)
        };
    }
}

/// Kernels before 5.12 have no atomics that return a value: there a reason of the same moment may be overwritten, and the
/// agent's own watch of the roots has to tell of it.
#[cfg(feature = "counted")]
#[inline(always)]
fn distrust_instead(before: u64, until: u64) {
    if distrusted() == before {
        distrust(until);
    }
}

/// Believe no verdict for so long, ns, and none that was found before at all.
#[inline(always)]
pub fn distrust_for(time: u64) {
    // Marks that are awaited are not forgotten.
    let before = distrusted();
    if before < LOOKED {
        distrust_instead(before, now() + time);
    }
    shake();
}

/// A policy root itself moves or goes: what stands at its place from here on has no mark until the agent has set the
/// marks anew, so nothing is ignored until then.
#[inline(always)]
pub fn distrust_until_marked() {
    distrust(UNMARKED);
}

/// The agent looks for the roots.
#[inline(always)]
pub fn looking() {
    distrust_instead(UNMARKED, LOOKED);
}

/// The marks are set anew; what began before is over in a moment. A root that has moved since the agent looked has none.
#[inline(always)]
pub fn marked() {
    distrust_instead(LOOKED, now() + SETTLE);
}

/// The marks could not be set.
#[inline(always)]
pub fn unmarked() {
    distrust_instead(LOOKED, UNMARKED);
}

/// A directory begins to move.
#[inline(always)]
pub fn moving() {
    if let Some(generation) = GENERATION.get_ptr_mut(0) {
        // SAFETY: a live, aligned map value.
        add(unsafe { &raw mut (*generation).started });
    }
}

/// Whatever may have moved: no verdict that was found before is believed.
#[inline(always)]
pub fn shake() {
    moving();
    moved();
}

/// It has moved.
#[inline(always)]
pub fn moved() {
    if let Some(generation) = GENERATION.get_ptr_mut(0) {
        // SAFETY: a live, aligned map value.
        add(unsafe { &raw mut (*generation).finished });
    }
}

#[inline(always)]
fn add(cell: *mut u64) {
    // SAFETY: the callers pass live, aligned map values. Relaxed with an unused result is a plain XADD.
    let _unused: u64 = unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(cell, 1) };
}

/// Counts one, by `counter` index.
#[inline(always)]
pub fn count(index: u32) {
    if let Some(cell) = COUNTERS.get_ptr_mut(index) {
        add(cell);
    }
}

/// Kernels before 5.12 have no atomics that return a value: no sequence, but a count all the same.
#[cfg(feature = "counted")]
#[inline(always)]
pub fn next_sequence(ring: u8) -> u64 {
    if let Some(cell) = SEQUENCES.get_ptr_mut(ring.into()) {
        add(cell);
    }
    0
}

/// The next sequence of a ring on this CPU, from 1.
#[cfg(not(feature = "counted"))]
#[inline(always)]
pub fn next_sequence(ring: u8) -> u64 {
    match SEQUENCES.get_ptr_mut(ring.into()) {
        // SAFETY: a live, aligned map value of this CPU.
        Some(cell) => unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(cell, 1) + 1 },
        None => 0,
    }
}

/// Has this run a record for this inode of the last second, and as a protected one if it is?
#[inline(always)]
pub fn was_modified(key: &ModifyKey, class: u32) -> bool {
    // SAFETY: plain data.
    unsafe { MODIFIED.get(key) }.is_some_and(|last| is_told(*last, class))
}

/// It is told, as one of this class.
#[inline(always)]
pub fn set_modified(key: &ModifyKey, class: u32) {
    let _full = MODIFIED.insert(key, told(class), 0);
}

/// Told now, as one of this class: when, ns << 1; the lowest bit: as a change of a protected place.
#[inline(always)]
pub fn told(class: u32) -> u64 {
    now() << 1 | u64::from(class == class::PROTECT)
}

/// Was it told within the last second, and as a protected one if it is?
#[inline(always)]
pub fn is_told(told: u64, class: u32) -> bool {
    let as_it_is = told & 1 != 0 || class != class::PROTECT;
    as_it_is && now().wrapping_sub(told >> 1) < limits::MODIFY_INTERVAL
}

/// True once per process and call.
#[inline(always)]
pub fn first_uncovered(key: &UncoveredKey) -> bool {
    // BPF_NOEXIST: two threads of one process get one record.
    UNCOVERED.insert(key, 1, 1).is_ok()
}

/// May this refusal be a record, or has the program run had its share for this second?
#[inline(always)]
pub fn may_be_refused(who: &ExecKey) -> bool {
    let now = now();
    match REFUSED.get_ptr_mut(who) {
        // SAFETY: a live map value; two threads of one process at once count once too few at worst.
        Some(seen) => unsafe {
            if now.wrapping_sub((*seen).since) >= limits::MODIFY_INTERVAL {
                (*seen).since = now;
                (*seen).count = 0;
            }
            (*seen).count += 1;
            (*seen).count <= u64::from(limits::REFUSALS)
        },
        None => {
            let _full = REFUSED.insert(who, Refusals { since: now, count: 1 }, 0);
            true
        }
    }
}

/// A thread's call has changed an inode, and it was told.
#[inline(always)]
pub fn set_wrote(wrote: &Wrote) {
    if let Some(place) = WROTE.get_ptr_mut(wrote.thread & (limits::WRITERS - 1)) {
        // SAFETY: a live, aligned map value. A thread that meets this one here has another number.
        unsafe { *place = *wrote }
    }
}

/// The same, which is used up: what it says holds for the call that ends and no other. False: there is none.
#[inline(always)]
pub fn take_wrote(thread: u32, to: &mut Wrote) -> bool {
    let Some(place) = WROTE.get_ptr_mut(thread & (limits::WRITERS - 1)) else { return false };
    // SAFETY: as above; volatile, because other CPUs write it.
    unsafe {
        if core::ptr::read_volatile(&raw const (*place).thread) != thread {
            return false;
        }
        copy(to, &*place);
        core::ptr::write_volatile(&raw mut (*place).thread, 0);
    }
    // A thread that meets this one here may have been faster.
    to.thread == thread
}

/// The current thread submits a request of io_uring that may change files.
#[inline(always)]
pub fn set_submitted(opcode: i32) {
    let _full = SUBMITTED.insert(bpf_get_current_pid_tgid(), opcode, 0);
}

/// The last such request of the current thread; -1 = none.
#[inline(always)]
pub fn submitted() -> i32 {
    // SAFETY: plain data.
    unsafe { SUBMITTED.get(bpf_get_current_pid_tgid()) }.copied().unwrap_or(-1)
}

/// Do inode-time tracepoints or functions of the VFS tell of writes?
#[inline(always)]
pub fn has_witness() -> bool {
    // SAFETY: a live map value; volatile, because the agent writes it.
    WITNESS.get_ptr(0).is_some_and(|told| unsafe { told.read_volatile() } != 0)
}

/// Does the agent sleep? Asked behind a record's handing over.
#[inline(always)]
pub fn is_asleep() -> bool {
    // SAFETY: a live map value; volatile, because the agent and other CPUs write it.
    ASLEEP.get_ptr(0).is_some_and(|asleep| unsafe { asleep.read_volatile() } != 0)
}

/// It is being woken: nobody else has to.
#[inline(always)]
pub fn wakes() {
    if let Some(asleep) = ASLEEP.get_ptr_mut(0) {
        // SAFETY: as above.
        unsafe { asleep.write_volatile(0) }
    }
}

/// Is it a process of the agent?
#[inline(always)]
pub fn is_own(pid: u32) -> bool {
    for index in 0..limits::OWN {
        if OWN.get(index).is_some_and(|own| *own == pid) {
            return pid != 0;
        }
    }
    false
}

/// Is it the process that keeps the marks right?
#[inline(always)]
pub fn is_watch(pid: u32) -> bool {
    pid != 0 && OWN.get(0).is_some_and(|own| *own == pid)
}

/// Answers the agent's question about one of its descriptors.
#[inline(always)]
pub fn answer(resolved: &Resolved) {
    let _fixed_index = RESOLVED.set(0, resolved, 0);
}
