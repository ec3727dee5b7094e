//! What each command does: from the words of the command line to the lines of the output.
//!
//! In: `cli` values. Out: lines on standard output, notes on standard error, an exit code. Always: a reader
//! of the output who goes away (`| head`) ends the command quietly; every error is one sentence with its
//! remedy. Never: a decision about data, which is `query`'s and `replay`'s, or about looks, which is `show`'s.
//! Fails with 2 when a word or the directory is wrong, with 3 when the machine refuses.

mod serve;
mod enrol;
mod choose;
mod hosts;
mod search;
mod tail;
mod replay;
mod output;

use std::io;

use crate::authority::AuthorityError;
use crate::cli::Command;
use crate::data::DataError;
use crate::pipeline::ServeError;
use crate::query::pattern::PatternError;
use crate::query::time::{SpanError, TimeError};
use crate::store::StoreError;
use crate::store::tokens::MintError;

pub use choose::ChooseError;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked.
    Done,
    /// It found something that somebody must look at.
    Findings,
    /// A word, a file or a directory is wrong.
    Usage,
    /// This machine cannot do it.
    Host,
}

impl Exit {
    /// For the shell.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Findings => 1,
            Self::Usage => 2,
            Self::Host => 3,
        }
    }
}

/// A command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The directory.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Keys and certificates.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A token.
    #[error(transparent)]
    Mint(#[from] MintError),
    /// The server.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// A host or a kind that is not there.
    #[error(transparent)]
    Choose(#[from] ChooseError),
    /// A time.
    #[error(transparent)]
    Time(#[from] TimeError),
    /// A span.
    #[error("--ttl {0}")]
    Ttl(SpanError),
    /// A token that nobody could use.
    #[error("--ttl 0 makes a token that has expired already: give a span such as 1h")]
    NoTtl,
    /// A path.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// The output.
    #[error("cannot write the output")]
    Output(#[source] io::Error),
    /// The kernel.
    #[error("cannot start")]
    Runtime(#[source] io::Error),
}

impl CommandError {
    /// The code that goes with it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Store(StoreError::Database { .. } | StoreError::Stopped)
            | Self::Output(_)
            | Self::Runtime(_) => Exit::Host,
            Self::Serve(ServeError::Store(StoreError::Database { .. }) | ServeError::Serve(_)) => Exit::Host,
            _ => Exit::Usage,
        }
    }
}

/// Runs a command.
pub fn run(command: Command) -> Result<Exit, CommandError> {
    let ended = match command {
        Command::Serve(words) => serve::run(&words),
        Command::Enrol(words) => enrol::run(&words),
        Command::Hosts(words) => hosts::run(&words),
        Command::Events(words) => search::run(&words, false),
        Command::Violations(words) => search::run(&words, true),
        Command::Tail(words) => tail::run(&words),
        Command::Replay(words) => replay::run(&words),
    };
    match ended {
        // Whoever read our output has seen enough.
        Err(CommandError::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        other => other,
    }
}
