//! What one system call of one thread has changed so far: filled by the inode-time tracepoints, used up
//! by `sys_exit`.

#[cfg(not(feature = "counted"))]
use core::intrinsics::{AtomicOrdering, atomic_cxchg};

use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;
use graven_abi::filter::class;
use graven_abi::limits::{NAME, SLOTS as MAX_SLOTS, TOUCHED};
use graven_abi::path;

use super::name;
use super::offset::offset;
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
    /// Its name then, NUL-terminated.
    pub name: [u8; NAME],
}

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
    /// The thread that has it, see [`me`]; 0 = free.
    owner: u64,
    /// Entries in use.
    pub count: u32,
    /// Of these, those that are kept, until a record explains them.
    pub kept: u32,
    /// Of these, those that are protected.
    pub protected: u32,
    /// 1 = this call may move a directory, or take a policy root away: the generation is odd because of it.
    pub moving: u32,
    /// For `rename`: the entry that has moved, and the one that stood at its new name; TOUCHED = none. Here, and not in
    /// registers, of which the verifier would follow every combination.
    pub moved: u32,
    pub replaced: u32,
    /// The root of the file system on which something is kept; of several the last: overlay changes its layers before
    /// it changes itself.
    pub root: u64,
    pub touched: [Touched; TOUCHED],
}

/// An array and no hash: a slot is found, taken and given back without a copy. A thread's slot is one of a few next to
/// each other, which its number leads to.
#[map]
static SLOTS: Array<Slot> = Array::with_max_entries(MAX_SLOTS, 0);

/// Slots that a thread may have: with this many, and no more than a tenth of all taken, one in ten thousand finds none.
const PROBES: u32 = 4;

/// Instead of a slot's number: the thread has none.
pub const NONE: u32 = u32::MAX;

const _: () = assert!(MAX_SLOTS.is_power_of_two());

/// The current thread's number, which no other thread has while it lives. Thread 0, the idle one, changes nothing.
#[inline(always)]
fn me() -> u64 {
    Current::get().thread().into()
}

/// Numbers of the slots that a thread may have.
#[inline(always)]
fn numbers(owner: u64) -> impl Iterator<Item = u32> {
    // Neighbouring threads are far from each other (Knuth's multiplicative hash).
    let first = (owner as u32).wrapping_mul(2_654_435_761) >> 16;
    (0..PROBES).map(move |number| (first + number) & (MAX_SLOTS - 1))
}

impl Slot {
    /// The one of this number; none for [`NONE`].
    #[inline(always)]
    pub fn of(number: u32) -> Option<&'static mut Self> {
        // SAFETY: a live map value. Only the thread in `owner` uses what is in it.
        unsafe { SLOTS.get_ptr_mut(number)?.as_mut() }
    }

    /// The number of the current thread's, if it has changed anything; else [`NONE`].
    #[inline(always)]
    pub fn find() -> u32 {
        let me = me();
        for number in numbers(me) {
            if Self::of(number).is_some_and(|slot| slot.held_by() == me) {
                return number;
            }
        }
        NONE
    }

    /// The number of a free one for the current thread, which has none; [`NONE`] when there are too many.
    #[cfg(not(feature = "counted"))]
    #[inline(always)]
    pub fn open() -> u32 {
        let me = me();
        for number in numbers(me) {
            if let Some(slot) = Self::of(number)
                && slot.take(me)
            {
                slot.count = 0;
                slot.kept = 0;
                slot.protected = 0;
                slot.moving = 0;
                return number;
            }
        }
        NONE
    }

    #[inline(always)]
    fn held_by(&self) -> u64 {
        // SAFETY: a field of a live map value; volatile, because other CPUs write it.
        unsafe { core::ptr::read_volatile(&raw const self.owner) }
    }

    /// Takes a free one; another CPU may be faster.
    #[cfg(not(feature = "counted"))]
    #[inline(always)]
    fn take(&mut self, me: u64) -> bool {
        if self.held_by() != 0 {
            return false;
        }
        let owner = &raw mut self.owner;
        // SAFETY: a live, aligned map value.
        let (_, taken) = unsafe {
            atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(owner, 0, me)
        };
        taken
    }

    /// The strictest class of what is kept.
    #[inline(always)]
    pub fn strictest(&self) -> u32 {
        if self.protected == 0 { class::KEEP } else { class::PROTECT }
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

    /// What it held is used up, or the thread ends. The slot must not be touched after this.
    #[inline(always)]
    pub fn free(&mut self) {
        // SAFETY: as above.
        unsafe { core::ptr::write_volatile(&raw mut self.owner, 0) }
    }
}

impl Touched {
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
        if self.dentry == 0 {
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
