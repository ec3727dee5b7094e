//! What the kernel offers only through raw pointers. The one file of the agent where `unsafe` may stand.
#![expect(unsafe_code, reason = "each call below has no safe form; each says why it holds")]

use std::ffi::{CString, c_int, c_long};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::io_uring::{
    IORING_OFF_SQ_RING, IoringEnterFlags, io_uring_enter, io_uring_params, io_uring_setup,
};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// The first descriptor that is no standard stream.
const FIRST_OWN: RawFd = 3;

/// Keeps the memory of a value out of swap for as long as it lives at this place.
///
/// Fails where `RLIMIT_MEMLOCK` is used up.
pub(crate) fn lock_memory<T>(value: &T) -> io::Result<()> {
    let at = std::ptr::from_ref(value).cast_mut().cast();
    // SAFETY: the range is the value's own, which the reference proves mapped; mlock(2) neither reads nor
    // writes it and does not unmap it later.
    unsafe { rustix::mm::mlock(at, size_of::<T>()) }.map_err(io::Error::from)
}

/// No program that is started from here on has more than the standard streams, whatever whoever started us
/// left open: our own files are closed there anyway.
pub(crate) fn keep_descriptors() -> io::Result<()> {
    for entry in fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let Some(number) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        if number >= FIRST_OWN {
            keep(number)?;
        }
    }
    Ok(())
}

/// Large pieces of memory are the kernel's again as soon as they are free (mallopt(3), M_MMAP_THRESHOLD): the C library
/// raises its bound with each, and rounds of the rings would then leave holes between smaller pieces, some 15 MB after a
/// storm. To be called before there are threads.
pub(crate) fn keep_large_memory_apart() {
    unsafe extern "C" {
        fn mallopt(parameter: i32, value: i32) -> i32;
    }
    const M_MMAP_THRESHOLD: i32 = -3;
    const LARGE: i32 = 128 << 10;
    // SAFETY: it sets a number that later allocations look at; no other thread allocates yet.
    let _known = unsafe { mallopt(M_MMAP_THRESHOLD, LARGE) };
}

/// Gives free memory back to the kernel: what reading the kernel's types needed at the start is ten times what is
/// needed later.
pub(crate) fn give_back_memory() {
    unsafe extern "C" {
        fn malloc_trim(pad: usize) -> i32;
    }
    // SAFETY: it touches nothing that is in use, and locks what it walks.
    let _gave = unsafe { malloc_trim(0) };
}

/// From here on only programs change the map (BPF_MAP_FREEZE, bpf(2)).
pub(crate) fn freeze(map: BorrowedFd<'_>) -> io::Result<()> {
    const BPF_MAP_FREEZE: c_int = 22;
    // SAFETY: it takes a descriptor and no address.
    unsafe { bpf(BPF_MAP_FREEZE, &[word(map)]) }.map(drop)
}

/// Keeps the link with this number at a path in a BPF file system (BPF_LINK_GET_FD_BY_ID and BPF_OBJ_PIN, bpf(2)): whoever holds
/// it goes on holding it, whatever comes of that.
pub(crate) fn keep_link(id: u32, path: &Path) -> io::Result<()> {
    const BPF_OBJ_PIN: c_int = 6;
    const BPF_LINK_GET_FD_BY_ID: c_int = 30;
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: it takes a number and no address.
    let link = unsafe { bpf(BPF_LINK_GET_FD_BY_ID, &[id.into()]) }?;
    // SAFETY: the kernel has just made this descriptor for us.
    let link = unsafe { OwnedFd::from_raw_fd(link) };
    // SAFETY: the path is a string that ends with a zero and lives until the call has read it.
    unsafe { bpf(BPF_OBJ_PIN, &[path.as_ptr() as u64, word(link.as_fd())]) }.map(drop)
}

/// A descriptor as the kernel takes it in `union bpf_attr`.
fn word(descriptor: BorrowedFd<'_>) -> u64 {
    descriptor.as_raw_fd().unsigned_abs().into()
}

/// bpf(2) with the beginning of `union bpf_attr`: the rest is zero (bpf_check_uarg_tail_zero).
///
/// # Safety
/// What of the attributes is an address to the command is one of memory that the command may use.
unsafe fn bpf(command: c_int, attributes: &[u64]) -> io::Result<c_int> {
    unsafe extern "C" {
        fn syscall(number: c_long, ...) -> c_long;
    }
    #[cfg(target_arch = "x86_64")]
    const SYS_BPF: c_long = 321;
    // SAFETY: the kernel reads as many bytes as it is told, which are the slice's, and keeps no pointer to them; what they
    // hold the caller answers for.
    let answer = unsafe { syscall(SYS_BPF, command, attributes.as_ptr(), size_of_val(attributes)) };
    match c_int::try_from(answer) {
        Ok(answer) if answer >= 0 => Ok(answer),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Hands io_uring one request that does nothing. The entry is as the kernel made it, all zero: IORING_OP_NOP.
pub(crate) fn request_nothing() -> io::Result<()> {
    let mut parameters = io_uring_params::default();
    // SAFETY: the parameters ask for nothing but a ring of one entry.
    let ring = unsafe { io_uring_setup(1, &mut parameters) }?;
    let tail = parameters.sq_off.tail as usize;
    let length = tail + size_of::<u32>();
    // SAFETY: a mapping at a place of the kernel's choice.
    let mapped = unsafe {
        let (access, shared) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        mmap(std::ptr::null_mut(), length, access, shared, &ring, IORING_OFF_SQ_RING)
    }?;
    // SAFETY: a number of the kernel's at this place of the mapping, aligned; it is read when `io_uring_enter` is called.
    unsafe { mapped.cast::<u8>().add(tail).cast::<u32>().write_volatile(1) };
    // SAFETY: it takes the one entry, which names no memory.
    let entered = unsafe { io_uring_enter(&ring, 1, 0, IoringEnterFlags::empty()) };
    // SAFETY: the mapping made above, of which nothing is in use any more.
    unsafe { munmap(mapped, length) }?;
    match entered? {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        _ => Ok(()),
    }
}

/// One that was closed since it was listed needs nothing.
fn keep(number: RawFd) -> io::Result<()> {
    // SAFETY: the number is not -1. It may be closed, or opened anew, by another thread meanwhile: then the flag
    // is refused or set on another descriptor, which is meant as well; nothing else is done with it.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    match fcntl_getfd(descriptor).and_then(|flags| fcntl_setfd(descriptor, flags | FdFlags::CLOEXEC)) {
        Err(Errno::BADF) => Ok(()),
        done => done.map_err(io::Error::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_that_was_left_open_is_not_inherited() -> io::Result<()> {
        let leaked = rustix::io::dup(rustix::stdio::stdin())?;
        assert!(!fcntl_getfd(&leaked)?.contains(FdFlags::CLOEXEC));
        keep_descriptors()?;
        assert!(fcntl_getfd(&leaked)?.contains(FdFlags::CLOEXEC));
        assert!(!fcntl_getfd(rustix::stdio::stderr())?.contains(FdFlags::CLOEXEC));
        Ok(())
    }

    #[test]
    fn memory_of_a_value_can_be_locked() {
        let value = Box::new([7_u8; 64]);
        assert!(lock_memory(&*value).is_ok());
    }
}
