//! What a policy asks of the host's file system: names and small files. The only I/O of this stage.

use std::io::Read;
use std::path::{Path, PathBuf};

/// The host as a policy sees it, so that tests can be one.
pub trait Host {
    /// Whether a name exists; a symbolic link counts, wherever it leads.
    fn exists(&self, path: &Path) -> bool;
    /// The path with every symbolic link followed; none when something of it is missing.
    fn resolve(&self, path: &Path) -> Option<PathBuf>;
    /// At most `limit` bytes of a regular file.
    fn read(&self, path: &Path, limit: u64) -> Option<Vec<u8>>;
}

/// This host.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThisHost;

impl Host for ThisHost {
    fn exists(&self, path: &Path) -> bool {
        path.symlink_metadata().is_ok()
    }

    fn resolve(&self, path: &Path) -> Option<PathBuf> {
        path.canonicalize().ok()
    }

    fn read(&self, path: &Path, limit: u64) -> Option<Vec<u8>> {
        // A pipe or device would block the agent, or never end.
        if !path.metadata().ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        std::fs::File::open(path).ok()?.take(limit).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }
}

/// The longest part of `path` that exists, links followed, and the names that are missing below it.
pub(super) fn anchor(host: &dyn Host, path: &Path) -> (PathBuf, PathBuf) {
    for ancestor in path.ancestors() {
        if let Some(resolved) = host.resolve(ancestor) {
            let rest = path.strip_prefix(ancestor).unwrap_or(Path::new(""));
            return (resolved, rest.to_owned());
        }
    }
    (PathBuf::from("/"), path.strip_prefix("/").unwrap_or(path).to_owned())
}

#[cfg(test)]
pub(super) mod fake {
    use std::collections::BTreeMap;

    use super::*;

    /// A host made of a list of paths; a path with a target is a symbolic link.
    #[derive(Default)]
    pub(crate) struct FakeHost {
        links: BTreeMap<PathBuf, Option<PathBuf>>,
        files: BTreeMap<PathBuf, Vec<u8>>,
    }

    impl FakeHost {
        /// `"/a/b"` exists with everything above it; `"/a -> /b"` is a link.
        pub(crate) fn new(paths: &[&str]) -> Self {
            let mut host = Self::default();
            for text in paths {
                let (path, target) = match text.split_once(" -> ") {
                    Some((path, target)) => (path, Some(PathBuf::from(target))),
                    None => (*text, None),
                };
                for above in Path::new(path).ancestors().skip(1) {
                    host.links.entry(above.to_owned()).or_default();
                }
                host.links.insert(PathBuf::from(path), target);
            }
            host.links.insert(PathBuf::from("/"), None);
            host
        }

        pub(crate) fn file(mut self, path: &str, bytes: &[u8]) -> Self {
            self.files.insert(PathBuf::from(path), bytes.to_vec());
            self
        }
    }

    impl Host for FakeHost {
        fn exists(&self, path: &Path) -> bool {
            match (path.parent(), path.file_name()) {
                (Some(parent), Some(name)) => {
                    self.resolve(parent).is_some_and(|real| self.links.contains_key(&real.join(name)))
                }
                _ => true,
            }
        }

        fn resolve(&self, path: &Path) -> Option<PathBuf> {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                return Some(PathBuf::from("/"));
            };
            let real = self.resolve(parent)?.join(name);
            match self.links.get(&real)? {
                Some(target) => self.resolve(target),
                None => Some(real),
            }
        }

        fn read(&self, path: &Path, limit: u64) -> Option<Vec<u8>> {
            let bytes = self.files.get(path)?;
            Some(bytes.iter().copied().take(usize::try_from(limit).unwrap_or(usize::MAX)).collect())
        }
    }
}
