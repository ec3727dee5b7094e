//! System calls as the kernel has them: exactly this number, through exactly this entry. A library would
//! choose another one (`openat` for `open`), and none offers the 32-bit entry.
#![expect(
    unsafe_code,
    reason = "the one file of the tests where it may stand: a system call has no safe form"
)]

use std::arch::asm;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Numbers of `asm/unistd_64.h`.
const MMAP: usize = 9;
const PRCTL: usize = 157;
const NAME_TO_HANDLE_AT: usize = 303;
const OPEN_BY_HANDLE_AT: usize = 304;
const IO_URING_SETUP: usize = 425;
const IO_URING_ENTER: usize = 426;
const OPENAT2: usize = 437;

/// Of prctl(2).
const PR_SET_PDEATHSIG: usize = 1;
const PR_SET_SECCOMP: usize = 22;
const PR_SET_NO_NEW_PRIVS: usize = 38;
const SECCOMP_MODE_FILTER: usize = 2;
const SIGKILL: usize = 9;

/// Of mmap(2).
const READ_WRITE: usize = 3;
const SHARED: usize = 1;
const PRIVATE: usize = 2;
const ANONYMOUS: usize = 0x20;
const BELOW_4_GIB: usize = 0x40;
const POPULATE: usize = 0x8000;

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
unsafe fn compat(number: u32, first: u32, second: u32) -> io::Result<usize> {
    let mut result = u64::from(number);
    // SAFETY: the registers are those of the 32-bit convention. rbx is the compiler's own, so it is swapped
    // in and back; r8 to r11 may be zeroed by the kernel.
    unsafe {
        asm!(
            "xchg rbx, {first}",
            "int 0x80",
            "xchg rbx, {first}",
            first = inout(reg) u64::from(first) => _,
            inlateout("rax") result,
            in("rcx") u64::from(second),
            in("rdx") 0_u64,
            lateout("r8") _,
            lateout("r9") _,
            lateout("r10") _,
            lateout("r11") _,
        );
    }
    // The result is 32 bits wide; what is above them is not said.
    let low = u32::try_from(result & u64::from(u32::MAX)).unwrap_or(0).cast_signed();
    answer(isize::try_from(low).unwrap_or(0))
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

/// One argument of [`change`].
#[derive(Clone, Copy, Debug)]
pub enum Argument<'a> {
    /// A path.
    Path(&'a CStr),
    /// A plain number.
    Number(usize),
    /// A descriptor; also [`AT_FDCWD`].
    Descriptor(i32),
}

/// A call of the native table whose arguments are paths and plain numbers.
pub fn change(call: &crate::calls::Call, arguments: &[Argument<'_>]) -> io::Result<usize> {
    let mut values = [0; 6];
    for (value, argument) in values.iter_mut().zip(arguments) {
        *value = match argument {
            Argument::Path(path) => address(path.as_ptr()),
            Argument::Number(number) => *number,
            Argument::Descriptor(number) => no_descriptor(*number),
        };
    }
    // SAFETY: a `Call` is only made in `calls`, of calls that read paths and numbers and write no memory; the
    // paths live until the call returns.
    unsafe { native(call.number(), values) }
}

/// Takes what an open returned.
pub fn descriptor(number: usize) -> OwnedFd {
    // SAFETY: the caller has it from a call just made: nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(i32::try_from(number).unwrap_or(-1)) }
}

/// openat2(2).
pub fn openat2(directory: i32, path: &CStr, flags: u64, mode: u64) -> io::Result<OwnedFd> {
    let how = [flags, mode, 0];
    let arguments =
        [no_descriptor(directory), address(path.as_ptr()), address(how.as_ptr()), size_of_val(&how), 0, 0];
    // SAFETY: path and `how` live, and the size is that of `how`.
    unsafe { native(OPENAT2, arguments) }.map(descriptor)
}

/// `struct file_handle` with room for any.
#[repr(C)]
struct Handle {
    bytes: u32,
    kind: i32,
    handle: [u8; 128],
}

/// open_by_handle_at(2) of a path, with the handle that the kernel gives for it.
pub fn open_by_handle(path: &CStr, flags: usize) -> io::Result<OwnedFd> {
    let mut handle = Handle { bytes: 128, kind: 0, handle: [0; 128] };
    let mut mount = 0_i32;
    let here = no_descriptor(AT_FDCWD);
    let wanted = [here, address(path.as_ptr()), address(&raw mut handle), address(&raw mut mount), 0, 0];
    // SAFETY: both places live and are as large as the kernel is told.
    unsafe { native(NAME_TO_HANDLE_AT, wanted) }?;
    // SAFETY: the handle is as the kernel wrote it.
    unsafe { native(OPEN_BY_HANDLE_AT, [here, address(&raw const handle), flags, 0, 0, 0]) }.map(descriptor)
}

/// unlink(2) through the 32-bit entry.
pub fn unlink_by_compat_entry(path: &CStr) -> io::Result<()> {
    const UNLINK: u32 = 10;
    let bytes = path.to_bytes_with_nul();
    let flags = PRIVATE | ANONYMOUS | BELOW_4_GIB;
    // SAFETY: a new mapping of nothing that is there.
    let low = unsafe { native(MMAP, [0, bytes.len(), READ_WRITE, flags, usize::MAX, 0]) }?;
    // SAFETY: the mapping has room for the bytes and nobody else knows it.
    unsafe {
        std::ptr::copy_nonoverlapping(
            bytes.as_ptr(),
            std::ptr::with_exposed_provenance_mut(low),
            bytes.len(),
        );
    }
    let low = u32::try_from(low).map_err(|_| io::Error::other("no memory below 4 GiB"))?;
    // SAFETY: a path below 4 GiB.
    unsafe { compat(UNLINK, low, 0) }.map(drop)
}

/// getpid(2) through the 32-bit entry.
pub fn pid_by_compat_entry() -> io::Result<usize> {
    const GETPID: u32 = 20;
    // SAFETY: it has no arguments.
    unsafe { compat(GETPID, 0, 0) }
}

/// From now on this call of this thread answers 0 and does nothing.
pub fn fake_success_of(call: &crate::calls::Call) -> io::Result<()> {
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
    let number = u32::try_from(call.number()).map_err(io::Error::other)?;
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

/// A small io_uring.
pub struct Ring {
    descriptor: OwnedFd,
    rings: usize,
    entries: usize,
    parameters: Parameters,
}

/// `struct io_uring_params`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Parameters {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    sq_thread_cpu: u32,
    sq_thread_idle: u32,
    features: u32,
    wq_fd: u32,
    resv: [u32; 3],
    sq: SubmissionOffsets,
    cq: CompletionOffsets,
}

/// `struct io_sqring_offsets`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct SubmissionOffsets {
    head: u32,
    tail: u32,
    ring_mask: u32,
    ring_entries: u32,
    flags: u32,
    dropped: u32,
    array: u32,
    resv1: u32,
    user_addr: u64,
}

/// `struct io_cqring_offsets`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CompletionOffsets {
    head: u32,
    tail: u32,
    ring_mask: u32,
    ring_entries: u32,
    overflow: u32,
    cqes: u32,
    flags: u32,
    resv1: u32,
    user_addr: u64,
}

