//! The system calls by which the tests change things, by entry and name: exactly these numbers are made.

use std::fmt;

pub mod uring;

mod compat;
mod native;

/// How the kernel is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The 64-bit table.
    Native,
    /// The 32-bit table, by `int 0x80`.
    Compat,
    /// The 64-bit table's numbers with [`X32_BIT`].
    X32,
}

/// Bit 30 of a call's number (`asm/unistd_x32.h`).
pub const X32_BIT: usize = 0x4000_0000;

/// What an argument is, in the order of the call's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A path or another string; `NULL` is none.
    Text,
    /// A number.
    Number,
    /// A number of 64 bits: two arguments by the 32-bit entry.
    Wide,
    /// The directory's descriptor that the next path is relative to.
    At,
    /// A descriptor of a file that is opened for reading, or of an earlier step.
    File,
    /// The same for writing.
    Out,
    /// Bytes: their address.
    Buffer,
    /// Bytes: their address and, as the next argument, how many there are.
    Bytes,
    /// Bytes as one `struct iovec`: its address.
    Vector,
}

/// One call.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    name: &'static str,
    number: usize,
    shape: &'static [Shape],
    entry: Entry,
}

impl Entry {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Native, Self::Compat, Self::X32];

    /// As a record and the actor call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Compat => "compat",
            Self::X32 => "x32",
        }
    }

    /// By its name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|entry| entry.name() == name)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Call {
    /// As in the table of its entry.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Of the table of its entry.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Its arguments.
    pub fn shape(&self) -> &'static [Shape] {
        self.shape
    }

    /// Which entry takes it.
    pub fn entry(&self) -> Entry {
        self.entry
    }

    /// By its number in the 64-bit or the 32-bit table.
    pub fn numbered(entry: Entry, number: usize) -> Option<Self> {
        table(entry).iter().find(|call| call.number == number).copied()
    }

    /// By its name in the table of an entry.
    pub fn named(entry: Entry, name: &str) -> Option<Self> {
        let mut call = *table(entry).iter().find(|call| call.name == name)?;
        if entry == Entry::X32 {
            call.entry = entry;
            call.number = X32_BIT | own_number(name).unwrap_or(call.number);
        }
        Some(call)
    }
}

fn table(entry: Entry) -> &'static [Call] {
    match entry {
        Entry::Native | Entry::X32 => native::CALLS,
        Entry::Compat => compat::CALLS,
    }
}

/// What x32 numbers on its own: calls whose structs have pointers.
fn own_number(name: &str) -> Option<usize> {
    match name {
        "ioctl" => Some(514),
        "writev" => Some(516),
        "ptrace" => Some(521),
        "kexec_load" => Some(528),
        "pwritev" => Some(535),
        "process_vm_writev" => Some(540),
        "pwritev2" => Some(547),
        _ => None,
    }
}

const fn call(entry: Entry, name: &'static str, number: usize, shape: &'static [Shape]) -> Call {
    Call { name, number, shape, entry }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use anyhow::{Result, ensure};

    use super::*;

    /// Numbers of a header of the kernel's, by name.
    fn header(file: &str) -> Option<BTreeMap<String, String>> {
        let text = std::fs::read_to_string(format!("/usr/include/x86_64-linux-gnu/asm/{file}")).ok()?;
        let lines = text.lines().filter_map(|line| line.strip_prefix("#define __NR_")?.split_once(' '));
        Some(lines.map(|(name, number)| (name.to_owned(), number.trim().to_owned())).collect())
    }

    #[test]
    fn every_number_is_the_headers_number_of_that_name() -> Result<()> {
        let own = |number: usize| number.to_string();
        let x32 = |number: usize| format!("(__X32_SYSCALL_BIT + {})", number & !X32_BIT);
        for (entry, file, shown) in [
            (Entry::Native, "unistd_64.h", &own as &dyn Fn(usize) -> String),
            (Entry::Compat, "unistd_32.h", &own),
            (Entry::X32, "unistd_x32.h", &x32),
        ] {
            let Some(header) = header(file) else {
                crate::skip::say("syscall_header", "the kernel's headers (linux-libc-dev) are not installed");
                return Ok(());
            };
            let known = table(entry)
                .iter()
                .filter_map(|call| Some((Call::named(entry, call.name)?, header.get(call.name)?)));
            let known: Vec<_> = known.collect();
            for (call, number) in &known {
                ensure!(
                    **number == shown(call.number),
                    "{entry} {}: {} and not {number}",
                    call.name,
                    call.number
                );
            }
            // A header may be older than the newest calls, not than most.
            ensure!(known.len() > 40, "only {} calls are in {file}", known.len());
        }
        Ok(())
    }
}
