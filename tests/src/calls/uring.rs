//! Requests of io_uring (`linux/io_uring.h`).

use super::Shape::{self, At, Buffer, Bytes, Number, Out, Text, Vector, Wide};
use Slot::{Address, Descriptor, Flags, Input, Length, Offset, Third};

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
    /// `splice_fd_in`
    Input,
}

/// One kind of request.
#[derive(Clone, Copy, Debug)]
pub struct Opcode {
    /// As the kernel calls it, in small letters.
    pub name: &'static str,
    /// IORING_OP_…
    pub number: u8,
    /// Its arguments, in the order of the call of that name; of [`Shape::Bytes`] and
    /// [`Shape::Vector`] the number goes to `Length`.
    pub shape: &'static [(Slot, Shape)],
    /// Its bytes lie in a buffer that the ring knows.
    pub is_fixed: bool,
}

impl Opcode {
    /// By its name.
    pub fn named(name: &str) -> Option<&'static Self> {
        OPCODES.iter().find(|opcode| opcode.name == name)
    }
}

const fn opcode(name: &'static str, number: u8, shape: &'static [(Slot, Shape)]) -> Opcode {
    Opcode { name, number, shape, is_fixed: false }
}

const fn fixed(name: &'static str, number: u8, shape: &'static [(Slot, Shape)]) -> Opcode {
    Opcode { is_fixed: true, ..opcode(name, number, shape) }
}

/// `openat` may not take a descriptor's place of the ring, and none of them writes memory of the caller.
static OPCODES: &[Opcode] = &[
    opcode("nop", 0, &[]),
    opcode("writev", 2, &[(Descriptor, Out), (Address, Vector), (Offset, Wide)]),
    fixed("write_fixed", 5, &[(Descriptor, Out), (Address, Bytes), (Offset, Wide)]),
    opcode("fallocate", 17, &[(Descriptor, Out), (Length, Number), (Offset, Wide), (Address, Wide)]),
    opcode("openat", 18, &[(Descriptor, At), (Address, Text), (Flags, Number), (Length, Number)]),
    opcode("write", 23, &[(Descriptor, Out), (Address, Bytes), (Offset, Wide)]),
    opcode("openat2", 28, &[(Descriptor, At), (Address, Text), (Offset, Bytes)]),
    opcode(
        "splice",
        30,
        &[
            (Input, Shape::File),
            (Address, Wide),
            (Descriptor, Out),
            (Offset, Wide),
            (Length, Number),
            (Flags, Number),
        ],
    ),
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
    // The address's length stands where a second one may.
    opcode("bind", 56, &[(Descriptor, Shape::File), (Address, Buffer), (Offset, Number)]),
    fixed("writev_fixed", 61, &[(Descriptor, Out), (Address, Vector), (Offset, Wide)]),
    // A command for the file's driver, and what it wants.
    opcode("uring_cmd", 46, &[(Descriptor, Out), (Offset, Number), (Address, Wide), (Third, Wide)]),
    opcode("ftruncate", 55, &[(Descriptor, Out), (Offset, Wide)]),
];
