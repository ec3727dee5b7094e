//! Deeds on the kernel itself: mounts of this process's own, sockets, programs of BPF, other processes.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;

use anyhow::{Context, Result, ensure};
use graven_tests::calls::{Call, Entry};
use graven_tests::syscalls::{self, Argument};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::hand::{Hand, text};

/// Of unshare(2) and mount(2).
const CLONE_NEWNS: usize = 0x2_0000;
const MS_REC_PRIVATE: usize = 0x4_4000;
/// Of bpf(2).
const BPF_PROG_LOAD: usize = 5;
const BPF_OBJ_PIN: usize = 6;
const SOCKET_FILTER: u32 = 1;
/// `r0 = 0; exit`
const PROGRAM: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
/// SYS_BIND of socketcall(2).
const SYS_BIND: usize = 2;

/// `None`: not one of these.
pub(crate) fn do_it(hand: &mut Hand, what: &str, operands: &[OsString]) -> Result<Option<usize>> {
    Ok(Some(match (what, operands) {
        ("private", []) => {
            native("unshare", &[Argument::Number(CLONE_NEWNS)])?;
            let none = Argument::Number(0);
            native("mount", &[none, Argument::Text(c"/"), none, Argument::Number(MS_REC_PRIVATE), none])?
        }
        // Another process's descriptor, without its help.
        ("steal", [pid, descriptor]) => {
            let (pid, wanted) = (hand.number(pid)?, hand.number(descriptor)?);
            let process = native("pidfd_open", &[Argument::Number(pid), Argument::Number(0)])?;
            let process = syscalls::descriptor(process);
            let of_it = Argument::Descriptor(process.as_raw_fd());
            let stolen = native("pidfd_getfd", &[of_it, Argument::Number(wanted), Argument::Number(0)])?;
            usize::try_from(hand.keep(syscalls::descriptor(stolen)))?
        }
        ("pipe", [text]) => {
            let (read, write) = rustix::pipe::pipe()?;
            rustix::io::write(&write, text.as_bytes())?;
            hand.keep(write);
            usize::try_from(hand.keep(read))?
        }
        ("bind-path", [path]) => {
            // A socket of AF_UNIX for streams.
            let socket = syscalls::change(
                &hand.known("socket")?,
                &[Argument::Number(1), Argument::Number(1), Argument::Number(0)],
            )?;
            let address = address_of(path)?;
            let length = Argument::Number(address.len());
            syscalls::change(
                &hand.known("bind")?,
                &[Argument::Number(socket), Argument::Bytes(&address), length],
            )?
        }
        ("socketcall-bind", [path]) => {
            let socket = native("socket", &[Argument::Number(1), Argument::Number(1), Argument::Number(0)])?;
            let address = address_of(path)?;
            let words =
                [u32::try_from(socket)?, 0, u32::try_from(address.len())?].map(u32::to_le_bytes).concat();
            let links: [(usize, usize, &[u8]); 1] = [(4, 4, &address)];
            let arguments = [Argument::Number(SYS_BIND), Argument::Linked(&words, &links)];
            let call = Call::named(Entry::Compat, "socketcall").context("socketcall")?;
            syscalls::change(&call, &arguments)?
        }
        ("bpf-load", [name]) => load(&hand.known("bpf")?, name)?,
        ("bpf-pin", [program, path]) => {
            let number = u32::try_from(hand.number(program)?)?;
            let mut attributes = [0; 16];
            attributes[8..12].copy_from_slice(&number.to_le_bytes());
            let path = text(path)?;
            let links: [(usize, usize, &[u8]); 1] = [(0, 8, path.as_bytes_with_nul())];
            bpf(&hand.known("bpf")?, BPF_OBJ_PIN, &attributes, &links)?
        }
        ("setxattrat", [path, name, value]) => {
            // `struct xattr_args`: the value's address, its length, no flags.
            let value = value.as_bytes();
            let mut arguments = [0; 16];
            arguments[8..12].copy_from_slice(&u32::try_from(value.len())?.to_le_bytes());
            let links: [(usize, usize, &[u8]); 1] = [(0, 8, value)];
            let (path, name) = (text(path)?, text(name)?);
            let arguments = [
                Argument::Number(hand.at as usize),
                Argument::Text(&path),
                Argument::Number(0),
                Argument::Text(&name),
                Argument::Linked(&arguments, &links),
                Argument::Number(arguments.len()),
            ];
            syscalls::change(&hand.known("setxattrat")?, &arguments)?
        }
        ("write-into", [pid]) => {
            // One byte to where nothing is: whoever may not is refused before.
            let byte = [0_u8];
            let words = [0_u64, 1].map(u64::to_le_bytes).concat();
            let links: [(usize, usize, &[u8]); 1] = [(0, 8, &byte)];
            let (ours, one) = (Argument::Linked(&words, &links), Argument::Number(1));
            let arguments = [
                Argument::Number(hand.number(pid)?),
                ours,
                one,
                Argument::Bytes(&words),
                one,
                Argument::Number(0),
            ];
            native("process_vm_writev", &arguments)?
        }
        _ => return Ok(None),
    }))
}

fn native(name: &str, arguments: &[Argument<'_>]) -> Result<usize> {
    let call = Call::named(Entry::Native, name).with_context(|| name.to_owned())?;
    Ok(syscalls::change(&call, arguments)?)
}

/// `struct sockaddr_un`.
fn address_of(path: &OsStr) -> Result<Vec<u8>> {
    // What `sun_path` holds.
    ensure!(path.len() < 108, "{} is too long for a socket", path.display());
    Ok([&1_u16.to_le_bytes(), path.as_bytes(), &[0]].concat())
}

/// A program that drops every packet, attached to nothing.
fn load(call: &Call, name: &OsStr) -> Result<usize> {
    ensure!(name.len() < 16, "{} is too long for a program", name.display());
    let mut attributes = [0_u8; 72];
    attributes[..4].copy_from_slice(&SOCKET_FILTER.to_le_bytes());
    attributes[4..8].copy_from_slice(&2_u32.to_le_bytes());
    attributes[48..48 + name.len()].copy_from_slice(name.as_bytes());
    // Before 5.11 programs are locked memory.
    let unbounded = Rlimit { current: None, maximum: None };
    setrlimit(Resource::Memlock, unbounded).or_else(|error| match error {
        Errno::PERM => Ok(()),
        other => Err(other),
    })?;
    bpf(call, BPF_PROG_LOAD, &attributes, &[(8, 8, &PROGRAM), (16, 8, b"GPL\0")])
}

fn bpf(call: &Call, command: usize, attributes: &[u8], links: &[(usize, usize, &[u8])]) -> Result<usize> {
    let arguments =
        [Argument::Number(command), Argument::Linked(attributes, links), Argument::Number(attributes.len())];
    Ok(syscalls::change(call, &arguments)?)
}
