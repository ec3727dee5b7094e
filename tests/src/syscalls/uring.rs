//! Requests of io_uring, one after the other or linked.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::yield_now;
use std::time::{Duration, Instant};

use super::{Argument, Low, MMAP, READ_WRITE, SHARED, address, descriptor, halves, native, no_descriptor};
use crate::calls::Shape;
use crate::calls::uring::{Opcode, Slot};

/// MAP_POPULATE of mmap(2).
const POPULATE: usize = 0x8000;
/// Numbers of `asm/unistd_64.h`.
const IO_URING_SETUP: usize = 425;
const IO_URING_ENTER: usize = 426;
const IO_URING_REGISTER: usize = 427;

/// A small io_uring.
pub struct Ring {
    descriptor: OwnedFd,
    rings: usize,
    entries: usize,
    parameters: Parameters,
    /// The kernel reads it as long as there is the ring.
    memory: Option<Low>,
    /// The kernel knows it as the ring's first buffer.
    is_registered: bool,
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
#[derive(Clone, Copy, Default)]
struct Request {
    opcode: u8,
    flags: u8,
    ioprio: u16,
    descriptor: u32,
    offset: usize,
    address: usize,
    length: u32,
    operation_flags: u32,
    user_data: u64,
    buffer: u32,
    input: u32,
    third: usize,
    rest: u64,
}

const _: () = assert!(size_of::<Parameters>() == 120 && size_of::<Request>() == 64);

/// How requests are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// By a worker thread (IOSQE_ASYNC).
    pub worker: bool,
    /// Without a completion when it succeeds (IOSQE_CQE_SKIP_SUCCESS), and of some requests when it fails.
    pub silent: bool,
    /// Taken from the ring by a thread of the kernel's, so that no system call is made (IORING_SETUP_SQPOLL).
    pub polled: bool,
}

/// IORING_OP_NOP
const NOP: u8 = 0;
/// Requests a ring holds.
const ENTRIES: usize = 4;
/// More than the rings of four entries need.
const MAPPED: usize = 4096;
/// IORING_OFF_SQES
const OFFSET_OF_ENTRIES: usize = 0x1000_0000;
/// IORING_REGISTER_BUFFERS
const BUFFERS: usize = 0;
/// IORING_ENTER_GETEVENTS, IORING_ENTER_SQ_WAKEUP
const WAIT: usize = 1;
const WAKE: usize = 2;
/// IORING_SETUP_SQPOLL, and IORING_SQ_NEED_WAKEUP of the ring's flags.
const POLLED: u32 = 2;
const SLEEPS: u32 = 1;
/// Flags of a request.
const LINK: u8 = 1 << 2;
const WORKER: u8 = 1 << 4;
const SILENT: u8 = 1 << 6;
/// Longer than a request of ours takes.
const PATIENCE: Duration = Duration::from_secs(10);

impl Ring {
    /// Sets one up.
    pub fn new(way: Way) -> io::Result<Self> {
        let flags = if way.polled { POLLED } else { 0 };
        let mut parameters = Parameters { flags, sq_thread_idle: 1_000, ..Parameters::default() };
        let setup = [ENTRIES, address(&raw mut parameters), 0, 0, 0, 0];
        // SAFETY: the parameters live and are as large as the kernel's.
        let descriptor = unsafe { native(IO_URING_SETUP, setup) }.map(descriptor)?;
        let map = |offset| {
            let number = no_descriptor(descriptor.as_raw_fd());
            // SAFETY: a new mapping of the ring; both rings are in one since 5.4.
            unsafe { native(MMAP, [0, MAPPED, READ_WRITE, SHARED | POPULATE, number, offset]) }
        };
        let (rings, entries) = (map(0)?, map(OFFSET_OF_ENTRIES)?);
        Ok(Self { descriptor, rings, entries, parameters, memory: None, is_registered: false })
    }

