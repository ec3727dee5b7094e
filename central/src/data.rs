//! The data directory: what lies where, who may read it, and that only one `serve` writes it.
//!
//! In: the path an operator named. Out: paths, and files written whole or not at all. Always: the directory
//! is 0700 and every file 0600; a file with a key is complete or absent. Never: the mode of a directory
//! that is not ours is changed. Fails by naming the directory and the remedy.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Bits of group and others.
const FOREIGN: u32 = 0o077;
/// Longest content of the lock file: a decimal process id.
const PID_LEN: u64 = 20;

/// The directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// Nothing to read yet.
    #[error(
        "there is no central log in {0}: start one with `graven serve --data {0}`, or name its directory with --data"
    )]
    Absent(PathBuf),
    /// Something else's directory.
    #[error("{0} holds other files and others may read it: name an empty directory with --data")]
    Foreign(PathBuf),
    /// Somebody else's directory.
    #[error(
        "{path} belongs to user {owner}, not to user {user} who runs this: run it as that user, or name another directory with --data"
    )]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who runs.
        user: u32,
    },
    /// A second `serve`.
    #[error(
        "another `graven serve` (process {pid}) uses {path}: stop it, or name another directory with --data"
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// What the lock file names.
        pid: String,
    },
    /// The file system refused.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> DataError + use<'a> {
    move |source| DataError::Io { action, path: path.to_owned(), source }
}

/// A central log's directory.
#[derive(Clone, Debug)]
pub struct DataDir {
    root: PathBuf,
}

/// Held while `serve` runs; the kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl DataDir {
    /// For `serve`: makes the directory when it is not there.
    pub fn create(root: &Path) -> Result<Self, DataError> {
        let data = Self { root: root.to_owned() };
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(root).map_err(failed("make", root))?;
        data.take_over()?;
        for folder in [data.ca_folder(), data.days_folder()] {
            DirBuilder::new()
                .recursive(true)
                .mode(DIRECTORY_MODE)
                .create(&folder)
                .map_err(failed("make", &folder))?;
        }
        Ok(data)
    }

    /// For every other command: the directory of a log that was started before.
    pub fn open(root: &Path) -> Result<Self, DataError> {
        let data = Self { root: root.to_owned() };
        match data.central_file().metadata() {
            Ok(_) => Ok(data),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(DataError::Absent(data.root)),
            Err(e) => Err(failed("read", &data.central_file())(e)),
        }
    }

    /// A directory that others may read is closed only when it is empty or a log's already: closing
    /// somebody's /srv would be our failure stopping the host's work.
    fn take_over(&self) -> Result<(), DataError> {
        let meta = fs::metadata(&self.root).map_err(failed("read", &self.root))?;
        let user = rustix::process::geteuid().as_raw();
        if meta.uid() != user {
            return Err(DataError::Owner { path: self.root.clone(), owner: meta.uid(), user });
        }
        if meta.mode() & FOREIGN == 0 {
            return Ok(());
        }
        let empty = fs::read_dir(&self.root).map_err(failed("read", &self.root))?.next().is_none();
        if !empty && !self.central_file().exists() {
            return Err(DataError::Foreign(self.root.clone()));
        }
        fs::set_permissions(&self.root, fs::Permissions::from_mode(DIRECTORY_MODE))
            .map_err(failed("close to others", &self.root))
    }

    /// Takes the directory for this process alone.
    pub fn lock(&self) -> Result<Lock, DataError> {
        let path = self.root.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(&path)
            .map_err(failed("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(self.locked(file)),
            Err(TryLockError::Error(e)) => return Err(failed("lock", &path)(e)),
        }
        file.set_len(0).map_err(failed("write", &path))?;
        write!(file, "{}", std::process::id()).map_err(failed("write", &path))?;
        Ok(Lock { _file: file })
    }

    fn locked(&self, file: File) -> DataError {
        let mut pid = String::new();
        let read = file.take(PID_LEN).read_to_string(&mut pid);
        if read.is_err() || pid.is_empty() || !pid.bytes().all(|b| b.is_ascii_digit()) {
            pid = "unknown".to_owned();
        }
        DataError::Locked { path: self.root.clone(), pid }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Hosts, tokens, epochs, heads, findings.
    pub fn central_file(&self) -> PathBuf {
        self.root.join("central.db")
    }

    fn ca_folder(&self) -> PathBuf {
        self.root.join("ca")
    }

    /// The enrolment CA's private key.
    pub fn ca_key_file(&self) -> PathBuf {
        self.ca_folder().join("ca.key")
    }

    /// The enrolment CA's certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.ca_folder().join("ca.pem")
    }

    /// The log key.
    pub fn log_key_file(&self) -> PathBuf {
        self.root.join("log.key")
    }

    /// The TLS server's certificate and private key, in one file so that they cannot disagree.
    pub fn server_file(&self) -> PathBuf {
        self.root.join("server.pem")
    }

    /// Where the days' files are.
    pub fn days_folder(&self) -> PathBuf {
        self.root.join("days")
    }
}

/// Writes a file whole: a crash leaves the old one or the new one.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    let part = path.with_extension("part");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(FILE_MODE)
        .open(&part)
        .map_err(failed("write", &part))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed("write", &part))?;
    fs::rename(&part, path).map_err(failed("write", path))?;
    sync_folder(path)
}

/// Makes an empty file that only the owner may read, so that what opens it later need not think of modes.
pub fn touch_private(path: &Path) -> Result<(), DataError> {
    match OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path) {
        Ok(_) => sync_folder(path),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(failed("make", path)(e)),
    }
}

/// Reads a file of ours; `None` when there is none.
pub fn read_optional(path: &Path) -> Result<Option<String>, DataError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed("read", path)(e)),
    }
}

fn sync_folder(path: &Path) -> Result<(), DataError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|f| f.sync_all()).map_err(failed("write", folder))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    #[test]
    fn a_second_lock_names_the_first_process() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(dir.path()).unwrap();
        let held = data.lock().unwrap();
        let error = data.lock().unwrap_err();
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
        drop(held);
        data.lock().unwrap();
    }

    #[test]
    fn the_directory_is_closed_to_others_and_its_files_too() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a/b");
        let data = DataDir::create(&root).unwrap();
        write_whole(&data.log_key_file(), b"x").unwrap();
        assert_eq!(fs::metadata(&root).unwrap().mode() & 0o7777, DIRECTORY_MODE);
        assert_eq!(fs::metadata(data.log_key_file()).unwrap().mode() & 0o7777, FILE_MODE);
    }

    #[test]
    fn a_directory_with_other_files_that_others_read_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("theirs"), b"x").unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(DataDir::create(dir.path()), Err(DataError::Foreign(_))));
        assert_eq!(fs::metadata(dir.path()).unwrap().mode() & 0o7777, 0o755);
    }

    #[test]
    fn a_command_on_a_directory_without_a_log_says_how_to_start_one() {
        let dir = tempfile::tempdir().unwrap();
        let error = DataDir::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("graven serve --data"), "{error}");
    }
}
