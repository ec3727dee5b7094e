//! One agent a host: a lock that the kernel drops when the agent dies, and that names who holds it.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

/// Longest text that is read from a lock file.
const MAX_TEXT: u64 = 64;

/// Held as long as this lives.
#[derive(Debug)]
pub struct Lock {
    file: File,
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
    #[error("cannot use the lock {path}; set `{key}` in agent.toml to a directory that root can write")]
    File {
        /// The lock file.
        path: PathBuf,
        /// Which setting names its folder.
        key: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Lock {
    /// Takes the lock in the folder `runtime`, which is made if it is not there.
    pub fn of_runtime(runtime: &Path) -> Result<Self, LockError> {
        Self::take(runtime, 0o755, "agent.lock", "runtime")
    }

    /// Takes the lock in the folder `state`: two agents that differ in `runtime` must not write one spool.
    pub fn of_state(state: &Path) -> Result<Self, LockError> {
        Self::take(state, 0o700, "lock", "state")
    }

    /// Takes the folder in which a sensor is kept: what runs with it is nobody else's.
    pub fn of_kept(folder: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::File { path: folder.to_owned(), key: "sensor.pins", source };
        let file = File::open(folder).map_err(failed)?;
        hold(&file, folder, failed)?;
        Ok(Self { file })
    }

    /// Is it this folder that is held, and not one that stood there before?
    pub fn is_of(&self, folder: &Path) -> bool {
        let same = |here: &Metadata, there: &Metadata| here.dev() == there.dev() && here.ino() == there.ino();
        let found = std::fs::symlink_metadata(folder).and_then(|found| Ok((found, self.file.metadata()?)));
        found.is_ok_and(|(here, there)| same(&here, &there))
    }

    fn take(folder: &Path, mode: u32, name: &str, key: &'static str) -> Result<Self, LockError> {
        let path = folder.join(name);
        let failed = |source| LockError::File { path: path.clone(), key, source };
        DirBuilder::new().recursive(true).mode(mode).create(folder).map_err(failed)?;
        let mut file = match open(&path) {
            // An agent that cannot store still watches and says so; then the folder itself is the lock.
            Err(e) if matches!(e.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::StorageFull) => {
                File::open(folder)
            }
            opened => opened,
        }
        .map_err(failed)?;
        hold(&file, &path, failed)?;
        // The lock holds without its text too: a full disk must not keep the agent from watching.
        let named = file.set_len(0).and_then(|()| file.rewind());
        if let Err(error) = named.and_then(|()| writeln!(file, "{}", std::process::id())) {
            tracing::warn!("{} cannot name this process: {error}", path.display());
        }
        Ok(Self { file })
    }
}

/// Takes it, or says who has it, if that stands in it: in a folder nothing can.
fn hold(file: &File, path: &Path, failed: impl Fn(io::Error) -> LockError) -> Result<(), LockError> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => return Ok(()),
        Err(rustix::io::Errno::WOULDBLOCK) => {}
        Err(error) => return Err(failed(error.into())),
    }
    let mut text = String::new();
    if file.metadata().map_err(&failed)?.is_file() {
        file.take(MAX_TEXT).read_to_string(&mut text).map_err(&failed)?;
    }
    let holder = match text.trim() {
        "" => "unknown",
        pid => pid,
    };
    Err(LockError::Held { holder: holder.to_owned(), path: path.to_owned() })
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    #[test]
    fn the_second_agent_is_told_who_the_first_is() {
        let runtime = tempfile::tempdir().unwrap();
        let first = Lock::of_runtime(runtime.path()).unwrap();
        let error = Lock::of_runtime(runtime.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
        drop(first);
        Lock::of_runtime(runtime.path()).unwrap();
    }

    #[test]
    fn one_state_is_of_one_agent_whatever_its_runtime_is() {
        let (one, other, state) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let _first = (Lock::of_runtime(one.path()).unwrap(), Lock::of_state(state.path()).unwrap());
        let _second = Lock::of_runtime(other.path()).unwrap();
        let error = Lock::of_state(state.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
    }
}
