//! One agent a host: a lock that the kernel drops when the agent dies, and that names who holds it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

/// Longest text that is read from a lock file.
const MAX_TEXT: u64 = 64;

/// Held as long as this lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// The lock is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another agent runs.
    #[error("another agent runs on this host (pid {holder}, lock {path}): stop it first, or use its records")]
    Held {
        /// Its pid, as it wrote it.
        holder: String,
        /// The lock file.
        path: PathBuf,
    },
    /// The folder cannot be used.
    #[error("cannot use the lock {path}; set `runtime` in agent.toml to a directory that root can write")]
    File {
        /// The lock file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Lock {
    /// Takes the lock in `runtime`, which is made if it is not there.
    pub fn take(runtime: &Path) -> Result<Self, LockError> {
        let path = runtime.join("agent.lock");
        let failed = |source| LockError::File { path: path.clone(), source };
        DirBuilder::new().recursive(true).mode(0o755).create(runtime).map_err(failed)?;
        let no_follow = OFlags::NOFOLLOW.bits().cast_signed();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .custom_flags(no_follow)
            .open(&path)
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                (&file).take(MAX_TEXT).read_to_string(&mut holder).map_err(failed)?;
                return Err(LockError::Held { holder: holder.trim().to_owned(), path });
            }
            Err(error) => return Err(failed(error.into())),
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    #[test]
    fn the_second_agent_is_told_who_the_first_is() {
        let runtime = tempfile::tempdir().unwrap();
        let first = Lock::take(runtime.path()).unwrap();
        let error = Lock::take(runtime.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
        drop(first);
        Lock::take(runtime.path()).unwrap();
    }
}
