//! The steps, one after the other, and what one leaves to the next.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use anyhow::{Context, Error, Result, bail, ensure};
use graven_tests::calls::uring::Opcode;
use graven_tests::calls::{Call, Entry, Shape};
use graven_tests::syscalls::uring::{Ring, Way};
use graven_tests::syscalls::{self, AT_FDCWD, Argument, Handle, Mapping};
use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::{deceptions, deeds, kernel};

/// Between two steps.
const THEN: &str = "then";

/// What one step leaves to the next.
pub(crate) struct Hand {
    pub(crate) entry: Entry,
    pub(crate) at: i32,
    ring: Option<(Way, Ring)>,
    /// What each step answered.
    answers: Vec<usize>,
    /// Stays open until the end.
    kept: Vec<OwnedFd>,
    pub(crate) mapping: Option<Mapping>,
    pub(crate) handle: Option<Handle>,
}

pub(crate) fn run(words: Vec<OsString>) -> Result<()> {
    let mut hand = Hand {
        entry: Entry::Native,
        at: AT_FDCWD,
        ring: None,
        answers: Vec::new(),
        kept: Vec::new(),
        mapping: None,
        handle: None,
    };
    for step in words.split(|word| word == THEN) {
        let said = || step.join(OsStr::new(" ")).to_string_lossy().into_owned();
        let answer = hand.step(step).with_context(said)?;
        hand.answers.push(answer);
    }
    Ok(())
}

/// What the kernel says that has no such call, request, or feature of a file system.
const MISSING: [Errno; 3] = [Errno::NOSYS, Errno::OPNOTSUPP, Errno::NOTTY];

/// The kernel has not what it takes.
pub(crate) fn is_lacking(error: &Error) -> bool {
    let missing = MISSING.map(|errno| Some(errno.raw_os_error()));
    error.chain().any(|cause| {
        let system = cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        system.is_some() && missing.contains(&system)
    })
}

impl Hand {
    /// Steps from standard input, one a line; each is answered by a line: `ok`, or what went wrong.
    fn obey(&mut self) -> Result<usize> {
        for line in io::stdin().lines() {
            let line = line?;
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            match self.step(&words) {
                Ok(_) => println!("ok"),
                Err(error) => println!("{error:#}"),
            }
            // Many steps would open more than a process may.
            self.kept.clear();
        }
        Ok(0)
    }

    fn step(&mut self, words: &[OsString]) -> Result<usize> {
        let mut words = words;
        let mut error = None;
        while let Some((option, rest)) =
            words.split_first().filter(|(word, _)| word.as_bytes().starts_with(b"--"))
        {
            let (value, rest) = rest.split_first().with_context(|| format!("{} what?", option.display()))?;
            match option.to_str() {
                Some("--error") => error = Some(i32::try_from(self.number(value)?)?),
                _ => self.option(option, value)?,
            }
            words = rest;
        }
        let (what, operands) = words.split_first().context("nothing to do")?;
        let what = what.to_str().with_context(|| format!("what is {}?", what.display()))?;
        let done = self.act(what, operands);
        let Some(wanted) = error else { return done };
        let refused = done.err().context("it did not fail")?;
        if is_lacking(&refused) && !MISSING.iter().any(|errno| errno.raw_os_error() == wanted) {
            return Err(refused);
        }
        let system = refused.chain().find_map(|cause| cause.downcast_ref::<io::Error>()?.raw_os_error());
        ensure!(system == Some(wanted), "not error {wanted}: {refused:#}");
        Ok(0)
    }

    fn option(&mut self, option: &OsStr, value: &OsStr) -> Result<()> {
        match option.to_str() {
            Some("--cwd") => std::env::set_current_dir(value)?,
            Some("--at") => self.at = self.descriptor(value, false)?,
            Some("--by") => {
                self.ring = None;
                self.entry = value.to_str().and_then(Entry::named).context("no such entry")?;
            }
            Some("--uring") => {
                let way = way(value.to_str().context("not a way")?)?;
                self.ring = Some((way, Ring::new(way)?));
            }
            Some("--cpu") => {
                let mut set = CpuSet::new();
                set.set(self.number(value)?);
                sched_setaffinity(None, &set)?;
            }
            _ => bail!("{} is no option", option.display()),
        }
        Ok(())
    }

    fn act(&mut self, what: &str, operands: &[OsString]) -> Result<usize> {
        if what == "obey" {
            return self.obey();
        }
        if let Some(opcode) = Opcode::named(what)
            && let Some((way, mut ring)) = self.ring.take()
        {
            let answer = self.request(way, &mut ring, opcode, operands);
            self.ring = Some((way, ring));
            return answer;
        }
        if let Some(answer) = deeds::do_it(self, what, operands)? {
            return Ok(answer);
        }
        if let Some(answer) = kernel::do_it(self, what, operands)? {
            return Ok(answer);
        }
        if let Some(answer) = deceptions::do_it(self, what, operands)? {
            return Ok(answer);
        }
        self.call(self.known(what)?, operands)
    }

    /// A call of this hand's entry.
    pub(crate) fn known(&self, name: &str) -> Result<Call> {
        let entry = self.entry;
        Call::named(entry, name).with_context(|| format!("{name} is neither a call of {entry} nor a deed"))
    }

    /// Makes a call with operands.
    pub(crate) fn call(&mut self, call: Call, operands: &[OsString]) -> Result<usize> {
        let operands = self.operands(call.shape(), operands)?;
        let mut arguments = Vec::new();
        for (shape, operand) in call.shape().iter().zip(&operands) {
            arguments.push(operand.argument(*shape));
            if *shape == Shape::Bytes {
                arguments.push(Argument::Number(operand.bytes.len()));
            }
        }
        Ok(syscalls::change(&call, &arguments)?)
    }

