//! Which system calls change files, mounts or the kernel: one table for each way into the kernel.
//!
//! The sensor looks a number up in the table of the way it came by; what stands there says what the call does
//! and where its arguments lie ([`op`]). The agent takes the names from the same tables.

pub mod op;
pub mod ioctl;
mod x86_64;
mod i386;
mod x32;
pub mod uring;

/// How the kernel was entered: numbers in `Header::entry`.
pub mod entry {
    /// By no call: a page fault, a kernel thread.
    pub const NONE: u8 = 0;
    /// The 64-bit call.
    pub const NATIVE: u8 = 1;
    /// The 32-bit entry (`int 0x80`, sysenter), also from 64-bit programs.
    pub const COMPAT: u8 = 2;
    /// A 64-bit entry with the x32 bit.
    pub const X32: u8 = 3;
    /// A request of io_uring; the number is its opcode.
    pub const IO_URING: u8 = 4;
}

/// Arguments as a hook sees them: six of the call, AT_FDCWD, and 0.
pub const ARGUMENTS: usize = 8;

/// One call: its number, its operation, and its name in the kernel's headers.
pub type Row = (u16, u8, &'static str);

/// Length of a table: beyond the newest call number, and a power of two so that an index can be masked.
pub const TABLE_LEN: usize = 512;
/// x32 has a block of its own from 512 on.
pub const X32_FIRST: u16 = 512;
/// Length of that block, with room.
pub const X32_LEN: usize = 64;

/// The newest call of each table that this release knows, whether it changes anything or not
/// (470 listns, 471 rseq_slice_yield, 472 fchroot change nothing). A call beyond that succeeds is `uncovered`.
pub const NEWEST: i64 = 472;

/// The calls of the 64-bit entry.
pub const NATIVE: &[Row] = x86_64::CALLS;
/// The calls of the 32-bit entry.
pub const COMPAT: &[Row] = i386::CALLS;
/// The calls of x32 from [`X32_FIRST`] on; below, they are those of the 64-bit entry.
pub const X32: &[Row] = x32::CALLS;

/// What the sensor looks numbers up in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Tables {
    /// By native number.
    pub native: [u8; TABLE_LEN],
    /// By number of the 32-bit entry.
    pub compat: [u8; TABLE_LEN],
    /// By number of x32, less [`X32_FIRST`].
    pub x32: [u8; X32_LEN],
}

/// The tables.
pub const TABLES: Tables =
    Tables { native: filled(NATIVE, 0), compat: filled(COMPAT, 0), x32: filled(X32, X32_FIRST) };

const fn filled<const LEN: usize>(calls: &[Row], first: u16) -> [u8; LEN] {
    let mut table = [op::NOTHING; LEN];
    let mut i = 0;
    while i < calls.len() {
        let (number, operation, _) = calls[i];
        table[(number - first) as usize] = operation;
        i += 1;
    }
    table
}

/// The name of a call or request; none for one that no table lists.
pub fn name(entry: u8, number: i16) -> Option<&'static str> {
    let of = |calls: &[Row]| {
        calls.iter().find(|(listed, _, _)| i32::from(*listed) == i32::from(number)).map(|(_, _, name)| *name)
    };
    match entry {
        entry::NATIVE => of(NATIVE),
        entry::COMPAT => of(COMPAT),
        entry::X32 if i32::from(number) >= i32::from(X32_FIRST) => of(X32),
        entry::X32 => of(NATIVE),
        entry::IO_URING => uring::name(number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::collections::BTreeMap;
    use std::string::{String, ToString};
    use std::vec::Vec;
    use std::{format, println};

    const HEADERS: &str = "/usr/include/x86_64-linux-gnu/asm";

    /// Name to number, as the kernel's headers have it; `+` after the x32 bit is left out.
    fn header(file: &str) -> Option<BTreeMap<String, i64>> {
        let text = std::fs::read_to_string(format!("{HEADERS}/{file}")).ok()?;
        let number = |text: &str| text.trim().trim_end_matches(')').rsplit([' ', '(']).next()?.parse().ok();
        let line = |line: &str| {
            let (name, rest) = line.strip_prefix("#define __NR_")?.split_once(' ')?;
            Some((name.to_string(), number(rest)?))
        };
        Some(text.lines().filter_map(line).collect())
    }

    fn agrees(calls: &[Row], file: &str) {
        let Some(numbers) = header(file) else {
            println!("skipped: syscall_header: the kernel's headers (linux-libc-dev) are not installed");
            return;
        };
        // Headers may be older than the newest call in the table, not older than most of it.
        let known: Vec<&Row> = calls.iter().filter(|(_, _, name)| numbers.contains_key(*name)).collect();
        assert!(known.len() * 10 > calls.len() * 8, "{} of {} in {file}", known.len(), calls.len());
        let wrong: Vec<String> = known
            .iter()
            .filter(|(number, _, name)| numbers[*name] != i64::from(*number))
            .map(|(number, _, name)| format!("{name} is not {number}"))
            .collect();
        assert!(wrong.is_empty(), "{file}: {wrong:?}");
    }

    #[test]
    fn every_number_is_the_headers_number_of_that_name() {
        agrees(NATIVE, "unistd_64.h");
        agrees(COMPAT, "unistd_32.h");
        agrees(X32, "unistd_x32.h");
    }

    /// Calls that no table needs to list, with the reasons at its top.
    const UNLISTED: &str = include_str!("unlisted.txt");

    #[test]
    fn every_call_of_the_headers_is_in_a_table_or_known_to_need_none() {
        for (file, calls) in [("unistd_64.h", NATIVE), ("unistd_32.h", COMPAT)] {
            let Some(numbers) = header(file) else { continue };
            let listed = |name: &String| calls.iter().any(|(_, _, listed)| listed == name);
            let lines = || UNLISTED.lines().filter(|line| !line.starts_with('#'));
            let known = |name: &String| lines().flat_map(str::split_whitespace).any(|known| known == name);
            let open: Vec<&String> = numbers.keys().filter(|name| !listed(name) && !known(name)).collect();
            assert!(open.is_empty(), "{file}: neither in the table nor in unlisted.txt: {open:?}");
        }
    }

    #[test]
    fn a_table_holds_each_call_once() {
        for calls in [NATIVE, COMPAT, X32] {
            let mut numbers: Vec<u16> = calls.iter().map(|(number, _, _)| *number).collect();
            numbers.dedup();
            assert_eq!(numbers.len(), calls.len());
            assert!(numbers.is_sorted());
        }
        assert_eq!(TABLES.native[1], op::WRITE);
        assert_eq!(TABLES.x32[usize::from(516 - X32_FIRST)], op::WRITE);
    }

    #[test]
    fn names_follow_the_way_in() {
        assert_eq!(name(entry::NATIVE, 10), None);
        assert_eq!(name(entry::COMPAT, 10), Some("unlink"));
        assert_eq!(name(entry::X32, 87), Some("unlink"));
        assert_eq!(name(entry::X32, 514), Some("ioctl"));
        assert_eq!(name(entry::IO_URING, 36), Some("unlinkat"));
        assert_eq!(name(entry::NONE, -1), None);
    }
}
