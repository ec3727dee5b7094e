//! What one system call of one thread has changed so far: filled by the inode-time tracepoints or the functions of the VFS,
//! used up by `sys_exit`; or, outside calls, by the end of each function.

#[cfg(not(feature = "counted"))]
use core::intrinsics::{AtomicOrdering, atomic_cxchg};

use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;
use graven_abi::filter::class;
use graven_abi::limits::{NAME, SLOTS as MAX_SLOTS, TOUCHED};
use graven_abi::path;

use super::name;
use super::offset::offset;
#[cfg(not(feature = "counted"))]
use super::read::clear;
use super::scratch::{Block, Scratch};
use super::task::Current;

/// One inode that changed.
#[repr(C)]
pub struct Touched {
    /// Its address.
    pub inode: u64,
    /// The dentry that named it then; 0 = none yet (a new inode).
    pub dentry: u64,
    /// That dentry's parent.
    pub parent: u64,
    /// The inode of that parent.
    pub parent_inode: u64,
    /// Hash and length of the name then.
    pub name_hash: u64,
    /// The directory for whose content `class` was found: its own inode, or its parent's; 0 = it was found for the
    /// inode alone.
    pub within: u64,
    /// That dentry's parent at the end of the call.
    pub parent_now: u64,
    /// What has become of that dentry at the end of the call: one of [`now`].
    pub now: u32,
    /// 1 = it had a mark.
    pub marked: u32,
    /// The root of its file system.
    pub root: u64,
    /// One of `filter::class`.
    pub class: u32,
    /// 1 = `name` and what is said of the dentry are filled; 2 = and the inode had other names.
    pub described: u32,
    /// Bytes of `name`, its NUL included.
    pub name_length: u32,
    padding: u32,
    /// What a record says of it, without a path: of a mutable one its mode alone.
    pub facts: path::Inode,
    /// The dentry that the function of the VFS was about which noted it.
    pub by: u64,
    /// Its name then, NUL-terminated.
    pub name: [u8; NAME],
}

/// Instead of a class: it is found when the call ends.
pub const UNDECIDED: u32 = u32::MAX;

/// In [`Touched::described`].
pub const HAS_OTHERS: u32 = 2;

/// [`Touched::now`].
pub mod now {
    /// It names the inode as it did, or there was none.
    pub const STAYS: u32 = 0;
    /// It has another name or parent.
    pub const MOVED: u32 = 1;
    /// It is dropped, or names nothing any more (d_delete).
    pub const GONE: u32 = 2;
}

/// See the module's text.
#[repr(C)]
pub struct Slot {
    /// Entries in use.
    pub count: u32,
    /// Of these, those that are kept, until a record explains them.
    pub kept: u32,
    /// Of these, those that are protected.
    pub protected: u32,
    /// Policy roots among all.
    pub roots: u32,
    /// 1 = this call may move a directory, or take a policy root away: the generation is odd because of it.
    pub moving: u32,
    /// For `rename`: the entry that has moved, and the one that stood at its new name; TOUCHED = none. Here, and not in
    /// registers, of which the verifier would follow every combination.
    pub moved: u32,
    pub replaced: u32,
    /// Files among all, which are no directories and have a name.
    pub files: u32,
    /// For `vfs`: 1 = some were noted by what the caller itself did, and not by an overlay in its layers.
    pub outer: u32,
    /// 1 = there was no room for another, whose address is `refused`.
    pub full: u32,
    pub refused: u64,
    /// For `vfs`: 1 = no end of a call uses this up, but the end of each function.
    pub alone: u64,
    /// Then since when, ns.
    pub since: u64,
    /// The dentry of the function that ends.
    pub ends: u64,
    /// The root of the file system on which something is kept; of several the one on which something is protected, and of
    /// overlay and its layers overlay's own.
    pub root: u64,
    pub touched: [Touched; TOUCHED],
}

/// An array and no hash: a slot is found, taken and given back without a copy.
#[map]
static SLOTS: Array<Slot> = Array::with_max_entries(MAX_SLOTS, 0);

/// Slots that a thread may have: with this many, and no more than a tenth of all taken, eight in ten thousand find none.
const WAYS: usize = 4;

/// The threads that have slots next to each other, see [`me`]; 0 = free. Beside each other and not in the slots: a
/// thread looks at one line of memory.
type Holders = [u64; WAYS];

/// By the thread's number.
#[map]
static HOLDERS: Array<Holders> = Array::with_max_entries(MAX_SLOTS / WAYS as u32, 0);

/// Instead of a slot's number: the thread has none.
pub const NONE: u32 = u32::MAX;

const _: () = assert!(MAX_SLOTS.is_power_of_two() && WAYS.is_power_of_two());

/// The current thread's number, which no other thread has while it lives. Thread 0, the idle one, changes nothing.
#[inline(always)]
fn me() -> u64 {
    Current::get().thread().into()
}

/// Where the holders of a thread's slots stand. Neighbouring threads are far from each other (Knuth's multiplicative
/// hash).
#[inline(always)]
fn set_of(thread: u64) -> u32 {
    ((thread as u32).wrapping_mul(2_654_435_761) >> 16) & (MAX_SLOTS / WAYS as u32 - 1)
}

/// Who has this slot.
#[inline(always)]
fn holder(holders: *mut Holders, way: usize) -> *mut u64 {
    // SAFETY: a number below WAYS.
    unsafe { holders.cast::<u64>().add(way & (WAYS - 1)) }
}

