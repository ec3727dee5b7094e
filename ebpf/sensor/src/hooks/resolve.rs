//! `resolve`: answers the agent which inode one of its descriptors is, as the kernel tells inodes apart.
//!
//! Never attached: the agent runs it in its own thread (BPF_PROG_TEST_RUN of a raw tracepoint program, since
//! 5.10) with the descriptor as the only argument. `stat` would give other numbers on overlay and btrfs.

use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use aya_log_ebpf::warn;
use graven_abi::filter::Resolved;

use crate::kernel::file::File;
use crate::kernel::inode::Inode;
use crate::kernel::maps;

/// Argument 0: the descriptor.
#[raw_tracepoint]
pub fn resolve(ctx: RawTracePointContext) -> i32 {
    let descriptor: u64 = ctx.arg(0);
    let resolved = match File::of_descriptor(descriptor) {
        Some(file) => {
            let inode = Inode(file.inode());
            Resolved { key: inode.key(), device: inode.device(), found: 1 }
        }
        None => {
            warn!(&ctx, "no file lies behind descriptor {}", descriptor);
            Resolved::default()
        }
    };
    maps::answer(&resolved);
    0
}
