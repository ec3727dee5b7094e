//! What the sensor must know of the running kernel before it is loaded.
//!
//! In: BTF. Out: every offset, or the name of the first that is missing.

use graven_abi::offsets::{ABSENT, COUNT, FIELDS};

use super::btf::Btf;
use super::cast::Cast;
use super::wanted::LATER;
use super::{BTF, SensorError};

/// Numbers of this kernel.
#[derive(Debug)]
pub(super) struct Known {
    /// In the order of `FIELDS`.
    pub(super) offsets: [u32; COUNT],
    /// I_FREEING | I_CLEAR of `inode.i_state`, whose bits have moved between kernels; 0 where the kernel does
    /// not name them: then the eviction of a deleted file looks like one more change of it, which is kept.
    pub(super) inode_leaving: u32,
    /// The kernel has the inode-time tracepoints (6.13).
    pub(super) witnessed: bool,
    /// Of [`LATER`] those that it has.
    pub(super) later: Vec<&'static str>,
    /// How memory is read without a helper (6.2); none where it cannot be.
    pub(super) cast: Option<Cast>,
}

/// Reads them.
pub(super) fn of_running_kernel() -> Result<Known, SensorError> {
    let bytes = std::fs::read(BTF).map_err(SensorError::NoBtf)?;
    let btf = Btf::parse(&bytes).ok_or(SensorError::Btf)?;
    let mut offsets = [0; COUNT];
    for (slot, (structure, field)) in offsets.iter_mut().zip(FIELDS) {
        *slot = offset(&btf, structure, field).ok_or(SensorError::Field { structure, field })?;
    }
    let bit = |name| btf.enumerator("inode_state_flags_t", name).unwrap_or(0);
    let enumerated = bit("I_FREEING") | bit("I_CLEAR");
    let tagged = |name| btf.enumerator("inode_state_flags_enum", name).unwrap_or(0);
    let inode_leaving = enumerated | tagged("I_FREEING") | tagged("I_CLEAR");
    let witnessed = ["btf_trace_ctime_ns_xchg", "btf_trace_inode_set_ctime_to_ts"];
    let witnessed = witnessed.into_iter().all(|name| btf.has_typedef(name));
    let later = LATER.into_iter().filter(|name| btf.function(name).is_some()).collect();
    let (function, words) = (btf.function("bpf_rdonly_cast"), btf.structure("pt_regs"));
    let cast = function.zip(words).map(|(function, words)| Cast { function, words });
    Ok(Known { offsets, inode_leaving, witnessed, later, cast })
}

/// The first of the names that this kernel has.
fn offset(btf: &Btf<'_>, structure: &str, field: &str) -> Option<u32> {
    let (names, optional) = match field.strip_suffix('?') {
        Some(names) => (names, true),
        None => (field, false),
    };
    let found = names.split('|').find_map(|name| btf.offset(structure, name));
    found.or(optional.then_some(ABSENT))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    #[test]
    fn every_offset_is_found_in_this_kernel() {
        if !std::path::Path::new(BTF).exists() {
            println!("skipped: kernel_offsets: this kernel has no BTF");
            return;
        }
        let known = of_running_kernel().unwrap();
        assert!(known.offsets.iter().all(|offset| *offset < 64 << 10), "{known:?}");
        assert_ne!(known.inode_leaving, 0);
    }
}
