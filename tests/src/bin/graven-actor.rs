//! Makes one change, exactly by the call it is told, so that a test knows which process did what.
//!
//! `graven-actor [--cwd DIR] [--at DIR] WHAT OPERAND...`, where WHAT is a name of `graven_tests::calls` or one of
//! the deeds below. It never fails silently.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use graven_tests::calls::{Call, Shape};
use graven_tests::syscalls::{self, AT_FDCWD, Argument, Ring};

/// Changes of a storm between two words about them.
const REPORT: u64 = 1_000;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("graven-actor: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut words: Vec<OsString> = std::env::args_os().skip(1).collect();
    words.reverse();
    let mut directory = None;
    loop {
        let word = words.pop().context("nothing to do")?;
        match word.to_str() {
            Some("--cwd") => std::env::set_current_dir(words.pop().context("--cwd where?")?)?,
            Some("--at") => directory = Some(File::open(words.pop().context("--at where?")?)?),
            Some(what) => {
                words.reverse();
                return act(what, &words, directory.as_ref());
            }
            None => bail!("what is {}?", word.display()),
        }
    }
}

fn act(what: &str, words: &[OsString], directory: Option<&File>) -> Result<()> {
    let at = directory.map_or(AT_FDCWD, AsRawFd::as_raw_fd);
    match (what, words) {
        ("openat2", [path, flags, mode]) => {
            let (flags, mode) = (number(flags)? as u64, number(mode)? as u64);
            drop(syscalls::openat2(at, &text(path)?, flags, mode)?);
        }
        ("open_by_handle_at", [path, flags]) => {
            drop(syscalls::open_by_handle(&text(path)?, number(flags)?)?);
        }
        ("append", [path, line]) => {
            let mut file = OpenOptions::new().append(true).open(path)?;
            file.write_all(line.as_bytes())?;
        }
        ("print", [line]) => std::io::stdout().write_all(line.as_bytes())?,
        ("read", [path]) => read(Path::new(path))?,
        ("compat-pid", [count]) => {
            for _ in 0..number(count)? {
                ensure!(syscalls::pid_by_compat_entry()? == std::process::id() as usize);
            }
        }
        ("compat-unlink", paths) => {
            paths.iter().try_for_each(|path| anyhow::Ok(syscalls::unlink_by_compat_entry(&text(path)?)?))?;
        }
        ("uring-nothing", [count]) => {
            let mut ring = Ring::new()?;
            for _ in 0..number(count)? {
                ensure!(ring.nothing()? == 0);
            }
        }
        ("uring-unlink", paths) => {
            let mut ring = Ring::new()?;
            for path in paths {
                let result = ring.unlink(&text(path)?)?;
                ensure!(result == 0, "{}: {}", path.display(), std::io::Error::from_raw_os_error(-result));
            }
        }
        ("faked-unlink", [path]) => {
            let unlink = named("unlink")?;
            syscalls::fake_success_of(unlink)?;
            syscalls::change(unlink, &[Argument::Path(&text(path)?)])?;
        }
        ("storm", [folder, count, rate]) => storm(&PathBuf::from(folder), number(count)?, number(rate)?)?,
        (call, words) => by_call(named(call)?, words, at)?,
    }
    Ok(())
}

fn named(name: &str) -> Result<&'static Call> {
    Call::named(name).with_context(|| format!("{name} is neither a call nor a deed"))
}

/// The call with its operands; an opened descriptor is closed at the end.
fn by_call(call: &Call, words: &[OsString], at: i32) -> Result<()> {
    let mut words = words.iter();
    let mut next = || words.next().with_context(|| format!("{} needs more", call.name()));
    let mut texts = Vec::new();
    let mut files = Vec::new();
    for shape in call.shape() {
        texts.push(match shape {
            Shape::At => CString::default(),
            _ => text(next()?)?,
        });
        if *shape == Shape::File {
            let path = texts.last().context("no path")?.as_bytes();
            let writable = call.name() == "ftruncate";
            files.push(OpenOptions::new().read(!writable).write(writable).open(OsStr::from_bytes(path))?);
        }
    }
    let mut files = files.iter();
    let arguments = call.shape().iter().zip(&texts).map(|(shape, text)| {
        Ok(match shape {
            Shape::Path => Argument::Path(text),
            Shape::Number => Argument::Number(number(OsStr::from_bytes(text.as_bytes()))?),
            Shape::At => Argument::Descriptor(at),
            Shape::File => Argument::Descriptor(files.next().context("no file")?.as_raw_fd()),
        })
    });
    let arguments: Vec<Argument<'_>> = arguments.collect::<Result<_>>()?;
    let result = syscalls::change(call, &arguments).with_context(|| call.name().to_owned())?;
    if matches!(call.name(), "open" | "creat" | "openat") {
        drop(syscalls::descriptor(result));
    }
    Ok(())
}

/// Octal with a leading 0, as in a mode.
fn number(word: &OsStr) -> Result<usize> {
    let word = word.to_str().context("not a number")?;
    let parsed = match word.strip_prefix('0').filter(|digits| !digits.is_empty()) {
        Some(digits) => usize::from_str_radix(digits, 8),
        None => word.parse(),
    };
    parsed.with_context(|| format!("{word} is not a number"))
}

fn text(word: &OsStr) -> Result<CString> {
    Ok(CString::new(word.as_bytes())?)
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
