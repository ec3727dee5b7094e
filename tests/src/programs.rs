//! The programs under test, and running them to their end.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};

/// The agent.
pub const AGENT: &str = "graven-agent";
/// The central log and the operator's command line.
pub const CENTRAL: &str = "graven";

/// Variables of the caller that would change what the programs do or print.
const FOREIGN: [&str; 6] =
    ["GRAVEN_DATA", "GRAVEN_TOKEN", "GRAVEN_LOG", "RUST_LOG", "RUST_BACKTRACE", "NOTIFY_SOCKET"];

/// Where a program of the build is.
pub fn path(name: &str) -> Result<PathBuf> {
    let folder = match std::env::var_os("GRAVEN_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release"),
    };
    let program = folder.join(name);
    let found = program.canonicalize();
    found.with_context(|| format!("{} is not there: run cargo xtask build", program.display()))
}

/// A program with a clean environment and no standard input.
pub fn command(name: &str) -> Result<Command> {
    let mut command = Command::new(path(name)?);
    for variable in FOREIGN {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null()).current_dir("/");
    Ok(command)
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
    /// What was run, for messages.
    pub said: String,
}

/// Runs a program to its end.
pub fn run<S: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = S>) -> Result<Ended> {
    let mut command = command(name)?;
    command.args(arguments);
    ended(command)
}

/// The same as another user without any group.
pub fn run_as<S: AsRef<OsStr>>(
    user: u32,
    name: &str,
    arguments: impl IntoIterator<Item = S>,
) -> Result<Ended> {
    let mut command = command(name)?;
    command.args(arguments).uid(user).gid(user);
    ended(command)
}

fn ended(mut command: Command) -> Result<Ended> {
    let said = format!("{command:?}");
    let Output { status, stdout, stderr } = command.output().with_context(|| format!("cannot run {said}"))?;
    Ok(Ended { code: status.code(), stdout, stderr: String::from_utf8_lossy(&stderr).into_owned(), said })
}

impl Ended {
    /// It must have done what it was asked.
    pub fn succeeded(self) -> Result<Self> {
        ensure!(self.code == Some(0), "{} ended with {:?}: {}", self.said, self.code, self.stderr);
        Ok(self)
    }

    /// Standard output as text.
    pub fn text(&self) -> Result<&str> {
        std::str::from_utf8(&self.stdout).context("standard output is not text")
    }

    /// It must have refused with this code and one sentence that has these words, and not broken down.
    pub fn refused(&self, code: i32, words: &[&str]) -> Result<()> {
        let Self { stderr, said, .. } = self;
        ensure!(self.code == Some(code), "{said} ended with {:?}, not {code}: {stderr}", self.code);
        for word in words {
            ensure!(stderr.contains(word), "{said} does not say \"{word}\": {stderr}");
        }
        for word in ["panicked", "RUST_BACKTRACE", "backtrace", "Error {", "Os {", "unwrap"] {
            ensure!(!stderr.contains(word), "{said} breaks down: {stderr}");
        }
        let sentences = stderr.trim_end().lines().count();
        ensure!(sentences == 1, "{said} says {sentences} lines and not one: {stderr}");
        ensure!(self.stdout.is_empty(), "{said} refuses on standard output: {:?}", self.text());
        Ok(())
    }
}
