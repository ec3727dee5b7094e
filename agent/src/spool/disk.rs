//! The few things the spool asks of a file system: the seam for fault tests, and the real one.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Most names of one directory that are looked at: far above what the budget lets the spool make.
const MAX_NAMES: usize = 65_536;

/// A file system.
pub trait Disk: Clone + Send + Sync + 'static {
    /// An open file.
    type File: DiskFile;

    /// Makes a directory unless it is there.
    fn make_dir(&self, path: &Path) -> io::Result<()>;
    /// What is wrong with a directory that must be ours alone; `None` = nothing.
    fn not_private(&self, path: &Path) -> io::Result<Option<&'static str>>;
    /// Names in a directory.
    fn names(&self, path: &Path) -> io::Result<Vec<String>>;
    /// A new file; its name must not be taken.
    fn create(&self, path: &Path) -> io::Result<Self::File>;
    /// A file to read.
    fn open(&self, path: &Path) -> io::Result<Self::File>;
    /// Cuts a file to its first bytes, durably.
    fn cut(&self, path: &Path, len: u64) -> io::Result<()>;
    /// Gives a file another name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Bytes that may still be written.
    fn available(&self, path: &Path) -> io::Result<u64>;
}

/// An open file of a [`Disk`].
pub trait DiskFile: Send {
    /// Writes all at the end. After an error some of it may be there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Cuts back to the first bytes.
    fn cut(&mut self, len: u64) -> io::Result<()>;
    /// Returns when the bytes are on the disk.
    fn sync(&mut self) -> io::Result<()>;
    /// Its length.
    fn length(&self) -> io::Result<u64>;
    /// Fills the buffer from a position; fewer bytes only at the end.
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize>;
}

/// The host's own file systems.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostDisk;

fn flags() -> i32 {
    i32::try_from((OFlags::NOFOLLOW | OFlags::CLOEXEC).bits()).unwrap_or_default()
}

impl Disk for HostDisk {
    type File = File;

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }

    fn not_private(&self, path: &Path) -> io::Result<Option<&'static str>> {
        let found = path.symlink_metadata()?;
        let own = rustix::process::geteuid().as_raw();
        Ok(match found {
            _ if !found.is_dir() => Some("is not a directory"),
            _ if found.uid() != own => Some("belongs to another user"),
            _ if found.mode() & 0o077 != 0 => Some("is open to other users"),
            _ => None,
        })
    }

    fn names(&self, path: &Path) -> io::Result<Vec<String>> {
        let entries = path.read_dir()?.take(MAX_NAMES);
        let names: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.file_name())).collect();
        Ok(names?.into_iter().filter_map(|name| name.into_string().ok()).collect())
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create_new(true).mode(0o600).custom_flags(flags());
        let file = options.open(path)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        Ok(file)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).custom_flags(flags()).open(path)
    }

    fn cut(&self, path: &Path, len: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).custom_flags(flags()).open(path)?;
        file.set_len(len)?;
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        OpenOptions::new().read(true).custom_flags(flags()).open(path)?.sync_all()
    }

    fn available(&self, path: &Path) -> io::Result<u64> {
        let found = rustix::fs::statvfs(path)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }
}

impl DiskFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        self.metadata().map(|found| found.len())
    }

    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < into.len() {
            match FileExt::read_at(self, &mut into[done..], at + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    #[test]
    fn files_and_directories_are_private_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, file, link) = (dir.path().join("s"), dir.path().join("f"), dir.path().join("l"));
        HostDisk.make_dir(&spool).unwrap();
        assert_eq!(HostDisk.not_private(&spool).unwrap(), None);
        std::fs::set_permissions(&spool, Permissions::from_mode(0o750)).unwrap();
        assert_eq!(HostDisk.not_private(&spool).unwrap(), Some("is open to other users"));
        HostDisk.create(&file).unwrap().append(b"abc").unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(
            HostDisk.open(&link).is_err()
                && HostDisk.create(&link).is_err()
                && HostDisk.cut(&link, 0).is_err()
        );
        assert_eq!(HostDisk.not_private(&link).unwrap(), Some("is not a directory"));
        assert!(HostDisk.create(&file).is_err());
    }

    #[test]
    fn a_read_beyond_the_end_is_short() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = HostDisk.create(&dir.path().join("f")).unwrap();
        file.append(b"abcdef").unwrap();
        let mut buffer = [0; 10];
        assert_eq!(DiskFile::read_at(&file, &mut buffer, 2).unwrap(), 4);
        file.cut(3).unwrap();
        file.append(b"x").unwrap();
        assert_eq!(file.length().unwrap(), 4);
    }
}
