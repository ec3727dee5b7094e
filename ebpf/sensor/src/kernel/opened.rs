//! Files that an open has made or cut off, and has told: that the same program run then writes needs no record.
//!
//! An array and no hash: a hash map takes longer for a new entry than tmpfs for the file. What finds no place, or loses it
//! to another, is told once more.

use core::intrinsics::{AtomicOrdering, atomic_cxchg};

use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;
use graven_abi::filter::{InodeKey, spread};
use graven_abi::header::ExecKey;
use graven_abi::limits;

use super::maps::{is_told, told};
use super::read::copy;

/// See the module's text.
#[derive(Clone, Copy)]
#[repr(C)]
struct Opened {
    who: ExecKey,
    inode: InodeKey,
    /// See `maps::told`; or [`BEING_WRITTEN`].
    told: u64,
}

/// [`Opened::told`] while a CPU fills the entry.
const BEING_WRITTEN: u64 = u64::MAX;

/// By a part of the inode's address.
#[map]
static OPENED: Array<Opened> = Array::with_max_entries(limits::OPENED, 0);

const _: () = assert!(limits::OPENED.is_power_of_two());

#[inline(always)]
fn place(inode: &InodeKey) -> Option<*mut Opened> {
    OPENED.get_ptr_mut(spread(inode.pointer, limits::OPENED))
}

/// An open of this run is told, as one of this class.
#[inline(always)]
pub fn set(who: &ExecKey, inode: &InodeKey, class: u32) {
    let Some(place) = place(inode) else { return };
    // SAFETY: a live, aligned map value; volatile, because other CPUs read and write it.
    unsafe {
        let cell = &raw mut (*place).told;
        let before = cell.read_volatile();
        if before == BEING_WRITTEN || !take(cell, before) {
            return;
        }
        copy(&mut (*place).who, who);
        copy(&mut (*place).inode, inode);
        cell.write_volatile(told(class));
    }
}

/// The entry is ours to fill, unless another CPU was faster.
///
/// # Safety
/// A live, aligned map value.
#[inline(always)]
unsafe fn take(cell: *mut u64, before: u64) -> bool {
    // SAFETY: as said.
    let taken = unsafe {
        atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(
            cell,
            before,
            BEING_WRITTEN,
        )
    };
    taken.1
}

/// Was it told within the last second, and as a protected one if it is?
#[inline(always)]
pub fn was(who: &ExecKey, inode: &InodeKey, class: u32) -> bool {
    let Some(place) = place(inode) else { return false };
    // SAFETY: as above. A mixture of two entries is not believed: the time of the one is not that of the other.
    unsafe {
        let cell = &raw const (*place).told;
        let before = cell.read_volatile();
        let same = is_same(&raw const (*place).who, who) && is_same(&raw const (*place).inode, inode);
        same && before != BEING_WRITTEN && cell.read_volatile() == before && is_told(before, class)
    }
}

/// Is the map's value this one? Other CPUs write it.
///
/// # Safety
/// `at` is a live, aligned map value of T, which is whole words without padding.
#[inline(always)]
unsafe fn is_same<T>(at: *const T, value: &T) -> bool {
    let (at, value) = (at.cast::<u64>(), core::ptr::from_ref(value).cast::<u64>());
    let mut differs = 0;
    for word in 0..size_of::<T>() / 8 {
        // SAFETY: whole values of T.
        differs |= unsafe { at.add(word).read_volatile() ^ value.add(word).read() };
    }
    differs == 0
}
