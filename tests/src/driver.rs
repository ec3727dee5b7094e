//! A process that makes one change after the other, each when it is told.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::actor::Actor;
use crate::syscalls::die_with_this_thread;

/// Running; it ends with this value.
#[derive(Debug)]
pub struct Driver {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Driver {
    /// Starts one.
    pub fn start(actor: &Actor) -> Result<Self> {
        let mut command = actor.command(&["obey"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        die_with_this_thread(&mut command);
        let mut child = command.spawn().context("cannot start an actor")?;
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().context("no answers")?);
        Ok(Self { child, orders, answers })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// One step, which must succeed; words without spaces.
    pub fn tell(&mut self, words: &[OsString]) -> Result<()> {
        let mut line = words.join(" ".as_ref()).as_bytes().to_vec();
        line.push(b'\n');
        self.orders.as_mut().context("it was ended")?.write_all(&line)?;
        let mut answer = String::new();
        ensure!(self.answers.read_line(&mut answer)? > 0, "the actor ended at {words:?}");
        if answer.trim_end() != "ok" {
            bail!("{words:?}: {}", answer.trim_end());
        }
        Ok(())
    }

    /// One step that may fail: with this error number.
    pub fn try_to(&mut self, words: &[OsString]) -> Result<Option<i32>> {
        let Err(error) = self.tell(words) else { return Ok(None) };
        let said = format!("{error:#}");
        let number = said.rsplit_once("(os error ").and_then(|(_, rest)| rest.split_once(')'));
        Ok(Some(number.and_then(|(number, _)| number.parse().ok()).ok_or(error)?))
    }

    /// Ends it in order.
    pub fn end(mut self) -> Result<()> {
        drop(self.orders.take());
        let status = self.child.wait()?;
        ensure!(status.success(), "the actor ended with {status}");
        Ok(())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have ended: then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
