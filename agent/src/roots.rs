//! Which roots the kernel's filter gets: the policy's, those of the mounts below them, and the spool.

use std::path::{Path, PathBuf};

use crate::attribute::Attribution;
use crate::policy::Policy;
use crate::sensor::{Mark, MarkClass, with_mounts};

/// The marks as the host is now. `own` are the agent's own directories, which are ignored by inode: what it
/// writes there would otherwise be a reason to write more. `all` gives the kernel nothing to drop but those.
pub fn wanted(policy: &Policy, attribution: &Attribution, own: &[PathBuf], all: bool) -> Vec<Mark> {
    let of_policy = policy.marks();
    let mounts: Vec<PathBuf> = attribution.mount_points();
    let mut marks = with_mounts(of_policy, mounts.iter().map(PathBuf::as_path));
    if all {
        marks.retain(|mark| mark.class != MarkClass::Mutable);
    }
    marks.retain(|mark| !own.iter().any(|path| path == &mark.path));
    marks.extend(own.iter().map(|path: &PathBuf| Mark { path: Path::to_path_buf(path), class: MarkClass::Mutable }));
    marks
}
