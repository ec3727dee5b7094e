//! From a finished record to a ring: the only place that gives out sequences and counts losses.
//!
//! A sequence is taken after the decision to keep and before the room is asked for, so that a record that
//! finds none leaves a gap that user space can see.
#![expect(unsafe_code, reason = "handing bytes to the ring")]

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::bpf_get_smp_processor_id;
use aya_ebpf::helpers::generated::{bpf_ringbuf_output, bpf_ringbuf_query};
use aya_ebpf::macros::map;
use aya_ebpf::maps::RingBuf;
use graven_abi::header::{ABI_VERSION, ring};
use graven_abi::limits::{ACTIVITY_RING, LIFE_RING, PROTECTED_RING};
use graven_abi::{counter, filter::class};

use crate::kernel::clock::now;
use crate::kernel::maps::{count, next_sequence};
use crate::kernel::scratch::Scratch;
use crate::kernel::task;

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

/// Fills the header and hands the record over; false when there was no room.
#[inline(always)]
pub fn emit<E: 'static>(scratch: &mut Scratch, kind: u16, ring: u8, current: u64) -> bool {
    let tail = scratch.tail();
    let (header, _) = scratch.record::<E>();
    header.abi = ABI_VERSION;
    header.kind = kind;
    header.tail = tail;
    header.time = now();
    // SAFETY: the helper has no preconditions.
    header.cpu = unsafe { bpf_get_smp_processor_id() } as u32;
    header.ring = ring;
    header.padding = [0; 3];
    task::describe(current, &mut header.task);
    header.sequence = next_sequence(ring);
    let (start, length) = scratch.finished::<E>();
    match ring {
        ring::LIFE => output(&LIFE, LIFE_RING, start, length, counter::KEPT_LIFE, counter::LOST_LIFE),
        ring::PROTECTED => output(
            &PROTECTED,
            PROTECTED_RING,
            start,
            length,
            counter::KEPT_PROTECTED,
            counter::LOST_PROTECTED,
        ),
        _ => output(&ACTIVITY, ACTIVITY_RING, start, length, counter::KEPT_ACTIVITY, counter::LOST_ACTIVITY),
    }
}

/// The agent is woken when a quarter of the ring is full; until then its own timer finds the records:
/// a wake-up for each would double the price of a change.
#[inline(always)]
fn output(map: &RingBuf, size: u32, start: *mut u8, length: u64, kept: u32, lost: u32) -> bool {
    let raw = core::ptr::from_ref(map).cast_mut().cast();
    // SAFETY: `raw` is a ring-buffer map, and start..start+length lies within the program's scratch.
    let failed = unsafe {
        let waiting = bpf_ringbuf_query(raw, BPF_RB_AVAIL_DATA.into());
        let wake = if waiting > u64::from(size / 4) { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
        bpf_ringbuf_output(raw, start.cast(), length, wake.into())
    };
    count(kept);
    if failed != 0 {
        count(lost);
    }
    failed == 0
}
