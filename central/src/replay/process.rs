//! A process with what it did.

use graven_record::v1;

use crate::query::Found;

/// One process: from its fork to its end, through however many programs.
#[derive(Debug, Default)]
pub struct Process<'a> {
    /// In the initial pid namespace.
    pub pid: u32,
    /// ns since boot.
    pub start: u64,
    /// What it ran, in order; the first is what it was when it was first seen.
    pub programs: Vec<Program<'a>>,
    /// A record of its own, for who it was; none for a process known from chains alone.
    pub own: Option<&'a Found>,
    /// When it started, ns since the Unix epoch, as far as its clocks tell.
    pub started: Option<u64>,
    /// How it ended.
    pub exited: Option<Exited>,
    /// What it did and whom it started, in order.
    pub items: Vec<Item<'a>>,
    /// Its parent is known and deeper than is shown.
    pub cut: bool,
}

/// A program that a process ran.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// `task.self_exec_id`.
    pub exec: u32,
    /// As the records name it.
    pub process: &'a v1::Process,
    /// NUL-joined, while the private part is there.
    pub arguments: Option<&'a [u8]>,
}

/// The end of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exited {
    /// ns since the Unix epoch.
    pub time: u64,
    /// `wait(2)`'s status.
    pub status: i32,
}

/// Below a process.
#[derive(Debug)]
pub enum Item<'a> {
    /// Something it did.
    Change(&'a Found),
    /// A process that it started.
    Child(Process<'a>),
}

impl Exited {
    /// `exit 3`, `signal 9`.
    pub fn words(&self) -> String {
        match self.status & 0x7f {
            0 => format!("exit {}", self.status >> 8 & 0xff),
            signal => format!("signal {signal}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_as_wait_gives_it() {
        let words = |status| Exited { time: 0, status }.words();
        assert_eq!(
            [words(0), words(3 << 8), words(9), words(11 | 0x80)],
            ["exit 0", "exit 3", "signal 9", "signal 11"]
        );
    }
}
