//! The processes that make changes: one for each change, so that its pid is known.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use crate::calls::Entry;
use crate::wait::until;

/// Nobody's user and group.
pub const NOBODY: u32 = 65534;

/// The actor's exit code when the kernel has no such call, request or feature (EX_UNAVAILABLE).
pub const LACKING: u8 = 69;

/// The program `graven-actor`, and how it is started.
#[derive(Clone, Debug)]
pub struct Actor {
    program: PathBuf,
    user: Option<u32>,
    before: Vec<OsString>,
}

/// A change that was made.
#[derive(Clone, Debug)]
pub struct Acted {
    /// By this process.
    pub pid: u32,
    /// Of this user.
    pub user: u32,
    /// Which ran this program.
    pub program: PathBuf,
    /// Which process it is and what it was told, for messages.
    pub said: String,
    /// What it told, where its standard output was a pipe.
    pub told: Vec<u8>,
}

/// What came of telling it to do something.
#[derive(Debug)]
pub enum Attempt {
    /// It was done.
    Made(Acted),
    /// The kernel has not what it takes, in the actor's words.
    Lacking(String),
}

/// Bytes as an operand of the actor: hexadecimal.
pub fn operand(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

impl Actor {
    /// `program` is `env!("CARGO_BIN_EXE_graven-actor")` of the suite.
    /// Where programs were brought without the build's folders, it lies with them.
    pub fn new(program: &str) -> Result<Self> {
        let brought =
            std::env::var_os("GRAVEN_BIN_DIR").map(|folder| PathBuf::from(folder).join("graven-actor"));
        let program = brought.filter(|program| program.exists()).unwrap_or_else(|| program.into());
        let program = program.canonicalize().context("no graven-actor")?;
        Ok(Self { program, user: None, before: Vec::new() })
    }

    /// What runs.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// A copy of it that can be run at once: what was just written is still open in the children that other tests
    /// fork, until they exec (ETXTBSY).
    pub fn copy_to(&self, path: &Path) -> Result<()> {
        std::fs::copy(&self.program, path)?;
        let mut run = Command::new(path);
        run.args(["print", "x"]).stdout(Stdio::null());
        until("nobody to write this program any more", || match run.status() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => Ok(None),
            ended => ended.map(|_| Some(())).with_context(|| format!("cannot run {run:?}")),
        })
    }

    /// As another user.
    pub fn as_user(&self, user: u32) -> Self {
        Self { user: Some(user), ..self.clone() }
    }

    /// In this working directory.
    pub fn within(&self, directory: &Path) -> Self {
        self.told("--cwd", directory)
    }

    /// With a descriptor of this directory for the calls that take one.
    pub fn at(&self, directory: &Path) -> Self {
        self.told("--at", directory)
    }

    /// By this entry.
    pub fn by(&self, entry: Entry) -> Self {
        self.told("--by", entry.name())
    }

    /// By requests of an io_uring, made so: `plain`, or `worker`, `silent`, `polled` joined by `+`.
    pub fn by_uring(&self, way: &str) -> Self {
        self.told("--uring", way)
    }

    fn told(&self, option: &str, value: impl AsRef<OsStr>) -> Self {
        let mut actor = self.clone();
        actor.before.extend([OsString::from(option), value.as_ref().to_owned()]);
        actor
    }

    /// Makes one change; it must succeed.
    pub fn act<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<Acted> {
        self.act_on(Stdio::null(), arguments)
    }

    /// The same with this standard output.
    pub fn act_on<S: AsRef<OsStr>>(&self, stdout: Stdio, arguments: &[S]) -> Result<Acted> {
        let mut command = self.command(arguments);
        command.stdout(stdout);
        self.run(command)
    }

    /// The command for something longer.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.before).args(arguments).stdin(Stdio::null());
        self.dress(&mut command);
        command
    }

    fn dress(&self, command: &mut Command) {
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
    }

    /// Makes one change if the kernel has what it takes.
    pub fn attempt<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<Attempt> {
        let mut command = self.command(arguments);
        command.stdout(Stdio::null());
        self.run_if_there(command)
    }

    /// Runs any program as this actor's user; it must succeed.
    pub fn run(&self, mut command: Command) -> Result<Acted> {
        self.dress(&mut command);
        match self.run_if_there(command)? {
            Attempt::Made(acted) => Ok(acted),
            Attempt::Lacking(why) => bail!("{why}"),
        }
    }

    fn run_if_there(&self, mut command: Command) -> Result<Attempt> {
        let said = format!("{command:?}");
        let program = PathBuf::from(command.get_program());
        // What has no path any more keeps the one it was called by.
        let program = program.canonicalize().unwrap_or(program);
        let child = command.stderr(Stdio::piped()).spawn().with_context(|| format!("cannot run {said}"))?;
        let pid = child.id();
        let output = child.wait_with_output()?;
        let words = String::from_utf8_lossy(&output.stderr);
        // An entry that the kernel was built without ends the process.
        let no_entry = output.status.signal() == Some(Signal::SEGV.as_raw());
        if no_entry || output.status.code() == Some(LACKING.into()) {
            return Ok(Attempt::Lacking(format!("{said}: {} {}", output.status, words.trim())));
        }
        ensure!(output.status.success(), "{said}: {} {words}", output.status);
        let user = self.user.unwrap_or_else(|| rustix::process::getuid().as_raw());
        let said = format!("process {pid}: {said}");
        Ok(Attempt::Made(Acted { pid, user, program, said, told: output.stdout }))
    }
}
