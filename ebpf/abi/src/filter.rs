//! Keys and values of the filter's maps.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// An inode as the kernel itself tells it apart. `stat` numbers differ on overlay and btrfs; a pointer
/// alone is used again, and so is a number, but not together with the generation while a watch pins it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct InodeKey {
    /// Address of the `struct inode`.
    pub pointer: u64,
    /// `i_ino`.
    pub inode: u64,
    /// `i_generation`.
    pub generation: u32,
    /// Zero.
    pub padding: u32,
}

/// The place of an inode's address among so many, a power of two: Knuth's multiplicative hash, since addresses differ in
/// their middle.
#[must_use]
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "a number below `places` is left")]
pub const fn spread(inode: u64, places: u32) -> u32 {
    (inode.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - places.trailing_zeros())) as u32
}

/// A policy root, found by the address of its inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Mark {
    /// `i_ino`: another one at this address is not the root.
    pub inode: u64,
    /// `i_generation`.
    pub generation: u32,
    /// One of [`class`].
    pub class: u32,
}

/// Which inodes may have a mark: a bit for each number that [`marked::of`] gives, in words of 64. Most inodes have none, and
/// a look at a bit costs a tenth of a look-up by hash.
pub mod marked {
    /// Bits; with as many marks as there can be one inode of sixteen without a mark is looked up.
    pub const BITS: u32 = 16 * crate::limits::MARKS;

    /// Words that hold them.
    pub const WORDS: u32 = BITS / 64;

    const _: () = assert!(BITS.is_power_of_two());

    /// The word and the bit of an inode's address.
    #[must_use]
    #[inline(always)]
    pub const fn of(inode: u64) -> (u32, u64) {
        let bit = super::spread(inode, BITS);
        (bit / 64, 1 << (bit % 64))
    }
}

/// What a mark says of the tree below it: numbers in [`Mark::class`] and in [`Verdict::class`].
pub mod class {
    /// No mark up to the root of the file system: kept, user space decides.
    pub const NONE: u32 = 0;
    /// Kept, in the protected ring.
    pub const PROTECT: u32 = 1;
    /// Ignored and counted.
    pub const MUTABLE: u32 = 2;
    /// Kept, user space decides.
    pub const KEEP: u32 = 3;
}

/// A directory's class as it was found, valid while the generation stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Verdict {
    /// [`Generation::finished`] before the walk.
    pub generation: u64,
    /// One of [`class`].
    pub class: u32,
    /// Zero.
    pub padding: u32,
}

/// A sequence lock over the shape of the trees: while `started` and `finished` differ a directory may be
/// moving, and no verdict is believed or stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Generation {
    /// Directory renames and mark changes begun.
    pub started: u64,
    /// Directory renames and mark changes ended.
    pub finished: u64,
    /// Until then (CLOCK_BOOTTIME, ns) no verdict is believed either; 0 = never yet.
    pub distrust: u64,
}

/// [`Generation::distrust`] until the agent has set the marks anew: a policy root has moved or gone.
pub const UNMARKED: u64 = u64::MAX;

/// The same while the agent looks for the roots: what moves or goes from now on is [`UNMARKED`] again, and it has to look
/// once more.
pub const LOOKED: u64 = UNMARKED - 1;

/// What the agent says to the program `shape`.
pub mod shape {
    /// It begins to look for the roots.
    pub const LOOKING: u64 = 0;
    /// It begins to change the marks.
    pub const CHANGING: u64 = 1;
    /// It has changed them, whole or in part.
    pub const CHANGED: u64 = 2;
    /// All that it has found is marked.
    pub const MARKED: u64 = 3;
    /// It is not.
    pub const FAILED: u64 = 4;
}

/// What the sensor answers when the agent asks which inode a descriptor of its own is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Resolved {
    /// The key for the marks map.
    pub key: InodeKey,
    /// `s_dev`.
    pub device: u32,
    /// 1 = found.
    pub found: u32,
}

const _: () = assert!(size_of::<InodeKey>() == 24);
const _: () = assert!(size_of::<Mark>() == 16);
const _: () = assert!(size_of::<Verdict>() == 16);
const _: () = assert!(size_of::<Generation>() == 24);
const _: () = assert!(size_of::<Resolved>() == 32);
