//! Requests of io_uring (`linux/io_uring.h`).

use super::Shape::{self, At, Bytes, Number, Out, Text, Wide};
use Slot::{Address, Descriptor, Flags, Length, Offset, Third};

/// Where in a request an argument stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// `fd`
    Descriptor,
    /// `off`, `addr2`
    Offset,
    /// `addr`
    Address,
    /// `len`
    Length,
    /// `rw_flags`, `open_flags`, `unlink_flags`, …
    Flags,
    /// `addr3`
    Third,
}

/// One kind of request.
#[derive(Clone, Copy, Debug)]
pub struct Opcode {
    /// As the kernel calls it, in small letters.
    pub name: &'static str,
    /// IORING_OP_…
    pub number: u8,
    /// Its arguments, in the order of the call of that name; of [`Shape::Bytes`] the number goes to `Length`.
    pub shape: &'static [(Slot, Shape)],
}

impl Opcode {
    /// By its name.
    pub fn named(name: &str) -> Option<&'static Self> {
        OPCODES.iter().find(|opcode| opcode.name == name)
    }
}

const fn opcode(name: &'static str, number: u8, shape: &'static [(Slot, Shape)]) -> Opcode {
    Opcode { name, number, shape }
}

/// `openat` may not take a descriptor's place of the ring, and none of them writes memory of the caller.
static OPCODES: &[Opcode] = &[
    opcode("nop", 0, &[]),
    opcode("fallocate", 17, &[(Descriptor, Out), (Length, Number), (Offset, Wide), (Address, Wide)]),
    opcode("openat", 18, &[(Descriptor, At), (Address, Text), (Flags, Number), (Length, Number)]),
    opcode("write", 23, &[(Descriptor, Out), (Address, Bytes), (Offset, Wide)]),
    opcode(
        "renameat",
        35,
        &[(Descriptor, At), (Address, Text), (Length, At), (Offset, Text), (Flags, Number)],
    ),
    opcode("unlinkat", 36, &[(Descriptor, At), (Address, Text), (Flags, Number)]),
    opcode("mkdirat", 37, &[(Descriptor, At), (Address, Text), (Length, Number)]),
    opcode("symlinkat", 38, &[(Address, Text), (Descriptor, At), (Offset, Text)]),
    opcode("linkat", 39, &[(Descriptor, At), (Address, Text), (Length, At), (Offset, Text), (Flags, Number)]),
    opcode("fsetxattr", 41, &[(Descriptor, Shape::File), (Address, Text), (Offset, Bytes), (Flags, Number)]),
    opcode("setxattr", 42, &[(Third, Text), (Address, Text), (Offset, Bytes), (Flags, Number)]),
    opcode("ftruncate", 55, &[(Descriptor, Out), (Offset, Wide)]),
];
