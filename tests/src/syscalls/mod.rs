//! System calls as the kernel has them: exactly this number, through exactly this entry. A library would
//! choose another one (`openat` for `open`), and none offers the 32-bit entry.
#![expect(
    unsafe_code,
    reason = "the one file of the tests where it may stand: a system call has no safe form"
)]

pub mod aio;
pub mod bpf;
pub mod hold;
pub mod uring;

use std::arch::asm;
use std::ffi::CStr;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::AtomicU8;

use crate::calls::{Call, Entry};

/// Numbers of `asm/unistd_64.h`.
const MMAP: usize = 9;
const MPROTECT: usize = 10;
const MUNMAP: usize = 11;
const PRCTL: usize = 157;
const NAME_TO_HANDLE_AT: usize = 303;
const OPEN_BY_HANDLE_AT: usize = 304;
/// Of `asm/unistd_32.h`.
const COMPAT_MPROTECT: u32 = 125;
const COMPAT_MMAP2: u32 = 192;

/// Of prctl(2).
const PR_SET_PDEATHSIG: usize = 1;
const PR_SET_SECCOMP: usize = 22;
const PR_SET_NO_NEW_PRIVS: usize = 38;
const SECCOMP_MODE_FILTER: usize = 2;
const SIGKILL: usize = 9;

/// Of mmap(2).
const READ: usize = 1;
const READ_WRITE: usize = 3;
const SHARED: usize = 1;
const PRIVATE: usize = 2;
const ANONYMOUS: usize = 0x20;
const BELOW_4_GIB: usize = 0x40;

/// "The current directory" as a directory's descriptor.
pub const AT_FDCWD: i32 = -100;

/// The kernel's largest error number.
const MAX_ERROR: isize = 4095;

/// The native 64-bit entry.
///
/// # Safety
/// What the arguments point to must be as the call wants it.
unsafe fn native(number: usize, arguments: [usize; 6]) -> io::Result<usize> {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    let mut result = number;
    // SAFETY: the registers are those of the kernel's convention; it clobbers rcx and r11 only.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") result,
            in("rdi") first,
            in("rsi") second,
            in("rdx") third,
            in("r10") fourth,
            in("r8") fifth,
            in("r9") sixth,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    answer(result.cast_signed())
}

/// The entry of 32-bit programs, from a 64-bit one.
///
/// # Safety
/// As [`native`]; pointers must be below 4 GiB.
unsafe fn compat(number: u32, arguments: [u32; 6]) -> io::Result<usize> {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    let block = [first, second, third, fourth, fifth, sixth, number];
    let mut result = address(block.as_ptr()) as u64;
    // SAFETY: the registers are those of the 32-bit convention. rbx and rbp are the compiler's own, so they are
    // kept on the stack and put back; r8 to r11 may be zeroed by the kernel.
    unsafe {
        asm!(
            "push rbx",
            "push rbp",
            "mov ebx, [rax]",
            "mov ecx, [rax + 4]",
            "mov edx, [rax + 8]",
            "mov esi, [rax + 12]",
            "mov edi, [rax + 16]",
            "mov ebp, [rax + 20]",
            "mov eax, [rax + 24]",
            "int 0x80",
            "pop rbp",
            "pop rbx",
            inout("rax") result,
            out("rcx") _,
            out("rdx") _,
            out("rsi") _,
            out("rdi") _,
            out("r8") _,
            out("r9") _,
            out("r10") _,
            out("r11") _,
        );
    }
    // The result is 32 bits wide; what is above them is not said.
    let low = u32::try_from(result & u64::from(u32::MAX)).unwrap_or(0).cast_signed();
    match isize::try_from(low).unwrap_or(0) {
        // An address in the upper half is no error.
        value if value < -MAX_ERROR => Ok(value.cast_unsigned() & 0xffff_ffff),
        value => answer(value),
    }
}

fn answer(result: isize) -> io::Result<usize> {
    match usize::try_from(result) {
        Ok(value) => Ok(value),
        Err(_) if result >= -MAX_ERROR => {
            Err(io::Error::from_raw_os_error(i32::try_from(-result).unwrap_or(0)))
        }
        Err(_) => Ok(result.cast_unsigned()),
    }
}

fn address<T: ?Sized>(of: *const T) -> usize {
    of.expose_provenance()
}

fn no_descriptor(number: i32) -> usize {
    isize::try_from(number).unwrap_or(-1).cast_unsigned()
}

/// The lower and the upper half.
fn halves(value: usize) -> [u32; 2] {
    let half = |bits: usize| u32::try_from(bits & 0xffff_ffff).unwrap_or(0);
    [half(value), half(value >> 32)]
}

/// Memory below 4 GiB, where every entry can reach it.
struct Low {
    begin: usize,
    used: usize,
}

impl Low {
    /// More than the arguments of any call here.
    const SIZE: usize = 1 << 16;

