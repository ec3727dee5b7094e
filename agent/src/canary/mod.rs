//! Deeds of the agent's own, after which every program of the sensor must have run once.
//!
//! In: folders of the agent's own, whose content is ignored; the hooks that are attached. Out: what was done, by the names of
//! the hooks that it goes through. Always: what a kernel or file system cannot do is left out, and so are the hooks that only
//! it goes through; what is made is removed; what no hook hangs on is not done. Never: decides what a hook that stayed silent
//! means, waits longer for the program that it starts than twice [`child::PATIENCE`]. It cannot fail: a deed that fails proves
//! nothing.

mod deeds;
mod child;

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Where deeds are done.
#[derive(Clone, Debug)]
pub struct Canary {
    folders: Vec<PathBuf>,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Done {
    /// Hooks that it has gone through.
    pub hooks: BTreeSet<&'static str>,
    /// The program that was started for it.
    pub child: Option<u32>,
}

impl Canary {
    /// `folders` are made when they are needed; their content is the canary's.
    pub fn new(folders: Vec<PathBuf>) -> Self {
        Self { folders }
    }

    /// Its folders, as far as they could be made.
    pub fn folders(&self) -> Vec<PathBuf> {
        self.folders.iter().filter(|folder| make(folder).is_ok()).cloned().collect()
    }

    /// Does what these hooks hang on, as far as it can be done.
    pub fn act(&self, hooks: &BTreeSet<&'static str>) -> Done {
        let mut done = Done::default();
        for folder in &self.folders() {
            done.hooks.extend(deeds::all(folder, hooks));
        }
        done.hooks.extend(deeds::elsewhere());
        if let Some((pid, hooks)) = child::start() {
            done.child = Some(pid);
            done.hooks.extend(hooks);
        }
        done
    }
}

/// Nobody else can put anything there: it is this user's, and only this user may write or look into it.
fn make(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Not a link to somewhere else.
            let found = std::fs::symlink_metadata(folder)?;
            let own = found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o077 == 0;
            if found.is_dir() && own { Ok(()) } else { Err(error) }
        }
        made => made,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    #[test]
    fn what_is_done_leaves_nothing_behind() {
        let place = tempfile::tempdir().unwrap();
        let canary = Canary::new(vec![place.path().join("canary"), "/proc/canary".into()]);
        let wanted = ["vfs_unlink", "vfs_rename", "notify_change"];
        let done = canary.act(&wanted.into());
        for hook in wanted.into_iter().chain(["sched_process_exec", "sys_exit"]) {
            assert!(done.hooks.contains(hook), "{hook}: {done:?}");
        }
        assert!(!done.hooks.contains("vfs_mkdir"), "nobody wants it: {done:?}");
        assert_eq!(std::fs::read_dir(place.path().join("canary")).unwrap().count(), 0);
        assert!(done.child.is_some());
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_not_used() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("canary");
        DirBuilder::new().mode(0o777).create(&folder).unwrap();
        assert!(Canary::new(vec![folder]).folders().is_empty());
    }

    #[test]
    fn a_link_at_the_folders_place_is_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("canary");
        std::os::unix::fs::symlink("/tmp", &folder).unwrap();
        assert!(Canary::new(vec![folder]).folders().is_empty());
    }
}
