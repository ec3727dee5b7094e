//! `uncovered`: a process made a call that no table of this release knows, and it succeeded, or a request of io_uring of
//! which the kernel tells only the number. One record a process and call; what it changes is still a `modify`, with the process's name.

use graven_abi::event::uncovered::{Uncovered, entry as way};
use graven_abi::header::{kind, ring};
use graven_abi::syscalls::entry;

use crate::emit::emit;
use crate::kernel::maps::{UncoveredKey, first_uncovered};
use crate::kernel::scratch::Scratch;
use crate::kernel::task::{self, Current};

/// Writes the record unless this process has one. It goes to the `protected` ring: it says that the log is
/// less than it looks.
#[inline(always)]
pub fn record(owner: u32, current: Current, entry: u8, number: i64) {
    let who = task::exec_key(current.typed());
    if !first_uncovered(&UncoveredKey { start: who.start, pid: who.pid, entry: entry.into(), number }) {
        return;
    }
    let Some(scratch) = Scratch::begin(owner) else { return };
    scratch.caused_by(entry, number as i32);
    let (_, event) = scratch.record::<Uncovered>();
    event.entry = if entry == entry::IO_URING { way::IO_URING } else { way::UNKNOWN_CALL };
    event.padding = 0;
    event.number = number;
    emit::<Uncovered>(scratch, kind::UNCOVERED, ring::PROTECTED);
}
