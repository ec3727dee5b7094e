//! Where it is measured: folders on both file systems, and the agent's own files.

use super::modes::{FileSystem, Place};
use crate::fault;
use crate::repo::Repo;
use anyhow::{Context, Result};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// Where tmpfs is mounted on every Linux with glibc.
const TMPFS: &str = "/dev/shm";

/// The folders that files are changed in. Dropped, they are removed.
pub(crate) struct Grounds {
    roots: [PathBuf; 2],
}

impl Grounds {
    /// Below a folder on ext4 and one on tmpfs; anything else is refused, because the budgets are for these.
    pub(crate) fn make(ext4: &Path, tmpfs: Option<&Path>) -> Result<Self> {
        let tmpfs = tmpfs.unwrap_or(Path::new(TMPFS));
        let name = format!("graven-bench-{}", std::process::id());
        let grounds = Self { roots: [ext4.join(&name), tmpfs.join(&name)] };
        for system in FileSystem::ALL {
            let root = grounds.root(system);
            for place in Place::ALL {
                let folder = root.join(place.name());
                fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
            }
            is_on(system, root)?;
        }
        Ok(grounds)
    }

    pub(crate) fn folder(&self, system: FileSystem, place: Place) -> PathBuf {
        self.root(system).join(place.name())
    }

    fn root(&self, system: FileSystem) -> &Path {
        match system {
            FileSystem::Ext4 => &self.roots[0],
            FileSystem::Tmpfs => &self.roots[1],
        }
    }
}

impl Drop for Grounds {
    fn drop(&mut self) {
        for root in &self.roots {
            if let Err(error) = fs::remove_dir_all(root)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                eprintln!("{} is left behind: {error}", root.display());
            }
        }
    }
}

fn is_on(system: FileSystem, folder: &Path) -> Result<()> {
    let found = rustix::fs::statfs(folder).with_context(|| format!("cannot look at {}", folder.display()))?;
    if u64::try_from(found.f_type).ok() == Some(u64::from(system.magic())) {
        return Ok(());
    }
    let name = system.name();
    Err(fault::host(format!("{} is not on {name}: give --{name} a folder that is", folder.display())))
}

/// The folder for everything else, empty. It stays, for its logs.
pub(crate) struct Work {
    pub folder: PathBuf,
    _lock: File,
}

impl Work {
    pub(crate) fn make(repo: &Repo) -> Result<Self> {
        let outer = repo.target().join("bench");
        fs::create_dir_all(&outer).with_context(|| format!("cannot make {}", outer.display()))?;
        let outer = outer.canonicalize().context("cannot resolve target/bench")?;
        let lock = File::create(outer.join("lock")).context("cannot write target/bench/lock")?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(fault::usage("another `cargo xtask bench` runs in this repository"));
            }
            Err(TryLockError::Error(error)) => return Err(error).context("cannot take the lock"),
        }
        let folder = outer.join("work");
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", folder.display()));
            }
            _ => fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?,
        }
        Ok(Self { folder, _lock: lock })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_of_another_kind_is_refused_by_name() {
        let refused = is_on(FileSystem::Ext4, Path::new("/proc"));
        assert!(refused.is_err_and(|error| error.to_string().contains("--ext4")));
    }

    #[test]
    fn a_folder_on_tmpfs_is_one() -> Result<()> {
        is_on(FileSystem::Tmpfs, Path::new(TMPFS))
    }
}