impl Slot {
    /// The one of this number; none for [`NONE`].
    #[inline(always)]
    pub fn of(number: u32) -> Option<&'static mut Self> {
        // SAFETY: a live map value. Only the thread that holds it uses what is in it.
        unsafe { SLOTS.get_ptr_mut(number)?.as_mut() }
    }

    /// The number of the current thread's, if it has changed anything; else [`NONE`].
    #[inline(always)]
    pub fn find() -> u32 {
        let me = me();
        let set = set_of(me);
        let Some(holders) = HOLDERS.get_ptr_mut(set) else { return NONE };
        for way in 0..WAYS {
            // SAFETY: a live map value; volatile, because other CPUs write it.
            if unsafe { holder(holders, way).read_volatile() } == me {
                return set * WAYS as u32 + way as u32;
            }
        }
        NONE
    }

    /// The number of a free one for the current thread, which has none; [`NONE`] when there are too many.
    #[cfg(not(feature = "counted"))]
    #[inline(always)]
    pub fn open() -> u32 {
        let me = me();
        let set = set_of(me);
        let Some(holders) = HOLDERS.get_ptr_mut(set) else { return NONE };
        for way in 0..WAYS {
            if take(holder(holders, way), me) {
                return set * WAYS as u32 + way as u32;
            }
        }
        NONE
    }

    /// Nothing has changed yet.
    #[cfg(not(feature = "counted"))]
    #[inline(always)]
    pub fn begin(&mut self) {
        clear(&mut self.count);
        clear(&mut self.kept);
        clear(&mut self.protected);
        clear(&mut self.roots);
        clear(&mut self.files);
        clear(&mut self.moving);
        clear(&mut self.outer);
        clear(&mut self.full);
        clear(&mut self.alone);
    }

    /// The strictest class of what is kept.
    #[inline(always)]
    pub fn strictest(&self) -> u32 {
        if self.protected == 0 { class::KEEP } else { class::PROTECT }
    }

    /// The address of the inode that had no room, which is no pointer to the verifier.
    #[inline(always)]
    pub fn refused(&self) -> u64 {
        // SAFETY: a field of a live value.
        unsafe { core::ptr::read_volatile(&raw const self.refused) }
    }

    /// Is an entry of a layer of the overlay that the call changes?
    #[inline(always)]
    pub fn is_layers(&self, entry: &Touched) -> bool {
        entry.root != self.root
    }

    /// The number of the last entry, if it is of the function that ends: then it is the last one no more. Numbers, as above.
    #[inline(always)]
    pub fn take_ended(&mut self) -> Option<u32> {
        let last = self.count.wrapping_sub(1);
        // SAFETY: fields of live values.
        let (by, ends) = unsafe {
            (
                core::ptr::read_volatile(&raw const self.entry(last).by),
                core::ptr::read_volatile(&raw const self.ends),
            )
        };
        if self.count == 0 || by != ends {
            return None;
        }
        self.count = last;
        Some(last)
    }

    /// An entry by number.
    #[inline(always)]
    pub fn entry(&mut self, index: u32) -> &'static mut Touched {
        // Volatile: the compiler may know where a number came from and leave the mask out, the verifier does not.
        // SAFETY: a local variable.
        let index = unsafe { core::ptr::read_volatile(&raw const index) } as usize & (TOUCHED - 1);
        // SAFETY: the index is masked to the array's length; the slot lives as said above.
        unsafe { &mut *self.touched.as_mut_ptr().add(index) }
    }

    /// What the slot of this number held is used up, or the thread ends. It must not be touched after this.
    #[inline(always)]
    pub fn free(number: u32) {
        if let Some(holders) = HOLDERS.get_ptr_mut(number / WAYS as u32) {
            // SAFETY: a live map value; volatile, because other CPUs read it.
            unsafe { holder(holders, number as usize).write_volatile(0) }
        }
    }
}

/// Takes a free slot; another CPU may be faster.
#[cfg(not(feature = "counted"))]
#[inline(always)]
fn take(holder: *mut u64, me: u64) -> bool {
    // SAFETY: a live, aligned map value.
    unsafe {
        holder.read_volatile() == 0
            && atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(holder, 0, me).1
    }
}

impl Touched {
    /// Is it a policy root?
    #[inline(always)]
    pub fn is_root(&self) -> bool {
        self.marked != 0
    }

    /// Its inode's address, which is no pointer to the verifier.
    #[inline(always)]
    pub fn inode_number(&self) -> u64 {
        // SAFETY: a field of a live value.
        unsafe { core::ptr::read_volatile(&raw const self.inode) }
    }

    /// Copies a name from where the kernel keeps it.
    #[inline(always)]
    pub fn read_name(&mut self, name: u64) {
        let length = name::copy_from(name, self.name.as_mut_ptr());
        self.name_length = length as u32;
        self.described = u32::from(length > 0);
    }

    /// Copies its name, so that it is known when the dentry is not.
    #[inline(always)]
    pub fn describe_name(&mut self, dentry: Block) {
        let length = name::copy(dentry, self.name.as_mut_ptr());
        self.name_length = length as u32;
        self.described = u32::from(length > 0);
    }

    /// Looks again at the dentry that named it: fills `now` and `parent_now`.
    #[inline(always)]
    pub fn look_again(&mut self, scratch: &mut Scratch) {
        self.now = now::STAYS;
        // Without a name, or a directory that none was noted of because it stays.
        if self.dentry == 0 || self.parent == 0 {
            return;
        }
        let head = scratch.block(self.dentry);
        self.parent_now = head.field(offset!(dentry_parent));
        let (hashed, inode): (u64, u64) =
            (head.field(offset!(dentry_hash) + offset!(bl_node_pprev)), head.field(offset!(dentry_inode)));
        let name: u64 = head.field(offset!(dentry_name) + offset!(qstr_hash_len));
        if hashed == 0 || inode != self.inode {
            self.now = now::GONE;
        } else if self.parent_now != self.parent || name != self.name_hash {
            self.now = now::MOVED;
        }
    }
}
