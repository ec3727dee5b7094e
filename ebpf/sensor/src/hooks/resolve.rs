//! `resolve`: answers the agent which inode one of its descriptors is, as the kernel tells inodes apart.
//!
//! Never attached: the agent runs it in its own thread (BPF_PROG_TEST_RUN of a raw tracepoint program, since
//! 5.10) with the descriptor as the only argument. `stat` would give other numbers on overlay and btrfs.

use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use graven_abi::filter::Resolved;

use crate::kernel::file::File;
use crate::kernel::inode::Inode;
use crate::kernel::maps;
use crate::kernel::task::Current;

/// Argument 0: the descriptor.
#[raw_tracepoint]
pub fn resolve(ctx: RawTracePointContext) -> i32 {
    let descriptor: u64 = ctx.arg(0);
    let mut resolved = Resolved::default();
    if let Some(file) = File::of_descriptor(Current::get().address(), descriptor) {
        let inode = Inode(file.inode());
        resolved = Resolved { key: inode.key(), device: inode.device(), found: 1 };
    }
    maps::answer(&resolved);
    0
}
