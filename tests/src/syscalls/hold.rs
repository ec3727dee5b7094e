//! A call that another process makes without wanting it: ptrace(2).

use std::io;

use rustix::process::{Pid, WaitOptions, waitpid};

use super::{address, native};

const PTRACE: usize = 101;
const CLOSE: u64 = 3;

/// Requests of ptrace(2).
const PEEKTEXT: usize = 1;
const SINGLESTEP: usize = 9;
const GETREGS: usize = 12;
const SETREGS: usize = 13;
const DETACH: usize = 17;
const SEIZE: usize = 0x4206;
const INTERRUPT: usize = 0x4207;

/// `__WALL`: threads too.
const WALL: u32 = 0x4000_0000;
/// The instruction `syscall`, and how long it is.
const SYSCALL: u64 = 0x050f;
const LENGTH: u64 = 2;

/// `struct user_regs_struct` (asm/user_64.h), by these places.
type Registers = [u64; 27];
const RAX: usize = 10;
const RDI: usize = 14;
const ORIG_RAX: usize = 15;
const RIP: usize = 16;

/// Makes a process close one of its descriptors, as a debugger would. It must be waiting in a system call.
pub fn close_in(pid: u32, descriptor: u32) -> io::Result<()> {
    ask(SEIZE, pid, 0)?;
    let closed = close_held(pid, descriptor);
    // Where it fails the process is gone, or let go when this one ends; what was closed stays closed.
    let _left = ask(DETACH, pid, 0);
    closed
}

fn close_held(pid: u32, descriptor: u32) -> io::Result<()> {
    ask(INTERRUPT, pid, 0)?;
    stopped(pid)?;
    let mut before = [0; 27];
    ask(GETREGS, pid, address(before.as_mut_ptr()))?;
    let call = before[RIP] - LENGTH;
    if peek(pid, call)? & 0xffff != SYSCALL {
        return Err(io::Error::other("it is not in a system call"));
    }
    let mut registers: Registers = before;
    registers[RIP] = call;
    registers[RAX] = CLOSE;
    registers[RDI] = descriptor.into();
    // What was interrupted is not begun again until its registers are back.
    registers[ORIG_RAX] = u64::MAX;
    ask(SETREGS, pid, address(registers.as_ptr()))?;
    ask(SINGLESTEP, pid, 0)?;
    stopped(pid)?;
    let mut after: Registers = [0; 27];
    ask(GETREGS, pid, address(after.as_mut_ptr()))?;
    ask(SETREGS, pid, address(before.as_ptr()))?;
    match after[RAX] {
        0 => Ok(()),
        error => Err(io::Error::other(format!("close said {}", error.cast_signed()))),
    }
}

fn peek(pid: u32, place: u64) -> io::Result<u64> {
    let mut word = 0_u64;
    let place = usize::try_from(place).map_err(io::Error::other)?;
    // SAFETY: the kernel writes one word to where it is told.
    unsafe { native(PTRACE, [PEEKTEXT, pid as usize, place, address(&raw mut word), 0, 0]) }?;
    Ok(word)
}

/// `data` is 0 or the address of [`Registers`].
fn ask(request: usize, pid: u32, data: usize) -> io::Result<()> {
    // SAFETY: of these requests only those for registers read or write memory, and they are passed whole ones.
    unsafe { native(PTRACE, [request, pid as usize, 0, data, 0, 0]) }.map(drop)
}

fn stopped(pid: u32) -> io::Result<()> {
    let pid = Pid::from_raw(pid.cast_signed()).ok_or(io::ErrorKind::InvalidInput)?;
    waitpid(Some(pid), WaitOptions::from_bits_retain(WALL))?;
    Ok(())
}
