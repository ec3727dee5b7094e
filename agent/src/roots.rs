//! Which roots the kernel's filter gets: the policy's, those of the mounts below them, and the agent's own.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::attribute::{Host, ThisHost, mount_points, seen_twice};
use crate::policy::Policy;
use crate::sensor::{Mark, MarkClass, Sensor, Wanted, above, with_mounts};

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
    fn wanted(&mut self, policy: &Policy) -> io::Result<Wanted> {
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
        drop_nothing(&mut above, |path| self.all || twice(path));
        Ok(Wanted { roots: marks, above, anew: false })
    }

    /// Gives the sensor the marks as the host is now, and says what has none.
    pub fn mark(&mut self, policy: &Policy, sensor: &mut Sensor) -> anyhow::Result<()> {
        self.mark_for(policy, sensor, false)
    }

    /// The same when the policy is another one than before.
    pub fn mark_anew(&mut self, policy: &Policy, sensor: &mut Sensor) -> anyhow::Result<()> {
        self.mark_for(policy, sensor, true)
    }

    fn mark_for(&mut self, policy: &Policy, sensor: &mut Sensor, anew: bool) -> anyhow::Result<()> {
        let wanted = self.wanted(policy).context("cannot read the mount table")?;
        let wanted = Wanted { anew, ..wanted };
        let left_out = sensor.mark(&wanted)?;
        if left_out > 0 {
            tracing::warn!(
                "{left_out} directories above the policy's places cannot be watched: if one of them is renamed, what is \
                 put at such a place is protected only from the next mount on; name fewer places, or raise \
                 fs.inotify.max_user_watches"
            );
        }
        Ok(())
    }

    /// Has anything been mounted or unmounted since [`Self::wanted`]? Compares some ten KiB.
    pub fn mounts_changed(&self) -> bool {
        // Unreadable for once: the marks stand, and the next look asks again.
        ThisHost::default().mountinfo().is_ok_and(|now| now != self.mountinfo)
    }
}

/// The directories above roots are marked to be seen moving: where nothing may be left out because of them, what lies below
/// is told to user space.
fn drop_nothing(above: &mut [Mark], whole: impl Fn(&Path) -> bool) {
    for mark in above.iter_mut().filter(|mark| mark.class == MarkClass::Mutable && whole(&mark.path)) {
        mark.class = MarkClass::Keep;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_everything_is_asked_for_no_directory_above_a_root_is_left_out() {
        let marks =
            [("/opt", MarkClass::Mutable), ("/opt/app", MarkClass::Mutable), ("/a", MarkClass::Protect)]
                .map(|(path, class)| Mark { path: path.into(), class });
        let classes = |whole: fn(&Path) -> bool| {
            let mut above = marks.clone();
            drop_nothing(&mut above, whole);
            above.map(|mark| mark.class)
        };
        let (kept, mutable, protected) = (MarkClass::Keep, MarkClass::Mutable, MarkClass::Protect);
        assert_eq!(classes(|_| true), [kept, kept, protected]);
        assert_eq!(classes(|path| path == Path::new("/opt")), [kept, mutable, protected]);
    }
}
