//! Deeds that are made to deceive who looks on.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use graven_tests::calls::{Call, Entry};
use graven_tests::syscalls::{self, Argument, Handle};

use crate::hand::{Hand, text};

/// `None`: not one of these.
pub(crate) fn do_it(hand: &mut Hand, what: &str, operands: &[OsString]) -> Result<Option<usize>> {
    match (what, operands) {
        ("faked-unlink", [path]) => return faked(hand, "unlink", std::slice::from_ref(path)).map(Some),
        ("faked", [call, operands @ ..]) => {
            return faked(hand, call.to_str().context("no call")?, operands).map(Some);
        }
        ("faked-number", [number]) => {
            ensure!(syscalls::call_that_is_faked(hand.number(number)?)? == 0);
        }
        ("flicker", [here, there, first, count]) => {
            flicker(here, there, hand.number(first)?, hand.number(count)?)?;
        }
        ("swap", [folder, benign, count]) => swap(folder.as_ref(), benign.as_ref(), hand.number(count)?)?,
        ("swap-open", [file, benign, count]) => {
            swap_open(file.as_ref(), benign.as_ref(), hand.number(count)?)?;
        }
        ("shuttle", [inside, outside, count]) => {
            shuttle(inside.as_ref(), outside.as_ref(), hand.number(count)?)?
        }
        ("descend", [name, depth]) => descend(name, hand.number(depth)?)?,
        ("handle-of", [path]) => hand.handle = Some(Handle::of(&text(path)?)?),
        ("drop-names", []) => std::fs::write("/proc/sys/vm/drop_caches", "2")?,
        ("append-by-handle", [line]) => {
            let handle = hand.handle.as_ref().context("there is no handle")?;
            // O_WRONLY | O_APPEND
            let file = handle.open(hand.at, 0o2001)?;
            let shown = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
            println!("{}", shown.display());
            std::io::Write::write_all(&mut File::from(file), line.as_bytes())?;
        }
        _ => return Ok(None),
    }
    Ok(Some(0))
}

/// From now on a filter answers this call in the kernel's place; then the call.
fn faked(hand: &mut Hand, name: &str, operands: &[OsString]) -> Result<usize> {
    let call = hand.known(name)?;
    syscalls::fake_success_of(call.number())?;
    hand.call(call, operands)
}

/// mkdir of a path that another thread changes all the while between one below `here` and one below `there`,
/// which are equal but for one byte. Names are numbers of one width.
fn flicker(here: &OsStr, there: &OsStr, first: usize, count: usize) -> Result<()> {
    let (here, there) = (here.as_bytes(), there.as_bytes());
    let differs = |index: &usize| here[*index] != there[*index];
    ensure!(here.len() == there.len(), "two paths of one length");
    let places: Vec<usize> = (0..here.len()).filter(differs).collect();
    let [place] = places.as_slice() else { anyhow::bail!("two paths that differ in one byte") };
    let mkdir = Call::named(Entry::Native, "mkdir").context("mkdir")?;
    let path: Vec<AtomicU8> = [here, b"/00000000\0"].concat().into_iter().map(AtomicU8::new).collect();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                path[*place].store(there[*place], Ordering::Relaxed);
                path[*place].store(here[*place], Ordering::Relaxed);
            }
        });
        let made = (first..first + count).try_for_each(|number| {
            let digits = format!("{number:08}");
            for (byte, digit) in path[here.len() + 1..].iter().zip(digits.bytes()) {
                byte.store(digit, Ordering::Relaxed);
            }
            syscalls::change(&mkdir, &[Argument::Shared(&path), Argument::Number(0o755)]).map(drop)
        });
        ended.store(true, Ordering::Relaxed);
        Ok(made?)
    })
}

/// O_WRONLY | O_CREAT | O_EXCL
const MAKE: usize = 0o301;

