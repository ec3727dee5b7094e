//! Where fields lie in this kernel: set by the agent before the object is loaded.

use graven_abi::offsets::Offsets;
use graven_abi::syscalls::op::NOTHING;
use graven_abi::syscalls::{self, Tables};

#[unsafe(no_mangle)]
pub static OFFSETS: Offsets = {
    // SAFETY: Offsets is made of u32 only, for which all zeros is a value.
    unsafe { core::mem::zeroed() }
};

/// I_FREEING | I_CLEAR of `inode.i_state`: their bits have moved between kernels; 0 = not known.
#[unsafe(no_mangle)]
pub static INODE_LEAVING: u32 = 0;

/// 1 = this kernel has the inode-time tracepoints: no directory moves unseen, and almost no write.
#[unsafe(no_mangle)]
pub static WITNESSED: u32 = 0;

/// What call numbers mean.
pub static TABLES: Tables = syscalls::TABLES;

/// The operation of a call number in one of the tables. Volatile, as above.
#[inline(always)]
pub fn operation<const LEN: usize>(table: &'static [u8; LEN], number: i64) -> u8 {
    if !(0..LEN as i64).contains(&number) {
        return NOTHING;
    }
    // SAFETY: the number is masked to the table's length, a power of two.
    unsafe { table.as_ptr().add(number as usize & (LEN - 1)).read_volatile() }
}

/// The value of one offset. Volatile, because the loader changes the data after the compiler saw zeros.
#[inline(always)]
pub fn load(field: &'static u32) -> u64 {
    // SAFETY: a reference is valid to read.
    unsafe { core::ptr::read_volatile(field) as u64 }
}

/// One offset by name, as a number that the verifier knows.
macro_rules! offset {
    ($field:ident) => {
        $crate::kernel::offset::load(&$crate::kernel::offset::OFFSETS.$field)
    };
}
pub(crate) use offset;
