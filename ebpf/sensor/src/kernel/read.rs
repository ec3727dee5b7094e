//! Probe reads.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel as bpf_probe_read_kernel_bytes;
use aya_ebpf::helpers::{bpf_probe_read_kernel, bpf_probe_read_user};
use graven_abi::offsets::{ABSENT, CAST, CAST_TO};

/// Memory of the kernel as `struct pt_regs`, which begins with 16 plain words: a load from it costs what a load costs.
/// Only where [`casts`].
#[inline(always)]
fn cast(address: u64) -> *const u8 {
    // SAFETY: bpf_rdonly_cast(address, type), which the agent puts in the place of these numbers: it hands back the
    // address as a pointer that the verifier lets be read and that reads as zeros where nothing can be read.
    unsafe {
        let cast: unsafe extern "C" fn(u64, u64) -> *const u8 = core::mem::transmute(CAST as usize);
        cast(address, CAST_TO.into())
    }
}

/// Is this the build for kernels with the cast?
#[inline(always)]
pub const fn casts() -> bool {
    cfg!(feature = "cast")
}

/// A value at a kernel address; zeros where nothing can be read.
#[inline(always)]
pub fn at<T: Copy + Default>(address: u64) -> T {
    const { assert!(size_of::<T>() <= 8) }
    if casts() {
        // SAFETY: see `cast`.
        return unsafe { cast(address).cast::<T>().read_volatile() };
    }
    // SAFETY: the helper checks the address and never faults; T is plain data.
    unsafe { bpf_probe_read_kernel(address as *const T) }.unwrap_or_default()
}

/// The same, straight to where it belongs: what stands on the stack is scarce in a chain of calls.
#[inline(always)]
pub fn into<T: Copy>(to: &mut T, address: u64) {
    // SAFETY: the helper checks the source, never faults, and leaves zeros where there is nothing to read.
    unsafe {
        bpf_probe_read_kernel_bytes(
            core::ptr::from_mut(to).cast(),
            size_of::<T>() as u32,
            address as *const _,
        )
    };
}

/// A field of a struct at a kernel address; none where this kernel does not have the field.
#[inline(always)]
pub fn field<T: Copy + Default>(base: u64, offset: u64) -> Option<T> {
    if base == 0 || offset == ABSENT as u64 { None } else { Some(at(base + offset)) }
}

/// Copies a few words of plain data between maps, word by word: the compiler would write a loop over bytes, each step
/// of which the verifier follows, and a helper costs more than the words.
#[inline(always)]
pub fn copy<T: Copy>(to: &mut T, from: &T) {
    const { assert!(size_of::<T>().is_multiple_of(8) && align_of::<T>() == 8 && size_of::<T>() <= 128) }
    let (to, from) = (core::ptr::from_mut(to).cast::<u64>(), core::ptr::from_ref(from).cast::<u64>());
    for word in 0..size_of::<T>() / 8 {
        // SAFETY: both are whole values of T.
        unsafe { to.add(word).write_volatile(from.add(word).read_volatile()) }
    }
}

/// Zeros, likewise.
#[inline(always)]
pub fn clear<T: Copy>(to: &mut T) {
    const { assert!(size_of::<T>().is_multiple_of(4) && size_of::<T>() <= 128) }
    let (size, to) = (size_of::<T>(), core::ptr::from_mut(to));
    if align_of::<T>() == 8 {
        for word in 0..size / 8 {
            // SAFETY: a whole value of T, which is plain data.
            unsafe { to.cast::<u64>().add(word).write_volatile(0) }
        }
    } else {
        for word in 0..size / 4 {
            // SAFETY: likewise. A word may lie anywhere: the machine stores it all the same.
            unsafe { to.cast::<u32>().add(word).write_volatile(0) }
        }
    }
}

/// A value at an address of the calling program; zeros where nothing can be read.
#[inline(always)]
pub fn user<T: Copy + Default>(address: u64) -> T {
    // SAFETY: the helper checks the address and never faults; T is plain data.
    unsafe { bpf_probe_read_user(address as *const T) }.unwrap_or_default()
}

/// An object of the kernel's whose type the verifier knows: its fields are loaded and not asked for by a helper, which
/// costs twenty times as much. Fields that are pointers give such objects again. Null reads as zeros.
///
/// Not before 5.11 (feature `counted`), where every field is a probe read; and where there is a cast, by that: for each
/// pointer that is followed such a verifier looks through all the kernel's types by name (btf_nested_type_is_trusted),
/// which makes up three quarters of what loading the programs takes.
#[derive(Clone, Copy)]
pub struct Typed(pub *const u8);

impl Typed {
    /// A field of a plain type, at most eight bytes.
    #[inline(always)]
    pub fn load<T: Copy + Default>(self, offset: u64) -> T {
        if cfg!(feature = "counted") || casts() {
            return at(self.address() + offset);
        }
        // SAFETY: a typed load: the verifier checks that the offset lies within the struct, and the kernel that the
        // address can be read.
        unsafe { self.0.add(offset as usize).cast::<T>().read_volatile() }
    }

    /// A field that points to another object.
    #[inline(always)]
    pub fn follow(self, offset: u64) -> Self {
        if cfg!(feature = "counted") || casts() {
            return Self(at::<u64>(self.address() + offset) as *const u8);
        }
        // SAFETY: as above.
        unsafe { Self(self.0.add(offset as usize).cast::<*const u8>().read_volatile()) }
    }

    /// The field of a plain type that this kernel may not have.
    #[inline(always)]
    pub fn field<T: Copy + Default>(self, offset: u64) -> Option<T> {
        if offset == ABSENT as u64 { None } else { Some(self.load(offset)) }
    }

    #[inline(always)]
    pub fn is_null(self) -> bool {
        self.0.is_null()
    }

    #[inline(always)]
    pub fn address(self) -> u64 {
        self.0 as u64
    }
}