/// `struct io_uring_sqe`, as far as it is used.
#[repr(C)]
struct Request {
    opcode: u8,
    flags: u8,
    ioprio: u16,
    descriptor: i32,
    offset: u64,
    address: u64,
    length: u32,
    operation_flags: u32,
    user_data: u64,
    rest: [u64; 3],
}

const _: () = assert!(size_of::<Parameters>() == 120 && size_of::<Request>() == 64);

/// IORING_OP_NOP
const NOP: u8 = 0;
/// IORING_OP_UNLINKAT
const UNLINKAT: u8 = 36;
/// Requests a ring holds.
const ENTRIES: usize = 4;
/// More than the rings of four entries need.
const MAPPED: usize = 4096;
/// IORING_OFF_SQES
const OFFSET_OF_ENTRIES: usize = 0x1000_0000;
/// IORING_ENTER_GETEVENTS
const WAIT: usize = 1;

impl Ring {
    /// Sets one up.
    pub fn new() -> io::Result<Self> {
        let mut parameters = Parameters::default();
        let setup = [ENTRIES, address(&raw mut parameters), 0, 0, 0, 0];
        // SAFETY: the parameters live and are as large as the kernel's.
        let descriptor = unsafe { native(IO_URING_SETUP, setup) }.map(descriptor)?;
        let map = |offset| {
            let number = no_descriptor(descriptor.as_raw_fd());
            // SAFETY: a new mapping of the ring; both rings are in one since 5.4.
            unsafe { native(MMAP, [0, MAPPED, READ_WRITE, SHARED | POPULATE, number, offset]) }
        };
        let (rings, entries) = (map(0)?, map(OFFSET_OF_ENTRIES)?);
        Ok(Self { descriptor, rings, entries, parameters })
    }

    /// A request that does nothing.
    pub fn nothing(&mut self) -> io::Result<i32> {
        self.submit(NOP, None)
    }

    /// unlinkat of an absolute path.
    pub fn unlink(&mut self, path: &CStr) -> io::Result<i32> {
        self.submit(UNLINKAT, Some(path))
    }

    fn at(&self, offset: u32) -> *mut u32 {
        std::ptr::with_exposed_provenance_mut(self.rings + offset as usize)
    }

    /// One request, and its answer.
    fn submit(&mut self, opcode: u8, path: Option<&CStr>) -> io::Result<i32> {
        let (sq, cq) = (self.parameters.sq, self.parameters.cq);
        let request = Request {
            opcode,
            flags: 0,
            ioprio: 0,
            descriptor: if path.is_some() { AT_FDCWD } else { -1 },
            offset: 0,
            address: path.map_or(0, |path| address(path.as_ptr()) as u64),
            length: 0,
            operation_flags: 0,
            user_data: 1,
            rest: [0; 3],
        };
        // SAFETY: the offsets are the kernel's, in mappings of our own. One request is under way at a time, and
        // the enter below orders these stores before the kernel's loads, and its stores before our loads.
        let index = unsafe {
            let tail = self.at(sq.tail).read_volatile();
            let index = tail & self.at(sq.ring_mask).read_volatile();
            std::ptr::with_exposed_provenance_mut::<Request>(self.entries)
                .add(index as usize)
                .write_volatile(request);
            self.at(sq.array).add(index as usize).write_volatile(index);
            self.at(sq.tail).write_volatile(tail.wrapping_add(1));
            index
        };
        debug_assert!((index as usize) < ENTRIES);
        let enter = [no_descriptor(self.descriptor.as_raw_fd()), 1, 1, WAIT, 0, 0];
        // SAFETY: no signal mask is passed; the path lives until the answer is there.
        unsafe { native(IO_URING_ENTER, enter) }?;
        // SAFETY: as above; a completion is 16 bytes, its result the third word.
        unsafe {
            let head = self.at(cq.head).read_volatile();
            let place = head & self.at(cq.ring_mask).read_volatile();
            let result = self.at(cq.cqes).add(place as usize * 4 + 2).read_volatile();
            self.at(cq.head).write_volatile(head.wrapping_add(1));
            Ok(result.cast_signed())
        }
    }
}