    fn request(
        &mut self,
        way: Way,
        ring: &mut Ring,
        opcode: &Opcode,
        operands: &[OsString],
    ) -> Result<usize> {
        let shape: Vec<Shape> = opcode.shape.iter().map(|(_, shape)| *shape).collect();
        let operands = self.operands(&shape, operands)?;
        let arguments: Vec<Argument<'_>> =
            shape.iter().zip(&operands).map(|(shape, operand)| operand.argument(*shape)).collect();
        let answer = ring.run(way, opcode, &arguments)?;
        let refused = |_| {
            // What the kernel does not know is an invalid request.
            let errno = if -answer == Errno::INVAL.raw_os_error() {
                Errno::OPNOTSUPP.raw_os_error()
            } else {
                -answer
            };
            io::Error::from_raw_os_error(errno)
        };
        Ok(usize::try_from(answer).map_err(refused)?)
    }

    fn operands(&mut self, shape: &[Shape], words: &[OsString]) -> Result<Vec<Operand>> {
        let mut words = words.iter();
        let operands = shape.iter().map(|shape| {
            if *shape == Shape::At {
                return Ok(Operand::of(self.at as usize));
            }
            let word = words.next().context("it needs more")?;
            let mut operand = Operand::default();
            match shape {
                Shape::Text if word == "NULL" => operand = Operand::of(0),
                Shape::Text => operand.text = text(word)?,
                // An argument that may be an address or a number.
                Shape::Buffer if word.as_bytes().starts_with(b"@") => {
                    operand = Operand::of(self.number(word)?)
                }
                Shape::Bytes | Shape::Buffer | Shape::Vector => operand.bytes = bytes(word)?,
                Shape::File | Shape::Out => {
                    operand.number = self.descriptor(word, *shape == Shape::Out)? as usize;
                }
                Shape::Number | Shape::Wide | Shape::At => operand.number = self.number(word)?,
            }
            Ok(operand)
        });
        let operands = operands.collect::<Result<_>>()?;
        ensure!(words.next().is_none(), "that is more than it takes");
        Ok(operands)
    }

    /// Of an earlier step, or of a file that is opened now and stays open.
    pub(crate) fn descriptor(&mut self, word: &OsStr, writable: bool) -> Result<i32> {
        if word.as_bytes().starts_with(b"@") {
            return Ok(i32::try_from(self.number(word)?)?);
        }
        let file = match writable {
            true => OpenOptions::new().write(true).open(word),
            false => File::open(word),
        };
        Ok(self.keep(file.with_context(|| format!("cannot open {}", word.display()))?.into()))
    }

    /// Keeps it open until the end.
    pub(crate) fn keep(&mut self, file: OwnedFd) -> i32 {
        let number = file.as_raw_fd();
        self.kept.push(file);
        number
    }

    /// Octal with a leading 0, as in a mode; hexadecimal with 0x; `@N`: what the N-th step answered.
    pub(crate) fn number(&self, word: &OsStr) -> Result<usize> {
        let word = word.to_str().context("not a number")?;
        if let Some(step) = word.strip_prefix('@') {
            let step: usize = step.parse().with_context(|| format!("{word} is no step"))?;
            let answer = step.checked_sub(1).and_then(|index| self.answers.get(index));
            return answer.copied().with_context(|| format!("there is no answer of step {step}"));
        }
        let parsed = match (word.strip_prefix("0x"), word.strip_prefix('0').filter(|rest| !rest.is_empty())) {
            (Some(digits), _) => usize::from_str_radix(digits, 16),
            (None, Some(digits)) => usize::from_str_radix(digits, 8),
            (None, None) => word.parse(),
        };
        parsed.with_context(|| format!("{word} is not a number"))
    }
}

/// One operand, as its shape wants it.
#[derive(Default)]
struct Operand {
    text: CString,
    bytes: Vec<u8>,
    number: usize,
    /// In place of an address.
    is_number: bool,
}

impl Operand {
    fn of(number: usize) -> Self {
        Self { number, is_number: true, ..Self::default() }
    }

    fn argument(&self, shape: Shape) -> Argument<'_> {
        match shape {
            _ if self.is_number => Argument::Number(self.number),
            Shape::Text => Argument::Text(&self.text),
            Shape::Bytes | Shape::Buffer => Argument::Bytes(&self.bytes),
            Shape::Vector => Argument::Piece(&self.bytes, size_of::<usize>()),
            Shape::Wide => Argument::Wide(self.number),
            Shape::Number | Shape::At | Shape::File | Shape::Out => Argument::Number(self.number),
        }
    }
}

fn way(words: &str) -> Result<Way> {
    let mut way = Way::default();
    for word in words.split('+') {
        match word {
            "plain" => {}
            "worker" => way.worker = true,
            "silent" => way.silent = true,
            "polled" => way.polled = true,
            _ => bail!("{word} is no way to make a request"),
        }
    }
    Ok(way)
}

pub(crate) fn text(word: &OsStr) -> Result<CString> {
    Ok(CString::new(word.as_bytes())?)
}

/// Hexadecimal with 0x, or as they stand.
fn bytes(word: &OsStr) -> Result<Vec<u8>> {
    let Some(digits) = word.as_bytes().strip_prefix(b"0x") else { return Ok(word.as_bytes().to_vec()) };
    ensure!(digits.len() % 2 == 0, "half a byte: {}", word.display());
    let byte = |pair: &[u8]| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?);
    digits.chunks(2).map(byte).collect()
}
