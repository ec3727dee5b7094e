//! The directory whose names were walked last. As long as no directory moves they are what they were, and a program that
//! works in one directory changes it again and again.
//!
//! Valid while the verdicts are, see `maps::settled`. What it misses: a directory that a server moves, which is no rename
//! here: of such file systems nothing is kept, see `dentry`.

use graven_abi::filter::InodeKey;

/// Bytes of names that are kept: nearly all are shorter.
pub const NAMES: usize = 64;

/// See the module's text.
#[repr(C)]
pub struct Walked {
    dentry: u64,
    inode: InodeKey,
    /// See `maps::settled`; 0 = none.
    era: u64,
    length: u32,
    padding: u32,
    names: [u8; NAMES],
}

impl Walked {
    /// Is it this directory, and has none moved since?
    #[inline(always)]
    pub fn is(&self, dentry: u64, inode: &InodeKey, era: u64) -> bool {
        self.dentry == dentry && self.era == era && self.inode == *inode
    }

    /// Copies its names to where [`NAMES`] bytes fit; their bytes.
    #[inline(always)]
    pub fn copy_names(&self, to: *mut u8) -> u32 {
        copy(to, self.names.as_ptr());
        self.length
    }

    /// Keeps `length` bytes of names, unless these are too many. At `names` [`NAMES`] bytes can be read.
    #[inline(always)]
    pub fn keep(&mut self, dentry: u64, inode: &InodeKey, era: u64, names: *const u8, length: u32) {
        self.era = 0;
        if length as usize > NAMES {
            return;
        }
        copy(self.names.as_mut_ptr(), names);
        self.dentry = dentry;
        self.inode = *inode;
        self.length = length;
        self.era = era;
    }
}

/// [`NAMES`] bytes.
#[inline(always)]
fn copy(to: *mut u8, from: *const u8) {
    for word in (0..NAMES).step_by(8) {
        // SAFETY: the callers' bytes. A word may lie anywhere: the machine loads and stores it all the same.
        unsafe { to.add(word).cast::<u64>().write_volatile(from.add(word).cast::<u64>().read_volatile()) }
    }
}
