//! Everything that reads the kernel's memory or the maps: all the sensor's unsafe code but the ring's.
//!
//! Three ways to read. A **typed load** dereferences a pointer whose type the verifier knows, at an offset it
//! knows because the offsets are frozen read-only data. A **cast** (`bpf_rdonly_cast`, since 6.2) makes such a
//! pointer of any address; it yields zeros when there is nothing, as all loads of this kind do. A **probe read**
//! (`bpf_probe_read_kernel`) does the same on older kernels, for the price of a helper call, twenty loads.
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
pub mod walked;
pub mod scratch;
#[cfg(not(feature = "counted"))]
pub mod taken;
pub mod name;
#[cfg(not(feature = "counted"))]
pub mod opened;
pub mod overflow;
