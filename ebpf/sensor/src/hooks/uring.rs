//! io_uring: what a process asked the kernel to do without a system call for each.
//!
//! `io_uring_submit_req` (since 6.3; before, `io_uring_submit_sqe`) fires for each request just before it is tried, also
//! when the kernel's own thread submits it (SQPOLL). What really changes is told by `ctime`, in the thread that does
//! it; this hook tells which request it was, and for requests about names what was asked for: a record of the
//! request's kind with outcome `reported`, named by the kernel's own copy of the string. A completion is never waited
//! for: IOSQE_CQE_SKIP_SUCCESS leaves it out.
//!
//! What it misses: on 5.10 and 5.11 the tracepoint has no request: that a process makes such requests is an `uncovered`
//! record. From 5.12 to 6.0 its arguments changed with each release, and it is not used.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
#[cfg(not(feature = "counted"))]
use graven_abi::offsets::ABSENT;
#[cfg(feature = "counted")]
use graven_abi::syscalls::entry;
use graven_abi::syscalls::uring as requests;

#[cfg(not(feature = "counted"))]
use super::request;
#[cfg(feature = "counted")]
use super::uncovered;
use crate::kernel::maps;
#[cfg(not(feature = "counted"))]
use crate::kernel::offset::offset;
#[cfg(not(feature = "counted"))]
use crate::kernel::read::field;
#[cfg(feature = "counted")]
use crate::kernel::scratch::owner;
use crate::kernel::task::Current;

/// One bit for each request that may change a file: of the opcodes below 64, and of those above.
const CHANGING: [u64; 2] = {
    let mut bits = [0; 2];
    let mut i = 0;
    while i < requests::REQUESTS.len() {
        let opcode = requests::REQUESTS[i].0;
        bits[opcode as usize / 64] |= 1 << (opcode % 64);
        i += 1;
    }
    bits
};

/// trace_io_uring_submit_req(req)
#[cfg(not(feature = "counted"))]
#[btf_tracepoint(function = "io_uring_submit_req")]
pub fn io_uring_submit_req(ctx: BtfTracePointContext) -> i32 {
    request::submitted(ctx.arg::<*const u8>(0) as u64)
}

/// trace_io_uring_submit_sqe(req, …), 6.1; on 5.10 the first argument is the ring, and the second or the
/// third the opcode.
#[btf_tracepoint(function = "io_uring_submit_sqe")]
pub fn io_uring_submit_sqe(ctx: BtfTracePointContext) -> i32 {
    #[cfg(feature = "counted")]
    {
        // Releases of 5.10 from .162 on have 5.15's io_uring: a pointer to the request comes first, which is no byte.
        let second = ctx.arg::<u64>(1);
        let opcode = if second > u64::from(u8::MAX) { ctx.arg::<u64>(2) } else { second } as u8;
        if changes(opcode.into()) {
            uncovered::record(owner::IO_URING, Current::get(), entry::IO_URING, opcode.into());
        }
        if i16::from(opcode) == requests::RENAMEAT {
            maps::distrust_for(maps::DISTRUST);
        }
        0
    }
    #[cfg(not(feature = "counted"))]
    request::submitted(ctx.arg::<*const u8>(0) as u64)
}

/// May this request change a file?
#[inline(always)]
pub fn changes(opcode: i16) -> bool {
    let bits = match opcode {
        0..64 => CHANGING[0],
        64..128 => CHANGING[1],
        _ => return false,
    };
    bits >> (opcode & 63) & 1 != 0
}

/// The request that an inode changes by, in a thread of the kernel's: a worker knows it (`io_worker.cur_work`), the
/// SQPOLL thread has just submitted it. -1 = none.
#[cfg(not(feature = "counted"))]
#[inline(always)]
pub fn running(current: Current) -> i32 {
    if current.kernel_thread() {
        return -1;
    }
    let worker: u64 = field(current.address(), offset!(task_worker_private)).unwrap_or(0);
    let work: u64 = field(worker, offset!(worker_cur_work)).unwrap_or(0);
    if work == 0 || offset!(request_work) == u64::from(ABSENT) {
        return maps::submitted();
    }
    match field::<u8>(work - offset!(request_work), offset!(request_opcode)) {
        Some(opcode) => opcode.into(),
        None => -1,
    }
}