    fn new() -> io::Result<Self> {
        let flags = PRIVATE | ANONYMOUS | BELOW_4_GIB;
        // SAFETY: a new mapping of nothing that is there.
        let begin = unsafe { native(MMAP, [0, Self::SIZE, READ_WRITE, flags, usize::MAX, 0]) }?;
        Ok(Self { begin, used: 0 })
    }

    /// Copies bytes there and says where they are.
    fn put(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // As the strictest struct needs it.
        let at = self.used.next_multiple_of(16);
        // What the kernel writes back may be longer by a little.
        let end = at + bytes.len() + 64;
        if end > Self::SIZE {
            return Err(io::Error::other("more arguments than fit"));
        }
        self.used = end;
        let place = std::ptr::with_exposed_provenance_mut(self.begin + at);
        // SAFETY: the mapping has room for the bytes, and nobody else knows it.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
        Ok(self.begin + at)
    }
}

impl Drop for Low {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own. A refusal leaves it mapped: nothing is wrong then.
        let _ = unsafe { native(MUNMAP, [self.begin, Self::SIZE, 0, 0, 0, 0]) };
    }
}

/// One argument.
#[derive(Clone, Copy, Debug)]
pub enum Argument<'a> {
    /// A path or another string.
    Text(&'a CStr),
    /// Bytes; the call gets their address, and may write to a copy of them.
    Bytes(&'a [u8]),
    /// Bytes with, at these places, the addresses of others: of so many bytes.
    Linked(&'a [u8], &'a [(usize, usize, &'a [u8])]),
    /// A `struct iovec` of these bytes; its address and its length are so many bytes wide.
    Piece(&'a [u8], usize),
    /// A string that others may change during the call; not below 4 GiB.
    Shared(&'a [AtomicU8]),
    /// A plain number.
    Number(usize),
    /// A number of 64 bits: two by the 32-bit entry.
    Wide(usize),
    /// A descriptor; also [`AT_FDCWD`].
    Descriptor(i32),
}

impl Argument<'_> {
    fn value(&self, memory: &mut Option<Low>) -> io::Result<usize> {
        let mut put = |bytes: &[u8]| {
            if memory.is_none() {
                *memory = Some(Low::new()?);
            }
            memory.as_mut().map_or(Ok(0), |memory| memory.put(bytes))
        };
        match *self {
            Self::Text(text) => put(text.to_bytes_with_nul()),
            Self::Bytes(bytes) => put(bytes),
            Self::Linked(bytes, links) => {
                let mut bytes = bytes.to_vec();
                for (at, width, linked) in links {
                    let address = put(linked)?.to_le_bytes();
                    let place = bytes.get_mut(*at..*at + *width).ok_or(io::ErrorKind::InvalidInput)?;
                    place.copy_from_slice(&address[..*width]);
                }
                put(&bytes)
            }
            Self::Piece(bytes, width) => {
                let words = [put(bytes)?, bytes.len()].map(usize::to_le_bytes);
                put(&words.map(|word| word[..width].to_vec()).concat())
            }
            Self::Shared(text) => Ok(address(text.as_ptr())),
            Self::Number(number) | Self::Wide(number) => Ok(number),
            Self::Descriptor(number) => Ok(no_descriptor(number)),
        }
    }
}

/// Makes a call of the table.
pub fn change(call: &Call, arguments: &[Argument<'_>]) -> io::Result<usize> {
    let mut memory = None;
    let mut values = Vec::new();
    for argument in arguments {
        let value = argument.value(&mut memory)?;
        match (argument, call.entry()) {
            (Argument::Wide(_), Entry::Compat) => values.extend(halves(value).map(|half| half as usize)),
            _ => values.push(value),
        }
    }
    values.resize(6, 0);
    let values: [usize; 6] = values.try_into().map_err(|_| io::ErrorKind::InvalidInput)?;
    match call.entry() {
        // SAFETY: a `Call` is only made in `calls`, of calls that write no memory but what their arguments point
        // to, of which they get copies; these live until the call returns.
        Entry::Native | Entry::X32 => unsafe { native(call.number(), values) },
        // SAFETY: the same, and the copies are below 4 GiB.
        Entry::Compat => unsafe { compat(halves(call.number())[0], values.map(|value| halves(value)[0])) },
    }
}

/// Takes what an open returned.
pub fn descriptor(number: usize) -> OwnedFd {
    // SAFETY: the caller has it from a call just made: nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(i32::try_from(number).unwrap_or(-1)) }
}

/// `struct file_handle` with room for any.
#[repr(C)]
#[derive(Debug)]
pub struct Handle {
    bytes: u32,
    kind: i32,
    handle: [u8; 128],
}

impl Handle {
    /// name_to_handle_at(2) of a path.
    pub fn of(path: &CStr) -> io::Result<Self> {
        let mut handle = Self { bytes: 128, kind: 0, handle: [0; 128] };
        let mut mount = 0_i32;
        let here = no_descriptor(AT_FDCWD);
        let wanted = [here, address(path.as_ptr()), address(&raw mut handle), address(&raw mut mount), 0, 0];
        // SAFETY: both places live and are as large as the kernel is told.
        unsafe { native(NAME_TO_HANDLE_AT, wanted) }?;
        Ok(handle)
    }

    /// open_by_handle_at(2) on the file system of a descriptor; [`AT_FDCWD`]: of the working directory.
    pub fn open(&self, mount: i32, flags: usize) -> io::Result<OwnedFd> {
        let arguments = [no_descriptor(mount), address(&raw const *self), flags, 0, 0, 0];
        // SAFETY: the handle is as the kernel wrote it.
        unsafe { native(OPEN_BY_HANDLE_AT, arguments) }.map(descriptor)
    }
}

/// From now on the native call of this number in this thread answers 0 and does nothing.
pub fn fake_success_of(number: usize) -> io::Result<()> {
    /// `struct sock_filter`.
    #[repr(C)]
    struct Instruction(u16, u8, u8, u32);
    /// `struct sock_fprog`.
    #[repr(C)]
    struct Program(u16, *const Instruction);
    const LOAD: u16 = 0x20;
    const IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const ERRNO_0: u32 = 0x0005_0000;
    const ALLOW: u32 = 0x7fff_0000;
    let number = u32::try_from(number).map_err(io::Error::other)?;
    let filter = [
        Instruction(LOAD, 0, 0, 0),
        Instruction(IF_EQUAL, 0, 1, number),
        Instruction(RETURN, 0, 0, ERRNO_0),
        Instruction(RETURN, 0, 0, ALLOW),
    ];
    let program = Program(4, filter.as_ptr());
    // SAFETY: plain numbers.
    unsafe { native(PRCTL, [PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0]) }?;
    let install = [PR_SET_SECCOMP, SECCOMP_MODE_FILTER, address(&raw const program), 0, 0, 0];
    // SAFETY: the program has the length it says, and the kernel copies it.
    unsafe { native(PRCTL, install) }.map(drop)
}

/// A call of any number without arguments, which a filter answers: without one it must not be made.
pub fn call_that_is_faked(number: usize) -> io::Result<usize> {
    fake_success_of(number)?;
    // SAFETY: the filter just installed answers in the kernel's place.
    unsafe { native(number, [0; 6]) }
}

/// The child gets SIGKILL when the thread that starts it ends, so that nothing outlives a test that was
/// itself killed.
pub fn die_with_this_thread(command: &mut Command) {
    let ask = || {
        // SAFETY: plain numbers.
        unsafe { native(PRCTL, [PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0, 0]) }.map(drop)
    };
    // SAFETY: between fork and exec only this one system call is made, which allocates nothing.
    unsafe { command.pre_exec(ask) };
}

/// Runs a function when the test program ends by itself, after its last test.
pub fn at_exit(function: extern "C" fn()) {
    unsafe extern "C" {
        fn atexit(function: extern "C" fn()) -> i32;
    }
    // SAFETY: the function is static; it is run once, by the thread that ends the program.
    let refused = unsafe { atexit(function) };
    assert_eq!(refused, 0, "the C library takes no more functions for the end");
}

/// The first page of a file, shared with all who have it.
#[derive(Debug)]
pub struct Mapping {
    entry: Entry,
    begin: usize,
}

impl Mapping {
    const SIZE: usize = 4096;

    /// mmap(2), by the 32-bit entry mmap2.
    pub fn shared(entry: Entry, file: usize, writable: bool) -> io::Result<Self> {
        let access = if writable { READ_WRITE } else { READ };
        let arguments = [0, Self::SIZE, access, SHARED, file, 0];
        // SAFETY: a new mapping where nothing is.
        let begin = unsafe {
            match entry {
                Entry::Compat => compat(COMPAT_MMAP2, arguments.map(|value| halves(value)[0])),
                _ => native(MMAP, arguments),
            }
        };
        Ok(Self { entry, begin: begin? })
    }

    /// mprotect(2).
    pub fn make_writable(&self) -> io::Result<()> {
        let arguments = [self.begin, Self::SIZE, READ_WRITE, 0, 0, 0];
        // SAFETY: the mapping is this value's own.
        let done = unsafe {
            match self.entry {
                Entry::Compat => compat(COMPAT_MPROTECT, arguments.map(|value| halves(value)[0])),
                _ => native(MPROTECT, arguments),
            }
        };
        done.map(drop)
    }

    /// Changes the first byte; the mapping must be writable and the file not empty, or the process ends.
    pub fn store(&self, byte: u8) {
        // SAFETY: the page is mapped for as long as this value lives, and nothing in it is borrowed.
        unsafe { std::ptr::with_exposed_provenance_mut::<u8>(self.begin).write_volatile(byte) };
    }
}
