//! The kernel's description of its own types (Documentation/bpf/btf.rst), as far as the sensor asks: where a
//! field lies, and what an enumerator is worth.
//!
//! In: bytes. Out: numbers. Any bytes give an answer or none, never a panic.

/// `BTF_MAGIC`.
const MAGIC: u16 = 0xeb9f;
/// Bytes of `struct btf_type`.
const TYPE: usize = 12;
/// Bytes of `struct btf_member`, and of `struct btf_enum`.
const MEMBER: usize = 12;
const ENUMERATOR: usize = 8;
/// Unnamed members within unnamed members, and qualifiers before a type: the kernel nests two deep.
const MAX_NESTING: usize = 8;

const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const TYPEDEF: u32 = 8;
const FUNCTION: u32 = 12;
/// Kinds that only point at another type: typedef, volatile, const, restrict, type tag.
const ALIASES: [u32; 5] = [TYPEDEF, 9, 10, 11, 18];

/// Parsed far enough to find every type by number.
#[derive(Debug)]
pub(super) struct Btf<'a> {
    strings: &'a [u8],
    types: Vec<Type<'a>>,
}

/// One type: its fixed part, and what follows it.
#[derive(Clone, Copy, Debug)]
struct Type<'a> {
    name: u32,
    info: u32,
    /// Size, or the type it points at.
    of: u32,
    rest: &'a [u8],
}

impl Type<'_> {
    fn kind(&self) -> u32 {
        (self.info >> 24) & 0x1f
    }

    /// Are member offsets split into bit-field size and offset (`kind_flag`)?
    fn has_bit_fields(&self) -> bool {
        self.info >> 31 == 1
    }
}

/// Bytes that follow a type of a kind with `count` members; none for a kind of a future kernel.
fn extra(kind: u32, count: usize) -> Option<usize> {
    match kind {
        1 | 14 | 17 => Some(4),
        3 => Some(12),
        STRUCT | UNION | 15 | 19 => Some(MEMBER * count),
        ENUM | 13 => Some(ENUMERATOR * count),
        2 | 7..=12 | 16 | 18 => Some(0),
        _ => None,
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(field.try_into().ok()?))
}

impl<'a> Btf<'a> {
    /// None when the bytes are not BTF of this machine's byte order, or hold a kind that is not known.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let magic = u16::from_le_bytes(bytes.get(..2)?.try_into().ok()?);
        let header = number(bytes, 4)? as usize;
        let section = |offset: usize| -> Option<&'a [u8]> {
            let from = header.checked_add(number(bytes, offset)? as usize)?;
            bytes.get(from..from.checked_add(number(bytes, offset + 4)? as usize)?)
        };
        let mut left = section(8)?;
        let strings = section(16)?;
        let mut types = Vec::new();
        while !left.is_empty() {
            let info = number(left, 4)?;
            let length = extra((info >> 24) & 0x1f, (info & 0xffff) as usize)?;
            let rest = left.get(TYPE..TYPE + length)?;
            types.push(Type { name: number(left, 0)?, info, of: number(left, 8)?, rest });
            left = &left[TYPE + length..];
        }
        (magic == MAGIC).then_some(Self { strings, types })
    }

    /// Offset in bytes of a dotted path of fields. Unnamed structs and unions are descended into, as C does.
    pub(super) fn offset(&self, structure: &str, path: &str) -> Option<u32> {
        let start = self.types.get(self.structure(structure)? as usize - 1)?;
        let (_, bits) = path.split('.').try_fold((*start, 0_u32), |(within, bits), field| {
            let (found, more) = self.member(&within, field.as_bytes(), MAX_NESTING)?;
            Some((found, bits.checked_add(more)?))
        })?;
        (bits % 8 == 0).then_some(bits / 8)
    }

    /// The number of a struct that has members.
    pub(super) fn structure(&self, name: &str) -> Option<u32> {
        self.find(STRUCT, name, |found| !found.rest.is_empty())
    }

    /// The number of a function.
    pub(super) fn function(&self, name: &str) -> Option<u32> {
        self.find(FUNCTION, name, |_| true)
    }

    fn find(&self, kind: u32, name: &str, fits: impl Fn(&Type<'_>) -> bool) -> Option<u32> {
        let named = |t: &Type<'_>| t.kind() == kind && fits(t) && self.name(t.name) == Some(name.as_bytes());
        // Number 0 is void and not in the section.
        u32::try_from(self.types.iter().position(named)? + 1).ok()
    }

    /// Whether there is a typedef of this name: each BTF tracepoint has one.
    pub(super) fn has_typedef(&self, name: &str) -> bool {
        self.find(TYPEDEF, name, |_| true).is_some()
    }

    /// Value of an enumerator of a named enum.
    pub(super) fn enumerator(&self, name: &str, enumerator: &str) -> Option<u32> {
        let named = |t: &&Type<'_>| t.kind() == ENUM && self.name(t.name) == Some(name.as_bytes());
        let members = self.types.iter().filter(named).flat_map(|t| t.rest.chunks_exact(ENUMERATOR));
        members
            .filter(|member| number(member, 0).and_then(|at| self.name(at)) == Some(enumerator.as_bytes()))
            .find_map(|member| number(member, 4))
    }

    /// A member by name: its type and its offset in bits.
    fn member(&self, within: &Type<'a>, name: &[u8], depth: usize) -> Option<(Type<'a>, u32)> {
        if !matches!(within.kind(), STRUCT | UNION) {
            return None;
        }
        within.rest.chunks_exact(MEMBER).find_map(|member| {
            let own = self.name(number(member, 0)?)?;
            let raw = number(member, 8)?;
            let bits = if within.has_bit_fields() { raw & 0x00ff_ffff } else { raw };
            if own == name {
                return Some((self.resolve(number(member, 4)?)?, bits));
            }
            if !own.is_empty() || depth == 0 {
                return None;
            }
            let (found, more) = self.member(&self.resolve(number(member, 4)?)?, name, depth - 1)?;
            Some((found, bits.checked_add(more)?))
        })
    }

    /// A type by number, past typedefs and qualifiers.
    fn resolve(&self, id: u32) -> Option<Type<'a>> {
        let mut id = id;
        for _ in 0..MAX_NESTING {
            // Number 0 is void and not in the section.
            let found = self.types.get((id as usize).checked_sub(1)?)?;
            if !ALIASES.contains(&found.kind()) {
                return Some(*found);
            }
            id = found.of;
        }
        None
    }

    fn name(&self, at: u32) -> Option<&'a [u8]> {
        let rest = self.strings.get(at as usize..)?;
        rest.split(|byte| *byte == 0).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_running_kernels_btf_has_fields_in_unnamed_unions_and_none_of_a_wrong_name() {
        let Ok(bytes) = std::fs::read(super::super::BTF) else {
            println!("skipped: kernel_btf: this kernel has no BTF");
            return;
        };
        let btf = Btf::parse(&bytes);
        let offset = |structure, path| btf.as_ref().and_then(|btf| btf.offset(structure, path));
        assert_eq!(offset("inode", "i_mode"), Some(0));
        assert!(offset("dentry", "d_u.d_alias").is_some_and(|at| at > 0));
        assert!(offset("inode", "i_nlink").is_some(), "in an unnamed union");
        assert_eq!(offset("inode", "no_such_field"), None);
        assert_eq!(offset("no_such_struct", "x"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let header = [&MAGIC.to_le_bytes()[..], &[1, 0], &24_u32.to_le_bytes()];
            let bytes = [header.concat(), body].concat();
            let _any = Btf::parse(&bytes).and_then(|btf| btf.offset("a", "b.c"));
        }
    }
}
