//! Which roots the kernel's filter gets: the policy's, those of the mounts below them, and the agent's own.

use std::io;
use std::path::PathBuf;

use crate::attribute::{Host, ThisHost, mount_points, seen_twice};
use crate::policy::Policy;
use crate::sensor::{Mark, MarkClass, Wanted, above, with_mounts};

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
    pub fn wanted(&mut self, policy: &Policy) -> io::Result<Wanted> {
        self.mountinfo = ThisHost::default().mountinfo()?;
        let mounts = mount_points(&self.mountinfo);
        let roots = policy.marks();
        let mut above = above(&roots);
        let mut marks = with_mounts(roots, mounts.iter().map(PathBuf::as_path));
        marks.retain(|mark| !self.own.contains(&mark.path));
        if self.all {
            marks.retain(|mark| mark.class != MarkClass::Mutable);
        }
        // Marks hold for inodes: one at a bind mount would hide the same files at their other place.
        let twice = seen_twice(&self.mountinfo);
        marks.retain(|mark| mark.class != MarkClass::Mutable || !twice(&mark.path));
        let own = self.own.iter().map(|path| Mark { path: path.clone(), class: MarkClass::Mutable });
        marks.extend(own);
        for mark in above.iter_mut().filter(|mark| mark.class == MarkClass::Mutable && twice(&mark.path)) {
            // It is there to be seen moving; what lies below it is told to user space.
            mark.class = MarkClass::Keep;
        }
        Ok(Wanted { roots: marks, above })
    }

    /// Has anything been mounted or unmounted since [`Self::wanted`]? Compares some ten KiB.
    pub fn mounts_changed(&self) -> bool {
        // Unreadable for once: the marks stand, and the next look asks again.
        ThisHost::default().mountinfo().is_ok_and(|now| now != self.mountinfo)
    }
}

/// Says how many directories above roots have no mark.
pub fn warn(left_out: usize) {
    if left_out > 0 {
        tracing::warn!(
            "{left_out} directories above the policy's places cannot be watched: if one of them is renamed, what is put at \
             such a place is protected only from the next mount on; name fewer places, or raise fs.inotify.max_user_watches"
        );
    }
}
