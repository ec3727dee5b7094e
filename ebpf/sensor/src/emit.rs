//! From a finished record to a ring: the only place that gives out sequences and counts losses.
//!
//! A sequence is taken after the decision to keep and before the room is asked for, so that a record that
//! finds none leaves a gap that user space can see.
#![expect(unsafe_code, reason = "handing bytes to the ring")]

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::bpf_get_smp_processor_id;
use aya_ebpf::helpers::generated::{
    bpf_ringbuf_discard, bpf_ringbuf_output, bpf_ringbuf_query, bpf_ringbuf_reserve,
};
use aya_ebpf::macros::map;
use aya_ebpf::maps::RingBuf;
use graven_abi::header::{ABI_VERSION, ring};
use graven_abi::limits::{ACTIVITY_RING, LIFE_RING, PROTECTED_RING};
use graven_abi::{counter, filter::class};

use crate::kernel::clock::now;
use crate::kernel::maps::{count, is_asleep, next_sequence, wakes};
use crate::kernel::overflow;
use crate::kernel::scratch::Scratch;
use crate::kernel::task::{self, Current};

#[map]
static LIFE: RingBuf = RingBuf::with_byte_size(LIFE_RING, 0);
#[map]
static PROTECTED: RingBuf = RingBuf::with_byte_size(PROTECTED_RING, 0);
#[map]
static ACTIVITY: RingBuf = RingBuf::with_byte_size(ACTIVITY_RING, 0);

/// The ring for a change of this class.
#[inline(always)]
pub fn ring_of(class: u32) -> u8 {
    if class == class::PROTECT { ring::PROTECTED } else { ring::ACTIVITY }
}

/// Hands over a record whose event and tail are filled; false when there was no room.
#[inline(always)]
pub fn emit<E: 'static>(scratch: &Scratch, kind: u16, ring: u8) -> bool {
    deliver(scratch.owner(), kind.into(), ring.into(), size_of::<E>() as u32) != 0
}

/// Fills the header: who, when, by which call. A global function, see `kernel::dentry`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn deliver(owner: u32, kind: u32, ring: u32, size: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner) else { return 0 };
    let Some(header) = scratch.header(size) else { return 0 };
    header.abi = ABI_VERSION;
    header.kind = kind as u16;
    header.tail = scratch.tail();
    header.time = now();
    // SAFETY: the helper has no preconditions.
    header.cpu = unsafe { bpf_get_smp_processor_id() } as u16;
    header.ring = ring as u8;
    header.padding = 0;
    let failed = scratch.failed();
    let call = scratch.call();
    header.entry = call.entry as u8;
    header.call = call.number as i16;
    header.error = if failed { call.result.wrapping_neg() as u8 } else { 0 };
    task::describe(Current::get(), &mut header.task);
    header.sequence = next_sequence(ring as u8);
    let Some((start, length)) = scratch.finished(size) else { return 0 };
    let record = Finished { start, length, asks: header.sequence % ASK == 0 };
    let stored = match ring as u8 {
        ring::LIFE => output(&LIFE, LIFE_RING, record, counter::LOST_LIFE),
        ring::PROTECTED => output(&PROTECTED, PROTECTED_RING, record, counter::LOST_PROTECTED),
        _ => output(&ACTIVITY, ACTIVITY_RING, record, counter::LOST_ACTIVITY),
    };
    if !stored {
        overflow::lost(owner, kind, ring);
    }
    stored.into()
}

/// Each so-many-th record of a CPU asks how full its ring is: the answer lies where the agent writes, on another CPU.
/// Between two questions at most a few hundred KiB are added, and a ring has megabytes.
const ASK: u64 = 16;

/// A record that is ready.
struct Finished {
    start: *mut u8,
    length: u64,
    /// Does it ask how full the ring is?
    asks: bool,
}

/// The agent is woken when a quarter of the ring is full; until then its own timer finds the records:
/// a wake-up for each would double the price of a change. While nothing happens the agent sleeps without such a timer, and the
/// first record wakes it.
#[inline(always)]
fn output(map: &RingBuf, size: u32, record: Finished, lost: u32) -> bool {
    let raw = core::ptr::from_ref(map).cast_mut().cast();
    // SAFETY: `raw` is a ring-buffer map, and start..start+length lies within the program's scratch.
    let failed = unsafe {
        let waiting = if record.asks { bpf_ringbuf_query(raw, BPF_RB_AVAIL_DATA.into()) } else { 0 };
        let wake = if waiting > u64::from(size / 4) { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
        bpf_ringbuf_output(raw, record.start.cast(), record.length, wake.into())
    };
    if failed != 0 {
        count(lost);
    } else if is_asleep() {
        wake(map);
    }
    failed == 0
}

/// What is handed over and is no record: nobody reads it, but the agent is woken.
const NOTHING: u64 = 8;

/// The kernel hands a record over by an exchange of its length, a barrier, before it is asked whether the agent sleeps; the
/// agent says that it will before it looks at the rings for the last time: one of both sees the other. Without room the next one
/// tries again.
#[inline(always)]
fn wake(map: &RingBuf) {
    let raw = core::ptr::from_ref(map).cast_mut().cast();
    // SAFETY: `raw` is a ring-buffer map; what was reserved is given back at once.
    unsafe {
        let nothing = bpf_ringbuf_reserve(raw, NOTHING, 0);
        if !nothing.is_null() {
            wakes();
            bpf_ringbuf_discard(nothing, BPF_RB_FORCE_WAKEUP.into());
        }
    }
}