    /// One request, and its answer. A silent one is followed by one that does nothing, and waited for by that.
    pub fn run(&mut self, way: Way, opcode: &Opcode, arguments: &[Argument<'_>]) -> io::Result<i32> {
        let mut request = Request { opcode: opcode.number, user_data: 1, ..Request::default() };
        for ((slot, shape), argument) in opcode.shape.iter().zip(arguments) {
            let value = argument.value(&mut self.memory)?;
            match (shape, argument) {
                (Shape::Bytes, Argument::Bytes(bytes)) => request.length = halves(bytes.len())[0],
                (Shape::Vector, _) => request.length = 1,
                _ => {}
            }
            match slot {
                Slot::Descriptor => request.descriptor = halves(value)[0],
                Slot::Offset => request.offset = value,
                Slot::Address => request.address = value,
                Slot::Length => request.length = halves(value)[0],
                Slot::Flags => request.operation_flags = halves(value)[0],
                Slot::Third => request.third = value,
                Slot::Input => request.input = halves(value)[0],
            }
        }
        if opcode.is_fixed {
            self.register()?;
        }
        request.flags |= if way.worker { WORKER } else { 0 };
        request.flags |= if way.silent { SILENT | LINK } else { 0 };
        let nothing = Request { opcode: NOP, user_data: 2, ..Request::default() };
        let count = if way.silent { 2 } else { 1 };
        self.push(&[request, nothing][..count]);
        match way.polled {
            true => self.wake()?,
            false => self.enter(count, WAIT)?,
        }
        self.take()
    }

    /// The arguments' memory becomes the first of the ring's buffers (IORING_REGISTER_BUFFERS).
    fn register(&mut self) -> io::Result<()> {
        let Some(memory) = self.memory.as_ref().filter(|_| !self.is_registered) else { return Ok(()) };
        let buffer = [memory.begin, Low::SIZE];
        let register =
            [no_descriptor(self.descriptor.as_raw_fd()), BUFFERS, address(buffer.as_ptr()), 1, 0, 0];
        // SAFETY: one `struct iovec`, of memory that lives as long as the ring.
        unsafe { native(IO_URING_REGISTER, register) }?;
        self.is_registered = true;
        Ok(())
    }

    fn word(&self, offset: u32) -> &AtomicU32 {
        // SAFETY: the offsets are the kernel's, in a mapping that lives as long as this value; it shares these
        // words as atomic ones.
        unsafe { AtomicU32::from_ptr(std::ptr::with_exposed_provenance_mut(self.rings + offset as usize)) }
    }

    /// All at once: a link to one that is not there yet would be none.
    fn push(&mut self, requests: &[Request]) {
        let sq = self.parameters.sq;
        let mut tail = self.word(sq.tail).load(Ordering::Relaxed);
        let entries = std::ptr::with_exposed_provenance_mut::<Request>(self.entries);
        for request in requests {
            let index = tail & self.word(sq.ring_mask).load(Ordering::Relaxed);
            // SAFETY: the index is below the number of entries, and the kernel does not read beyond the tail.
            unsafe { entries.add(index as usize).write_volatile(*request) };
            self.word(sq.array + index * 4).store(index, Ordering::Relaxed);
            tail = tail.wrapping_add(1);
        }
        self.word(sq.tail).store(tail, Ordering::SeqCst);
    }

    fn enter(&self, count: usize, flags: usize) -> io::Result<()> {
        let wait = usize::from(flags & WAIT != 0);
        let enter = [no_descriptor(self.descriptor.as_raw_fd()), count, wait, flags, 0, 0];
        // SAFETY: no signal mask is passed; the arguments' memory lives as long as the ring.
        unsafe { native(IO_URING_ENTER, enter) }.map(drop)
    }

    /// The kernel's thread sleeps only if it had nothing to do for long.
    fn wake(&self) -> io::Result<()> {
        match self.word(self.parameters.sq.flags).load(Ordering::SeqCst) & SLEEPS {
            0 => Ok(()),
            _ => self.enter(0, WAKE),
        }
    }

    /// The next completion: 16 bytes, its result the third word.
    fn take(&mut self) -> io::Result<i32> {
        let cq = self.parameters.cq;
        let end = Instant::now() + PATIENCE;
        let head = self.word(cq.head).load(Ordering::Relaxed);
        while self.word(cq.tail).load(Ordering::Acquire) == head {
            if Instant::now() > end {
                return Err(io::ErrorKind::TimedOut.into());
            }
            yield_now();
        }
        let place = head & self.word(cq.ring_mask).load(Ordering::Relaxed);
        let result = self.word(cq.cqes + place * 16 + 8).load(Ordering::Relaxed);
        self.word(cq.head).store(head.wrapping_add(1), Ordering::Release);
        Ok(result.cast_signed())
    }
}
