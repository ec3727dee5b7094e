//! Takes the compiler's debug information off the sensor: it is three quarters of the object, goes into every
//! agent, and nothing reads it. The kernel's own type information (`.BTF`, `.BTF.ext`) stays.

use anyhow::{Context, Result};
use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;

/// Prefixes of the sections that go.
const DEBUG: [&[u8]; 2] = [b".debug_", b".rel.debug_"];

/// The object without them.
pub(crate) fn debug_information(object: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(object).context("the sensor is not an ELF object")?;
    for section in &mut builder.sections {
        section.delete = DEBUG.iter().any(|prefix| section.name.starts_with(prefix));
    }
    builder.delete_orphans();
    // LLVM keeps names of sections and symbols in one table, the writer wants two.
    let names = builder.sections.add();
    names.name = b".shstrtab"[..].into();
    names.sh_type = SHT_STRTAB;
    names.data = SectionData::SectionString;
    let mut stripped = Vec::new();
    builder.write(&mut stripped).context("the sensor's object cannot be written")?;
    Ok(stripped)
}
