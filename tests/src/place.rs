//! A folder of its own for each test.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// What a folder lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// ext4
    Ext4,
    /// tmpfs
    Tmpfs,
    /// Another file system, or none.
    Other,
}

impl Ground {
    /// Of the file system there.
    pub fn at(folder: &Path) -> Self {
        // Numbers of `linux/magic.h`.
        match rustix::fs::statfs(folder).map(|stat| stat.f_type) {
            Ok(0xef53) => Self::Ext4,
            Ok(0x0102_1994) => Self::Tmpfs,
            _ => Self::Other,
        }
    }
}

/// Kept, and said, unless the test called [`Place::done`].
#[derive(Debug)]
pub struct Place {
    folder: Option<TempDir>,
    path: PathBuf,
    done: bool,
}

impl Place {
    /// A new folder that every user may enter.
    pub fn new(name: &str) -> Result<Self> {
        Self::within(&std::env::temp_dir(), name)
    }

    /// The same below a folder.
    pub fn within(folder: &Path, name: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix(&format!("graven-{name}-")).tempdir_in(folder);
        let folder = folder.context("cannot make a folder for the test")?;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        // Records have real paths.
        let path = folder.path().canonicalize()?;
        Ok(Self { folder: Some(folder), path, done: false })
    }

    /// Where it is, without symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path in it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// A new folder in it.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.join(name);
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// Nothing in it is of interest any more.
    pub fn done(&mut self) {
        self.done = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.done
            && let Some(folder) = self.folder.take()
        {
            eprintln!("kept for you to look at: {}", folder.keep().display());
        }
    }
}
