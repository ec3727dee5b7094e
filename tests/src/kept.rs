//! A BPF file system of a test's own, in which an agent keeps its sensor: what is kept ends with it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use rustix::mount::{UnmountFlags, unmount};

/// Mounted as long as this lives.
#[derive(Debug)]
pub struct Kept(PathBuf);

impl Kept {
    /// Mounts one at an empty folder.
    pub fn at(folder: &Path) -> Result<Self> {
        let mounted =
            Command::new("mount").args(["-t", "bpf", "-o", "mode=700", "bpf"]).arg(folder).output()?;
        ensure!(mounted.status.success(), "{}", String::from_utf8_lossy(&mounted.stderr));
        Ok(Self(folder.to_owned()))
    }

    /// Where agents keep theirs.
    pub fn root(&self) -> PathBuf {
        self.0.join("graven")
    }

    /// The folders of the runs that are kept in it.
    pub fn runs(&self) -> Result<Vec<PathBuf>> {
        let mut runs = Vec::new();
        for host in std::fs::read_dir(self.root())? {
            for run in std::fs::read_dir(host?.path())? {
                runs.push(run?.path());
            }
        }
        Ok(runs)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.0, UnmountFlags::DETACH) {
            eprintln!("{} stays mounted: {error}", self.0.display());
        }
    }
}
