//! A program that runs until it is told to end.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::syscalls::die_with_this_thread;
use crate::wait::{patience, until, until_within};

/// Running, with both outputs in a log.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    name: String,
    log: PathBuf,
    /// Where this run begins in the log.
    begin: usize,
}

impl Daemon {
    /// Starts it; what it says is appended to the log.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let begin = std::fs::read(log).map_or(0, |bytes| bytes.len());
        let open = || -> std::io::Result<File> { OpenOptions::new().append(true).create(true).open(log) };
        command.stdout(open()?).stderr(open()?);
        let child = spawn(command).with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, name: name.to_owned(), log: log.to_owned(), begin })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it said in this run.
    pub fn said(&self) -> Result<String> {
        let bytes = std::fs::read(&self.log)?;
        Ok(String::from_utf8_lossy(bytes.get(self.begin..).unwrap_or_default()).into_owned())
    }

    /// Waits for a line that `find` takes. A program that ends instead is a failure with its words.
    pub fn line<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> Result<T> {
        self.line_within(patience(), what, find)
    }

    /// The same with another deadline.
    pub fn line_within<T>(
        &mut self,
        patience: Duration,
        what: &str,
        find: impl Fn(&str) -> Option<T>,
    ) -> Result<T> {
        until_within(patience, &format!("{what} of {}", self.name), || {
            let ended = self.child.try_wait()?;
            let said = self.said()?;
            // The last line may be half a line yet.
            let whole = said.rfind('\n').map_or("", |end| &said[..end]);
            match (whole.lines().find_map(&find), ended) {
                (Some(found), _) => Ok(Some(found)),
                (None, Some(status)) => bail!("{} ended with {status}: {said}", self.name),
                (None, None) => Ok(None),
            }
        })
    }

    /// Asks it to end.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Waits until it has ended.
    pub fn ended(&mut self) -> Result<ExitStatus> {
        until(&format!("the end of {}", self.name), || Ok(self.child.try_wait()?))
    }

    /// SIGTERM; it must end in order.
    pub fn terminate(mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        let status = self.ended()?;
        if !status.success() {
            bail!("{} ended with {status} after SIGTERM: {}", self.name, self.said()?);
        }
        Ok(())
    }

    /// SIGKILL, to it alone: what it started has to end by itself.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended: then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

type Order = (Command, Sender<std::io::Result<Child>>);

/// From a thread that lives as long as the test program: the child dies with the thread that starts it.
fn spawn(command: Command) -> Result<Child> {
    static KEEPER: OnceLock<Sender<Order>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        let (orders, incoming) = channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in incoming {
                die_with_this_thread(&mut command);
                // Who asked has gone: then the child is dropped.
                let _ = answer.send(command.spawn());
            }
        });
        orders
    });
    let (answer, child) = channel();
    keeper.send((command, answer)).ok().context("the thread that starts programs has ended")?;
    Ok(child.recv()??)
}
