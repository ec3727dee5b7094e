//! Field offsets of the running kernel, from its BTF.
//!
//! In: BTF. Out: every offset the sensor needs, or the name of the first that is missing. Unnamed unions
//! and structs are descended into, as C does.

use btf_rs::{Btf, BtfType, Type};
use graven_abi::offsets::{COUNT, FIELDS};

use super::{BTF, SensorError};

/// Unnamed members within unnamed members: the kernel nests two deep.
const MAX_NESTING: usize = 8;

/// Reads BTF of the running kernel.
pub(super) fn of_running_kernel() -> Result<[u32; COUNT], SensorError> {
    let bytes = std::fs::read(BTF).map_err(SensorError::NoBtf)?;
    let btf = Btf::from_bytes(&bytes).map_err(|error| SensorError::Btf(error.to_string()))?;
    let mut offsets = [0; COUNT];
    for (slot, (structure, path)) in offsets.iter_mut().zip(FIELDS) {
        *slot = offset(&btf, structure, path).ok_or(SensorError::Field { structure, field: path })?;
    }
    Ok(offsets)
}

/// Offset in bytes of a dotted path.
fn offset(btf: &Btf, structure: &str, path: &str) -> Option<u32> {
    let types = btf.resolve_types_by_name(structure).ok()?;
    let found = types.into_iter().find_map(|found| match found {
        Type::Struct(s) if !s.members.is_empty() => Some(Type::Struct(s)),
        _ => None,
    })?;
    let (_, bits) = path.split('.').try_fold((found, 0), |(within, bits), field| {
        let (found, more) = member(btf, &within, field, MAX_NESTING)?;
        Some((found, bits + more))
    })?;
    (bits % 8 == 0).then_some(bits / 8)
}

/// A member by name, also inside unnamed members: its type and its offset in bits.
fn member(btf: &Btf, within: &Type, name: &str, depth: usize) -> Option<(Type, u32)> {
    let (Type::Struct(fields) | Type::Union(fields)) = within else { return None };
    fields.members.iter().find_map(|field| {
        let own = btf.resolve_name(field).unwrap_or_default();
        if own == name {
            return Some((named_type(btf, field)?, field.bit_offset()));
        }
        if !own.is_empty() || depth == 0 {
            return None;
        }
        let (found, more) = member(btf, &named_type(btf, field)?, name, depth - 1)?;
        Some((found, field.bit_offset() + more))
    })
}

/// The type of a member, past typedefs and qualifiers; their chains are short, the bound stops a loop.
fn named_type(btf: &Btf, of: &dyn BtfType) -> Option<Type> {
    let mut found = btf.resolve_chained_type(of).ok()?;
    for _ in 0..MAX_NESTING {
        found = match &found {
            Type::Typedef(t) => btf.resolve_chained_type(t).ok()?,
            Type::Const(t) | Type::Volatile(t) | Type::Restrict(t) => btf.resolve_chained_type(t).ok()?,
            Type::TypeTag(t) => btf.resolve_chained_type(t).ok()?,
            _ => return Some(found),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    #[test]
    fn every_offset_is_found_in_this_kernel_and_none_is_beyond_its_struct() {
        if !std::path::Path::new(BTF).exists() {
            println!("skipped: kernel_offsets: this kernel has no BTF");
            return;
        }
        let offsets = of_running_kernel().unwrap();
        let (_, far) = FIELDS.iter().zip(offsets).max_by_key(|(_, offset)| *offset).unwrap();
        assert!(far < 64 << 10, "{far}");
        let alias = FIELDS.iter().position(|f| f.1 == "d_u.d_alias").unwrap();
        assert_ne!(offsets[alias], 0);
    }
}
