//! The processes that make changes: one for each change, so that its pid is known.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Nobody's user and group.
pub const NOBODY: u32 = 65534;

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
    /// What it was told, for messages.
    pub said: String,
}

impl Actor {
    /// `program` is `env!("CARGO_BIN_EXE_graven-actor")` of the suite.
    pub fn new(program: &str) -> Result<Self> {
        let program = Path::new(program).canonicalize().context("no graven-actor")?;
        Ok(Self { program, user: None, before: Vec::new() })
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

    fn told(&self, option: &str, directory: &Path) -> Self {
        let mut actor = self.clone();
        actor.before.extend([OsString::from(option), directory.into()]);
        actor
    }

    /// Makes one change; it must succeed.
    pub fn act<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<Acted> {
        self.act_on(Stdio::null(), arguments)
    }

    /// The same with this standard output.
    pub fn act_on<S: AsRef<OsStr>>(&self, stdout: Stdio, arguments: &[S]) -> Result<Acted> {
        let mut command = Command::new(&self.program);
        command.args(&self.before).args(arguments).stdin(Stdio::null()).stdout(stdout);
        self.run(command)
    }

    /// The command for something longer.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.before).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs any program as this actor's user; it must succeed.
    pub fn run(&self, mut command: Command) -> Result<Acted> {
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        let said = format!("{command:?}");
        let program = PathBuf::from(command.get_program());
        // What has no path any more keeps the one it was called by.
        let program = program.canonicalize().unwrap_or(program);
        let child = command.stderr(Stdio::piped()).spawn().with_context(|| format!("cannot run {said}"))?;
        let pid = child.id();
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "{said}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(Acted {
            pid,
            user: self.user.unwrap_or_else(|| rustix::process::getuid().as_raw()),
            program,
            said,
        })
    }
}
