//! `shape`: the agent says that it begins (0) or has ended (1) changing marks, so that no verdict found
//! meanwhile is believed later. Never attached: run on request, as `resolve` is.

use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use aya_log_ebpf::debug;

use crate::kernel::maps;

/// Argument 0: 0 = begin, else = end.
#[raw_tracepoint]
pub fn shape(ctx: RawTracePointContext) -> i32 {
    if ctx.arg::<u64>(0) == 0 {
        maps::moving();
    } else {
        maps::moved();
        maps::marked();
        debug!(&ctx, "the marks were changed");
    }
    0
}
