//! Deeds that are more than one call, or no call of the table's: everyday ones.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use graven_tests::calls::uring::Opcode;
use graven_tests::calls::{Call, Entry};
use graven_tests::syscalls::uring::{Ring, Way};
use graven_tests::syscalls::{self, Argument, Handle, Mapping, aio};

use crate::hand::{Hand, text};

/// Changes of a storm between two words about them.
const REPORT: u64 = 1_000;

/// `None`: not one of these.
pub(crate) fn do_it(hand: &mut Hand, what: &str, operands: &[OsString]) -> Result<Option<usize>> {
    match (what, operands) {
        ("openat2", [path, flags, mode]) => {
            let how = [hand.number(flags)?, hand.number(mode)?, 0].map(usize::to_le_bytes).concat();
            let arguments = [
                Argument::Number(hand.at as usize),
                Argument::Text(&text(path)?),
                Argument::Bytes(&how),
                Argument::Number(how.len()),
            ];
            return Ok(Some(syscalls::change(&hand.known("openat2")?, &arguments)?));
        }
        ("writev" | "pwritev" | "pwritev2", [file, text]) => {
            let file = usize::try_from(hand.descriptor(file, true)?)?;
            // As wide as the entry's pointers.
            let width = if hand.entry == Entry::Native { 8 } else { 4 };
            // At the beginning, without flags.
            let arguments =
                [Argument::Number(file), Argument::Piece(text.as_bytes(), width), Argument::Number(1)];
            return Ok(Some(syscalls::change(&hand.known(what)?, &arguments)?));
        }
        ("io_submit", [file, text]) => aio::write(hand.descriptor(file, true)?, text.as_bytes())?,
        ("open_by_handle_at", [path, flags]) => {
            drop(Handle::of(&text(path)?)?.open(hand.at, hand.number(flags)?)?);
        }
        ("append", [path, line]) => {
            let mut file = OpenOptions::new().append(true).open(path)?;
            file.write_all(line.as_bytes())?;
        }
        ("print", [line]) => std::io::stdout().write_all(line.as_bytes())?,
        ("read", [path]) => read(Path::new(path))?,
        ("exec", [program, arguments @ ..]) => {
            return Err(Command::new(program).args(arguments).exec().into());
        }
        // `wide`: with a bit that the kernel does not look at.
        ("map" | "map-to-read" | "map-wide", [file]) => {
            let file = usize::try_from(hand.descriptor(file, true)?)?;
            let file = if what == "map-wide" { file | 1 << 32 } else { file };
            hand.mapping = Some(Mapping::shared(hand.entry, file, what != "map-to-read")?);
        }
        ("make-writable", []) => hand.mapping.as_ref().context("nothing is mapped")?.make_writable()?,
        ("store", [byte]) => {
            let byte = u8::try_from(hand.number(byte)?)?;
            hand.mapping.as_ref().context("nothing is mapped")?.store(byte);
        }
        ("compat-pid", [count]) => {
            let pid = Call::named(Entry::Compat, "getpid").context("getpid")?;
            for _ in 0..hand.number(count)? {
                ensure!(syscalls::change(&pid, &[])? == std::process::id() as usize);
            }
        }
        ("compat-unlink", paths) => {
            let unlink = Call::named(Entry::Compat, "unlink").context("unlink")?;
            for path in paths {
                syscalls::change(&unlink, &[Argument::Text(&text(path)?)])?;
            }
        }
        ("uring-nothing", [count]) => {
            let mut ring = Ring::new(Way::default())?;
            for _ in 0..hand.number(count)? {
                ensure!(ring.run(Way::default(), Opcode::named("nop").context("nop")?, &[])? == 0);
            }
        }
        ("uring-unlink", paths) => {
            let mut ring = Ring::new(Way::default())?;
            for path in paths {
                let path = text(path)?;
                let arguments = [Argument::Descriptor(hand.at), Argument::Text(&path), Argument::Number(0)];
                let opcode = Opcode::named("unlinkat").context("unlinkat")?;
                let result = ring.run(Way::default(), opcode, &arguments)?;
                ensure!(result == 0, "{path:?}: {}", std::io::Error::from_raw_os_error(-result));
            }
        }
        ("storm", [folder, count, rate]) => storm(folder.as_ref(), hand.number(count)?, hand.number(rate)?)?,
        ("flood", [folder, first, count]) => {
            flood(folder.as_ref(), hand.number(first)?, hand.number(count)?)?;
        }
        ("swing", [path, other, count]) => {
            for change in 0..hand.number(count)? {
                let (from, to) = if change.is_multiple_of(2) { (path, other) } else { (other, path) };
                std::fs::rename(from, to)?;
            }
        }
        _ => return Ok(None),
    }
    Ok(Some(0))
}

/// Everything that looks at a directory and a file without changing them.
fn read(path: &Path) -> Result<()> {
    let folder = path.parent().context("no folder")?;
    ensure!(std::fs::read_dir(folder)?.count() > 0);
    ensure!(path.symlink_metadata()?.is_file() && path.metadata()?.len() > 0);
    let mut content = Vec::new();
    File::open(path)?.read_to_end(&mut content)?;
    ensure!(!content.is_empty());
    Ok(())
}

/// `count` changes, `rate` of them a second: names are made and removed in turn. The n-th name is n. Each
/// [`REPORT`] changes the number so far is a line on standard output.
fn storm(folder: &Path, count: usize, rate: usize) -> Result<()> {
    ensure!(rate > 0 && count.is_multiple_of(2), "an even number at a rate");
    let begin = Instant::now();
    let mut out = std::io::stdout();
    for change in 0..count as u64 {
        let due = Duration::from_nanos(change * 1_000_000_000 / rate as u64);
        // Behind its time it hurries; ahead of it, it waits: the rate is the storm's own nature.
        sleep(due.saturating_sub(begin.elapsed()));
        let name = folder.join((change / 2).to_string());
        match change % 2 {
            0 => std::fs::create_dir(&name),
            _ => std::fs::remove_dir(&name),
        }
        .with_context(|| format!("{} of the storm", name.display()))?;
        if (change + 1) % REPORT == 0 {
            writeln!(out, "{}", change + 1)?;
            out.flush()?;
        }
    }
    Ok(())
}

/// Files made as fast as the machine can, named by their numbers from `first` on.
fn flood(folder: &Path, first: usize, count: usize) -> Result<()> {
    std::env::set_current_dir(folder)?;
    let mknod = Call::named(Entry::Native, "mknod").context("mknod")?;
    for number in first..first + count {
        let name = text(OsStr::new(&number.to_string()))?;
        // S_IFREG
        let arguments = [Argument::Text(&name), Argument::Number(0o100_600), Argument::Number(0)];
        syscalls::change(&mknod, &arguments).with_context(|| format!("{number} of the flood"))?;
    }
    Ok(())
}
