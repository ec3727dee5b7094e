//! Where things are.

use anyhow::{Context, Result};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// The repository's root and the places below it.
pub(crate) struct Repo {
    /// The folder of the workspace's `Cargo.toml`.
    pub root: PathBuf,
}

impl Repo {
    /// The repository this program was built from.
    pub(crate) fn here() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest.parent().context("xtask is not below a workspace")?;
        anyhow::ensure!(
            root.join("Cargo.toml").is_file(),
            "the repository is no longer at {}: run `cargo xtask` again from where it is now",
            root.display()
        );
        Ok(Self { root: root.to_path_buf() })
    }

    pub(crate) fn target(&self) -> PathBuf {
        self.root.join("target")
    }

    /// Where the agent and the central log are built to.
    pub(crate) fn programs(&self) -> PathBuf {
        self.target().join("release")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.target().join("xtask/logs")
    }

    pub(crate) fn toolchain(&self) -> PathBuf {
        self.target().join("toolchain")
    }

    /// A path as a person at the root would type it.
    pub(crate) fn short<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }

    /// Where kernels and disks of the emulated machines are.
    pub(crate) fn machines(&self) -> PathBuf {
        self.target().join("vm")
    }

    /// Held while the toolchain or the sensor is made, so that two commands do not write the same files.
    pub(crate) fn lock(&self) -> Result<File> {
        Self::lock_in(&self.target().join("xtask"))
    }

    /// Held while one command works in this folder.
    pub(crate) fn lock_in(folder: &Path) -> Result<File> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let path = folder.join("lock");
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                println!("waiting for another `cargo xtask` in this repository");
                file.lock().context("cannot wait for the lock")?;
            }
            Err(TryLockError::Error(error)) => return Err(error).context("cannot take the lock"),
        }
        Ok(file)
    }
}
