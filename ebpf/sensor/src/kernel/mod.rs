//! Everything that reads the kernel's memory or the maps: all the sensor's unsafe code but the ring's.
//!
//! Two ways to read. A **probe read** (`bpf_probe_read_kernel`) copies from any address and yields zeros
//! when there is nothing: used off the hot path. A **typed load** dereferences a pointer whose type the
//! verifier knows, at an offset it knows because the offsets are frozen read-only data: used on the path
//! that every system call takes, where a helper call costs.
#![expect(unsafe_code, reason = "reading the kernel is this folder's purpose")]

pub mod offset;
pub mod read;
pub mod clock;
pub mod regs;
pub mod task;
pub mod inode;
pub mod dentry;
pub mod file;
pub mod slot;
pub mod maps;
pub mod scratch;
pub mod overflow;
