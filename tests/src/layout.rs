//! The layouts of structs as the sensor's compiler made them: read from its debug information, and from the
//! type information for the kernel (BTF).

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use gimli::{
    DW_AT_byte_size, DW_AT_data_member_location, DW_AT_name, DW_TAG_member, DW_TAG_namespace,
    DW_TAG_structure_type,
};
use gimli::{DebuggingInformationEntry, Dwarf, EndianSlice, EntriesTreeNode, LittleEndian, SectionId, Unit};
use object::{Object, ObjectSection};

/// Modules and structs in one another: ours are four deep.
const DEPTH: usize = 32;

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// One struct.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Bytes.
    pub size: u64,
    /// Name and offset in bytes of each field.
    pub fields: BTreeMap<String, u64>,
}

/// The sections with programs and their names: what makes two objects the same sensor.
pub fn programs(object: &[u8]) -> Result<BTreeMap<String, Vec<u8>>> {
    let file = object::File::parse(object).context("not an object")?;
    let sections = file.sections().filter(|section| section.kind() == object::SectionKind::Text);
    let named = sections.map(|section| Ok((section.name()?.to_owned(), section.data()?.to_vec())));
    named.collect()
}

/// All structs whose path begins with a crate's name, from the debug information.
pub fn of_crate(object: &[u8], name: &str) -> Result<BTreeMap<String, Layout>> {
    let file = object::File::parse(object).context("not an object")?;
    let section = |id: SectionId| -> Result<Slice<'_>, gimli::Error> {
        let data = file.section_by_name(id.name()).and_then(|section| section.data().ok());
        Ok(EndianSlice::new(data.unwrap_or_default(), LittleEndian))
    };
    let dwarf = Dwarf::load(section).context("no debug information")?;
    let mut found = BTreeMap::new();
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        let unit = dwarf.unit(header)?;
        let mut tree = unit.entries_tree(None)?;
        let mut walk = Walk { dwarf: &dwarf, unit: &unit, name, found: &mut found };
        walk.children(tree.root()?, &mut Vec::new())?;
    }
    Ok(found)
}

struct Walk<'w, 'a> {
    dwarf: &'w Dwarf<Slice<'a>>,
    unit: &'w Unit<Slice<'a>>,
    name: &'w str,
    found: &'w mut BTreeMap<String, Layout>,
}

impl<'a> Walk<'_, 'a> {
    fn children(
        &mut self,
        node: EntriesTreeNode<'_, '_, '_, Slice<'a>>,
        path: &mut Vec<String>,
    ) -> Result<()> {
        ensure!(path.len() < DEPTH, "{} is too deep", path.join("::"));
        let mut children = node.children();
        while let Some(child) = children.next()? {
            let tag = child.entry().tag();
            if tag != DW_TAG_namespace && tag != DW_TAG_structure_type {
                continue;
            }
            let Some(name) = self.text(child.entry())? else { continue };
            if path.is_empty() && name != self.name {
                continue;
            }
            path.push(name);
            if tag == DW_TAG_structure_type {
                let size = child.entry().attr_value(DW_AT_byte_size)?.and_then(|value| value.udata_value());
                let layout = Layout { size: size.unwrap_or_default(), fields: self.fields(child)? };
                self.found.insert(path.join("::"), layout);
            } else {
                self.children(child, path)?;
            }
            path.pop();
        }
        Ok(())
    }

    fn fields(&self, node: EntriesTreeNode<'_, '_, '_, Slice<'a>>) -> Result<BTreeMap<String, u64>> {
        let mut fields = BTreeMap::new();
        let mut children = node.children();
        while let Some(child) = children.next()? {
            let entry = child.entry();
            if entry.tag() == DW_TAG_member {
                let name = self.text(entry)?.context("a field without a name")?;
                let at = entry.attr_value(DW_AT_data_member_location)?.and_then(|value| value.udata_value());
                fields.insert(name, at.context("a field without a place")?);
            }
        }
        Ok(fields)
    }

    fn text(&self, entry: &DebuggingInformationEntry<'_, '_, Slice<'a>>) -> Result<Option<String>> {
        let Some(value) = entry.attr_value(DW_AT_name)? else { return Ok(None) };
        Ok(Some(self.dwarf.attr_string(self.unit, value)?.to_string_lossy().into_owned()))
    }
}

/// All structs of the BTF by name; several may have one name.
pub fn of_btf(object: &[u8]) -> Result<Vec<(String, Layout)>> {
    let file = object::File::parse(object).context("not an object")?;
    let section = file.section_by_name(".BTF").context("no BTF")?.data()?;
    Btf::parse(section)?.structs()
}

/// `struct btf_header` and what it points to.
struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
}

impl<'a> Btf<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self> {
        ensure!(bytes.get(..2) == Some(&[0x9f, 0xeb]), "the BTF does not begin as one");
        let word = |at| word(bytes, at);
        let begin = word(4)?;
        let part = |offset: usize, length: usize| {
            let at = begin + offset;
            bytes.get(at..at + length).context("the BTF is cut")
        };
        Ok(Self { types: part(word(8)?, word(12)?)?, strings: part(word(16)?, word(20)?)? })
    }

    fn structs(&self) -> Result<Vec<(String, Layout)>> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.types.len() {
            let (name, info, size) = (self.word(at)?, self.word(at + 4)?, self.word(at + 8)?);
            let (kind, length) = (info >> 24 & 0x1f, info & 0xffff);
            at += 12;
            if kind == 4 {
                let members = (0..length).map(|n| {
                    let member = at + n * 12;
                    // The upper byte is the width of a bit field, of which there are none.
                    Ok((self.text(self.word(member)?)?, self.word(member + 8)? as u64 / 8))
                });
                let fields = members.collect::<Result<_>>()?;
                found.push((self.text(name)?, Layout { size: size as u64, fields }));
            }
            at += extra(kind, length).with_context(|| format!("BTF kind {kind}"))?;
        }
        Ok(found)
    }

    fn word(&self, at: usize) -> Result<usize> {
        word(self.types, at)
    }

    fn text(&self, at: usize) -> Result<String> {
        let rest = self.strings.get(at..).context("a BTF string is beyond the end")?;
        let end = rest.iter().position(|byte| *byte == 0).context("a BTF string has no end")?;
        Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
    }
}

fn word(bytes: &[u8], at: usize) -> Result<usize> {
    let word = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).context("the BTF is cut")?;
    Ok(usize::try_from(u32::from_le_bytes(word))?)
}

/// Bytes behind the common part of a type (Documentation/bpf/btf.rst).
fn extra(kind: usize, length: usize) -> Option<usize> {
    Some(match kind {
        2 | 7..=12 | 16 | 18 => 0,
        1 | 14 | 17 => 4,
        3 => 12,
        6 | 13 => length * 8,
        4 | 5 | 15 | 19 => length * 12,
        _ => return None,
    })
}
