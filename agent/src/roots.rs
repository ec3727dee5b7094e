//! Which roots the kernel's filter gets: the policy's, those of the mounts below them, and the agent's own.

use std::io;
use std::path::PathBuf;

use crate::attribute::{Host, ThisHost, mount_points, seen_twice};
use crate::policy::Policy;
use crate::sensor::{Mark, MarkClass, with_ancestors, with_mounts};

/// Knows the mounts that the marks were made for.
#[derive(Debug)]
pub struct Roots {
    /// The agent's own directories are ignored by inode: what it writes there would be a reason to write more.
    own: Vec<PathBuf>,
    /// Nothing is mutable: everything is sent.
    all: bool,
    mountinfo: Vec<u8>,
}

impl Roots {
    /// `own`: directories of the agent itself. `all`: give the kernel nothing else to drop.
    pub fn new(own: Vec<PathBuf>, all: bool) -> Self {
        Self { own, all, mountinfo: Vec::new() }
    }

    /// The marks as the host is now.
    pub fn wanted(&mut self, policy: &Policy) -> io::Result<Vec<Mark>> {
        self.mountinfo = ThisHost::default().mountinfo()?;
        let mounts = mount_points(&self.mountinfo);
        let mut marks = with_mounts(with_ancestors(policy.marks()), mounts.iter().map(PathBuf::as_path));
        marks.retain(|mark| !self.own.contains(&mark.path));
        if self.all {
            marks.retain(|mark| mark.class != MarkClass::Mutable);
        }
        // Marks hold for inodes: one at a bind mount would hide the same files at their other place.
        let twice = seen_twice(&self.mountinfo);
        marks.retain(|mark| mark.class != MarkClass::Mutable || !twice(&mark.path));
        let own = self.own.iter().map(|path| Mark { path: path.clone(), class: MarkClass::Mutable });
        marks.extend(own);
        Ok(marks)
    }

    /// Has anything been mounted or unmounted since [`Self::wanted`]? Compares some ten KiB.
    pub fn mounts_changed(&self) -> bool {
        // Unreadable for once: the marks stand, and the next look asks again.
        ThisHost::default().mountinfo().is_ok_and(|now| now != self.mountinfo)
    }
}
