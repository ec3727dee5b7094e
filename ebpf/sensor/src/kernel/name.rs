//! The names of dentries. A short one lies within its dentry, and where the kernel lets memory be loaded it is taken
//! from there, word by word: a helper costs more than a name has bytes.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use graven_abi::limits::NAME;

use super::offset::offset;
use super::read::casts;
use super::scratch::Block;

/// Bytes of a name that lies within its dentry, its NUL included: DNAME_INLINE_LEN, which was 32 once.
const SHORT: usize = 40;

/// Copies the name of a dentry, of which the beginning was read, to where [`NAME`] bytes fit. Its bytes, its NUL
/// included; 0 or less when it cannot be read.
#[inline(always)]
pub fn copy(dentry: Block, to: *mut u8) -> i64 {
    let short = if casts() { copy_short(dentry, to) } else { 0 };
    if short != 0 {
        return short.into();
    }
    copy_from(dentry.field(offset!(dentry_name) + offset!(qstr_name)), to)
}

/// Copies a name from an address; its bytes likewise.
#[inline(always)]
pub fn copy_from(name: u64, to: *mut u8) -> i64 {
    // SAFETY: NAME bytes fit; the helper checks the source.
    unsafe { bpf_probe_read_kernel_str(to.cast(), NAME as u32, name as *const _) }
}

/// The same, of a name that lies within its dentry and does not change meanwhile (d_seq); 0 = it is none.
#[inline(always)]
fn copy_short(dentry: Block, to: *mut u8) -> u32 {
    let changes: u32 = dentry.field(offset!(dentry_seq));
    let name: u64 = dentry.field(offset!(dentry_name) + offset!(qstr_name));
    let length = (dentry.field::<u64>(offset!(dentry_name) + offset!(qstr_hash_len)) >> 32) as u32;
    if name != dentry.address() + offset!(dentry_shortname) || length == 0 || length as usize >= SHORT {
        return 0;
    }
    // All of it: the verifier would follow each end of a shorter one, at each name of a path.
    for word in (0..SHORT).step_by(8) {
        let eight: u64 = dentry.field(offset!(dentry_shortname) + word as u64);
        // SAFETY: NAME bytes fit. A word may lie anywhere: this machine stores it all the same.
        unsafe { to.add(word).cast::<u64>().write_volatile(eight) }
    }
    // SAFETY: as above; the mask is for the verifier.
    unsafe { to.add(length as usize & 63).write_volatile(0) }
    let unchanged = changes & 1 == 0 && changes == dentry.field(offset!(dentry_seq));
    if unchanged { length + 1 } else { 0 }
}

/// Copies a name, of `length` bytes with its NUL, that [`copy`] has put at `from`; its bytes.
#[inline(always)]
pub fn copy_again(from: *const u8, length: u32, to: *mut u8) -> i64 {
    if length as usize > SHORT {
        // SAFETY: NAME bytes fit; the helper checks the source.
        return unsafe { bpf_probe_read_kernel_str(to.cast(), NAME as u32, from.cast()) };
    }
    for word in (0..SHORT).step_by(8) {
        // SAFETY: NAME bytes are there, and fit; see `copy_short`.
        unsafe { to.add(word).cast::<u64>().write_volatile(from.add(word).cast::<u64>().read_volatile()) }
    }
    length.into()
}
