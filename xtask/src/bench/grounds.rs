//! Where it is measured: folders on ext4 and on tmpfs, and the agent's own files.
//!
//! The ext4 is one of our own, made by mkfs.ext4 with its defaults in a file on the tmpfs, unless a folder is
//! given: what else happens on a machine's disk, and what its file system looks like after years, would be
//! measured too (without a journal, for one, ext4 searches longer for an inode the more were deleted lately).

use super::modes::{FileSystem, Place};
use crate::fault;
use crate::repo::Repo;
use anyhow::{Context, Result};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where tmpfs is mounted on every Linux with glibc.
const TMPFS: &str = "/dev/shm";
/// Bytes of the file for ext4: a journal as on a real disk fits; what is used of it is a tenth.
const IMAGE: u64 = 256 << 20;
/// Where it is mounted, in the work folder.
const MOUNT: &str = "ext4";

/// The folders that files are changed in. Dropped, they are removed.
pub(crate) struct Grounds {
    /// On ext4 and on tmpfs.
    roots: [PathBuf; 2],
    image: Option<Image>,
}

impl Grounds {
    pub(crate) fn make(work: &Work, ext4: Option<&Path>, tmpfs: Option<&Path>) -> Result<Self> {
        let name = format!("graven-bench-{}", std::process::id());
        let tmpfs = absolute(tmpfs.unwrap_or(Path::new(TMPFS)))?.join(&name);
        fs::create_dir_all(&tmpfs).with_context(|| format!("cannot make {}", tmpfs.display()))?;
        let mut grounds = Self { roots: [PathBuf::new(), tmpfs], image: None };
        grounds.roots[0] = match ext4 {
            Some(folder) => absolute(folder)?.join(&name),
            None => {
                let image = Image::mount(grounds.roots[1].join("image"), work.folder.join(MOUNT))?;
                let root = image.at.join(&name);
                grounds.image = Some(image);
                root
            }
        };
        for system in FileSystem::ALL {
            for place in Place::ALL {
                let folder = grounds.folder(system, place);
                fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
            }
            is_on(system, grounds.root(system))?;
        }
        Ok(grounds)
    }

    pub(crate) fn folder(&self, system: FileSystem, place: Place) -> PathBuf {
        self.root(system).join(place.name())
    }

    /// Is the ext4 one of our own?
    pub(crate) fn own_ext4(&self) -> bool {
        self.image.is_some()
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
        let [ext4, tmpfs] = &self.roots;
        left(ext4, fs::remove_dir_all(ext4));
        if let Some(image) = self.image.take() {
            drop(image);
        }
        left(tmpfs, fs::remove_dir_all(tmpfs));
    }
}

fn left(folder: &Path, removed: std::io::Result<()>) {
    if let Err(error) = removed
        && error.kind() != std::io::ErrorKind::NotFound
    {
        eprintln!("{} is left behind: {error}", folder.display());
    }
}

/// A file system in a file; dropped, it is unmounted.
struct Image {
    at: PathBuf,
}

impl Image {
    fn mount(file: PathBuf, at: PathBuf) -> Result<Self> {
        let made = File::create(&file).and_then(|made| made.set_len(IMAGE));
        made.with_context(|| format!("cannot make {}", file.display()))?;
        fs::create_dir(&at).with_context(|| format!("cannot make {}", at.display()))?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&file)).map_err(no_ext4)?;
        run(Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(&file).arg(&at)).map_err(no_ext4)?;
        Ok(Self { at })
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if let Err(error) = run(Command::new("umount").arg(&self.at)) {
            eprintln!("{} is left mounted: {error}", self.at.display());
        }
    }
}

fn no_ext4(why: String) -> anyhow::Error {
    fault::host(format!("cannot make an ext4 to measure on ({why}): give --ext4 a folder on one"))
}

/// Runs a tool to its end; what it said if it fails.
fn run(command: &mut Command) -> Result<(), String> {
    crate::cargo::clean(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(said.trim().to_owned()) }
}

/// Without links: the policy names paths as the kernel does.
fn absolute(folder: &Path) -> Result<PathBuf> {
    folder.canonicalize().map_err(|error| fault::usage(format!("{}: {error}", folder.display())))
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
        if folder.join(MOUNT).is_dir() {
            // Mounted only if a run before was killed; then what is in it must not be removed through the mount.
            let _not_mounted = run(Command::new("umount").arg(folder.join(MOUNT)));
        }
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

    #[test]
    fn a_tool_that_fails_is_heard() {
        let said = run(Command::new("sh").args(["-c", "echo no room >&2; exit 1"]));
        assert_eq!(said, Err("no room".to_owned()));
        assert!(run(&mut Command::new("no-such-tool")).is_err_and(|said| said.starts_with("no-such-tool: ")));
    }
}
