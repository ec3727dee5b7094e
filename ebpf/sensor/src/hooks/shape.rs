//! `shape`: the agent says that it looks for roots, changes the marks, and has marked them all or not, so that no verdict
//! found meanwhile is believed later. Never attached: run on request, as `resolve` is.

use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use aya_log_ebpf::debug;
use graven_abi::filter::shape;

use crate::kernel::maps;

/// Argument 0: one of `filter::shape`.
#[raw_tracepoint]
pub fn shape(ctx: RawTracePointContext) -> i32 {
    match ctx.arg::<u64>(0) {
        shape::LOOKING => maps::looking(),
        shape::CHANGING => maps::moving(),
        shape::CHANGED => maps::moved(),
        shape::MARKED => {
            maps::marked();
            debug!(&ctx, "the marks were changed");
        }
        _ => maps::unmarked(),
    }
    0
}
