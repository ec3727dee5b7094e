//! What found no room in a ring, summed up: who changed which directory how often. The agent takes the rows of past
//! seconds out and writes them as `lost` records.
//!
//! Bounded: a row more than the table holds is counted alone.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{HashMap, PerCpuArray};
use graven_abi::counter;
use graven_abi::limits::{OVERFLOW_NAME, OVERFLOWS};
use graven_abi::overflow::{Key, Row, SECOND};

use super::clock::now;
use super::dentry::Dentry;
use super::inode::Inode;
use super::maps::count;
use super::scratch::{self, Scratch};
use super::task::{self, Current};

#[map]
static OVERFLOW: HashMap<Key, Row> = HashMap::with_max_entries(OVERFLOWS, 0);

/// A row's first value, too large for the stack: one for each program on this CPU.
#[map]
static FRESH: PerCpuArray<Row> = PerCpuArray::with_max_entries(scratch::owner::COUNT, 0);

/// The record in this scratch was lost. A global function: it is called at each `emit`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn lost(owner: u32, kind: u32, ring: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner) else { return 0 };
    let current = Current::get();
    let directory = Dentry(scratch.directory());
    let at = now();
    let key = scratch.overflow();
    key.who = task::exec_key(current.typed());
    key.directory = if directory.0 == 0 { 0 } else { Inode(directory.inode()).number() };
    key.device = if directory.0 == 0 { 0 } else { directory.device() };
    key.kind = kind as u16;
    key.ring = ring as u16;
    key.second = at >> SECOND;
    let key = &*key;
    if OVERFLOW.get_ptr(key).is_none() {
        begin(owner, key, current, directory, at);
    }
    match OVERFLOW.get_ptr_mut(key) {
        // SAFETY: a live map value; the count is added to atomically, and of two last times either will do.
        Some(row) => unsafe {
            let _before: u64 = atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(&raw mut (*row).count, 1);
            core::ptr::write_volatile(&raw mut (*row).last, at);
        },
        None => count(counter::OVERFLOW_FULL),
    }
    0
}

#[inline(always)]
fn begin(owner: u32, key: &Key, current: Current, directory: Dentry, at: u64) {
    let Some(row) = FRESH.get_ptr_mut(owner) else { return };
    // SAFETY: this program's own value on this CPU.
    let row = unsafe { &mut *row };
    row.count = 0;
    row.first = at;
    row.last = at;
    task::describe(current, &mut row.task);
    row.length = 0;
    row.cut = 0;
    if directory.0 != 0 {
        name(owner, row);
    }
    // BPF_NOEXIST: another CPU may have been faster; its row is as good.
    let _exists = OVERFLOW.insert(key, &*row, 1);
}

/// The components of the directory are in the record's own tail.
#[inline(always)]
fn name(owner: u32, row: &mut Row) {
    let Some(scratch) = Scratch::of(owner) else { return };
    let (from, length) = scratch.directory_names();
    row.cut = (length > OVERFLOW_NAME as u32).into();
    row.length = length.min(OVERFLOW_NAME as u32);
    // SAFETY: OVERFLOW_NAME bytes fit into `name`, and lie within the tail and its slack.
    unsafe { bpf_probe_read_kernel(row.name.as_mut_ptr().cast(), OVERFLOW_NAME as u32, from.cast()) };
}