/// Makes files in a folder, while another thread puts another file in place of each descriptor as soon as it is
/// there.
fn swap(folder: &Path, benign: &Path, count: usize) -> Result<()> {
    let benign = File::options().write(true).open(benign)?;
    exchanged(&benign, count, |number| Ok((text(folder.join(number.to_string()).as_os_str())?, MAKE)))
}

/// The same with one file that is there, and for writing only.
fn swap_open(file: &Path, benign: &Path, count: usize) -> Result<()> {
    let (benign, path) = (File::open(benign)?, text(file.as_os_str())?);
    exchanged(&benign, count, |_| Ok((path.clone(), 1)))
}

/// Opens by path and flags.
fn exchanged(benign: &File, count: usize, open: impl Fn(usize) -> Result<(CString, usize)>) -> Result<()> {
    let (openat, close, dup3) = (known("openat")?, known("close")?, known("dup3")?);
    // The lowest free number is the next one's.
    let next = File::open("/")?.as_raw_fd();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let put =
                [Argument::Descriptor(benign.as_raw_fd()), Argument::Descriptor(next), Argument::Number(0)];
            while !ended.load(Ordering::Relaxed) {
                // EBUSY while the number is being given away, EBADF while nothing stands there: that is the race.
                let _ = syscalls::change(&dup3, &put);
                let _ = syscalls::change(&close, &put[1..2]);
            }
        });
        let made = (0..count).try_for_each(|number| {
            let (path, flags) = open(number)?;
            let arguments = [
                Argument::Descriptor(syscalls::AT_FDCWD),
                Argument::Text(&path),
                Argument::Number(flags),
                Argument::Number(0o644),
            ];
            let opened = syscalls::change(&openat, &arguments)?;
            let _ = syscalls::change(&close, &[Argument::Number(opened)]);
            anyhow::Ok(())
        });
        ended.store(true, Ordering::Relaxed);
        made
    })
}

/// One thread moves a directory from `inside` to `outside` and back, while the other makes directories in it.
/// Those that were surely made while it lay inside are told on standard output.
fn shuttle(inside: &Path, outside: &Path, count: usize) -> Result<()> {
    let folder = File::open(inside)?;
    let (there, here) = (text(inside.as_os_str())?, text(outside.as_os_str())?);
    let (rename, mkdirat) = (known("rename")?, known("mkdirat")?);
    // Twice the number of moves so far, odd during one.
    let moves = AtomicUsize::new(0);
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let mover = scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                let before = moves.fetch_add(1, Ordering::SeqCst);
                let (from, to) =
                    if (before / 2).is_multiple_of(2) { (&there, &here) } else { (&here, &there) };
                syscalls::change(&rename, &[Argument::Text(from), Argument::Text(to)])?;
                moves.fetch_add(1, Ordering::SeqCst);
                // Sometimes at once back, sometimes after a while.
                (0..before % 7 * 400).for_each(|_| std::hint::spin_loop());
            }
            anyhow::Ok(())
        });
        let made = (0..count).try_for_each(|number| {
            let name = text(number.to_string().as_ref())?;
            let arguments =
                [Argument::Descriptor(folder.as_raw_fd()), Argument::Text(&name), Argument::Number(0o755)];
            let before = moves.load(Ordering::SeqCst);
            syscalls::change(&mkdirat, &arguments)?;
            let after = moves.load(Ordering::SeqCst);
            if before == after && before.is_multiple_of(4) {
                println!("{number}");
            }
            anyhow::Ok(())
        });
        ended.store(true, Ordering::Relaxed);
        made?;
        mover.join().map_err(|_| anyhow::anyhow!("the mover broke down"))??;
        Ok(())
    })
}

fn known(name: &str) -> Result<Call> {
    Call::named(Entry::Native, name).with_context(|| name.to_owned())
}

/// Makes a directory, goes there, and so on: deeper than any path can say.
fn descend(name: &OsStr, depth: usize) -> Result<()> {
    for step in 0..depth {
        std::fs::create_dir(name).with_context(|| format!("level {step}"))?;
        std::env::set_current_dir(name)?;
    }
    Ok(())
}
