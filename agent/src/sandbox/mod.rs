//! What the agent's two processes give up before they begin.
//!
//! In: a process that was just started. Out: the same process with less. `watch` stays root, for it loads
//! programs into the kernel, but leaves no core dump, for it holds keys. `ship` talks to the network and is
//! nobody: another user, no capability, no way back to one, no core dump.
//!
//! Never: goes on when `ship` still has a privilege. Fails with [`SandboxError`].

mod user;

use caps::CapSet;
use rustix::process::{DumpableBehavior, Resource, Rlimit};

pub use user::User;

/// A process could not be made small enough.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The kernel refused.
    #[error("cannot {what}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// Why.
        #[source]
        source: rustix::io::Errno,
    },
    /// Started by hand, or our bug.
    #[error("the ship process must not be root; it is started by `graven-agent run`, not by hand")]
    Root,
    /// Started with a capability.
    #[error("the ship process still has capabilities: {0}")]
    Capabilities(String),
    /// The kernel does not say.
    #[error("cannot read the capabilities of the process: {0}")]
    Unknown(String),
}

/// For `watch`: secrets stay out of core dumps, and files are the agent's own.
pub fn watch() -> Result<(), SandboxError> {
    no_dumps()?;
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    Ok(())
}

/// For `ship`: checks that nothing is left to misuse and shuts the way back.
pub fn ship() -> Result<(), SandboxError> {
    if rustix::process::geteuid().is_root() || rustix::process::getuid().is_root() {
        return Err(SandboxError::Root);
    }
    rustix::thread::set_no_new_privs(true).map_err(refused("forbid new privileges"))?;
    for set in [CapSet::Ambient, CapSet::Inheritable] {
        caps::clear(None, set).map_err(|error| SandboxError::Unknown(error.to_string()))?;
    }
    for set in [CapSet::Effective, CapSet::Permitted] {
        let left = caps::read(None, set).map_err(|error| SandboxError::Unknown(error.to_string()))?;
        if !left.is_empty() {
            return Err(SandboxError::Capabilities(format!("{left:?}")));
        }
    }
    no_dumps()
}

fn no_dumps() -> Result<(), SandboxError> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(refused("forbid core dumps"))?;
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, none).map_err(refused("forbid core dumps"))
}

fn refused(what: &'static str) -> impl Fn(rustix::io::Errno) -> SandboxError {
    move |source| SandboxError::Refused { what, source }
}
