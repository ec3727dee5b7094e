//! How often each program ran, and how often the kernel skipped it: bpf_prog_show_fdinfo.

use std::os::fd::{AsFd, AsRawFd, RawFd};

use aya::Ebpf;
use aya::programs::{Program, ProgramFd};

use super::Hook;
use super::wanted::{FUNCTIONS, On};

/// One program's, since it was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runs {
    /// What it hangs on, see [`Hook::name`].
    pub hook: &'static str,
    /// Its name.
    pub program: &'static str,
    /// `run_cnt`: runs while they were counted, see `Sensor::count_runs`.
    pub ran: u64,
    /// `recursion_misses`, since 5.12: runs that the kernel left out.
    pub skipped: u64,
}

/// Of all programs that are attached.
pub(super) fn runs(ebpf: &Ebpf, hooks: &[Hook]) -> Vec<Runs> {
    let of = |hook: &Hook, program: &'static str| {
        let fd = fd(ebpf.program(program)?)?.as_fd().as_raw_fd();
        let text = text(fd)?;
        let ran = number(&text, "run_cnt:")?;
        Some(Runs { hook: hook.name, program, ran, skipped: skipped(&text) })
    };
    let attached = hooks.iter().filter(|hook| hook.refused.is_none());
    attached.flat_map(|hook| programs_of(hook).filter_map(move |program| of(hook, program))).collect()
}

/// Its program, and the one that hangs on the same function's end.
fn programs_of(hook: &Hook) -> impl Iterator<Item = &'static str> {
    let around = FUNCTIONS.iter().flat_map(|wanted| wanted.programs).find(|(name, _)| *name == hook.program);
    let end = match around {
        Some((_, On::Around(_, end))) => Some(*end),
        _ => None,
    };
    std::iter::once(hook.program).chain(end)
}

/// Of a program that is loaded.
pub(super) fn fd(program: &Program) -> Option<&ProgramFd> {
    match program {
        Program::BtfTracePoint(program) => program.fd().ok(),
        Program::TracePoint(program) => program.fd().ok(),
        Program::FEntry(program) => program.fd().ok(),
        Program::FExit(program) => program.fd().ok(),
        _ => None,
    }
}

/// What the kernel says of a program.
pub(super) fn text(descriptor: RawFd) -> Option<String> {
    std::fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).ok()
}

/// In that: see [`Runs::skipped`].
pub(super) fn skipped(text: &str) -> u64 {
    number(text, "recursion_misses:").unwrap_or(0)
}

fn number(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_of_a_program_is_read_by_its_name() {
        let text = "prog_type:\t26\nrun_time_ns:\t120\nrun_cnt:\t3\nrecursion_misses:\t1\n";
        assert_eq!((number(text, "run_cnt:"), number(text, "recursion_misses:")), (Some(3), Some(1)));
        assert_eq!(number("run_cnt:\t3\n", "recursion_misses:"), None, "before 5.12");
    }
}
