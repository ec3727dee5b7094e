//! The roots that the kernel's filter gets. It may drop only what is surely mutable.
//!
//! In the kernel the nearest marked ancestor decides, by inode. So a place that cannot be marked (a glob, a
//! path that does not exist yet) must not lie under a mutable mark: its nearest existing ancestor is marked
//! `Keep`, and what happens there is judged in user space.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::host::{Host, anchor};
use super::pattern::names;
use super::places::{Class, Place, Places};

pub use crate::sensor::{Mark, MarkClass};

/// The marks of a policy on a host, by path.
pub(super) fn marks(places: &Places, host: &dyn Host) -> Vec<Mark> {
    let mut marks = BTreeMap::<PathBuf, MarkClass>::new();
    for place in places.iter().filter(|place| place.pattern.is_plain()) {
        if let Some((path, class)) = plain(place, places, host) {
            let mark = marks.entry(path).or_insert(class);
            *mark = (*mark).max(class);
        }
    }
    for place in places.iter().filter(|place| matches!(place.class, Class::Protect(_))) {
        let fixed = place.pattern.fixed();
        let (above, missing) = anchor(host, &fixed);
        let unmarkable =
            !place.pattern.is_plain() || (!missing.as_os_str().is_empty() && !host.exists(&fixed));
        if unmarkable && nearest(&marks, &above) == Some(MarkClass::Mutable) {
            marks.insert(above, MarkClass::Keep);
        }
    }
    marks.into_iter().map(|(path, class)| Mark { path, class }).collect()
}

fn plain(place: &Place, places: &Places, host: &dyn Host) -> Option<(PathBuf, MarkClass)> {
    let path = place.pattern.fixed();
    let itself = host.resolve(&path).as_deref() == Some(&path);
    match place.class {
        Class::Protect(_) if itself || is_link(&path, host) => Some((path, MarkClass::Protect)),
        // A mutable link is no root: what is below it is elsewhere, and marked there if it may be.
        Class::Mutable if itself => {
            let covers_glob = places.iter().any(|other| {
                matches!(other.class, Class::Protect(_))
                    && !other.pattern.is_plain()
                    && other.pattern.reaches_below(&names(path.as_os_str().as_bytes()))
            });
            let class = if covers_glob { MarkClass::Keep } else { MarkClass::Mutable };
            Some((path, class))
        }
        _ => None,
    }
}

/// A symbolic link in a directory that is named without one.
fn is_link(path: &Path, host: &dyn Host) -> bool {
    let above = path.parent().unwrap_or(path);
    host.exists(path) && host.resolve(above).as_deref() == Some(above)
}

fn nearest(marks: &BTreeMap<PathBuf, MarkClass>, path: &Path) -> Option<MarkClass> {
    path.ancestors().find_map(|ancestor| marks.get(ancestor)).copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::host::fake::FakeHost;
    use super::super::places::tests::places;
    use super::*;

    fn made(protect: &[&str], mutable: &[&str], host: &[&str]) -> Vec<String> {
        let host = FakeHost::new(host);
        let (places, _) = places(protect, mutable, &host);
        marks(&places, &host).iter().map(|mark| format!("{} {:?}", mark.path.display(), mark.class)).collect()
    }

    #[test]
    fn existing_plain_paths_get_their_class_however_they_nest() {
        assert_eq!(
            made(&["/etc", "/var/lib/app"], &["/var", "/etc/mtab.d"], &["/etc/mtab.d", "/var/lib/app"]),
            ["/etc Protect", "/etc/mtab.d Mutable", "/var Mutable", "/var/lib/app Protect"]
        );
    }

    #[test]
    fn a_protected_path_that_does_not_exist_keeps_its_nearest_existing_ancestor() {
        assert_eq!(
            made(&["/var/spool/cron"], &["/var"], &["/var/spool"]),
            ["/var Mutable", "/var/spool Keep"]
        );
        assert_eq!(made(&["/var/spool/cron"], &["/var"], &["/var"]), ["/var Keep"]);
        assert_eq!(made(&["/srv/www"], &["/var"], &["/var", "/srv"]), ["/var Mutable"]);
    }

    #[test]
    fn a_protected_glob_keeps_the_directory_it_begins_in_and_every_mutable_place_it_reaches() {
        assert_eq!(
            made(
                &["/home/*/.ssh"],
                &["/", "/home/bob", "/home/eve/.ssh/cache"],
                &["/home/bob", "/home/eve/.ssh/cache"]
            ),
            ["/ Keep", "/home/bob Keep", "/home/eve/.ssh/cache Mutable"]
        );
        assert_eq!(made(&["/home/*/.ssh"], &["/home"], &["/home"]), ["/home Keep"]);
    }

    #[test]
    fn a_mutable_glob_or_a_missing_mutable_path_is_left_to_user_space() {
        assert_eq!(made(&["/etc"], &["/etc/*.log", "/etc/none"], &["/etc"]), ["/etc Protect"]);
    }

    #[test]
    fn links_are_followed_and_a_protected_link_is_marked_itself() {
        assert_eq!(
            made(
                &["/bin"],
                &["/var/run"],
                &["/usr/bin", "/bin -> /usr/bin", "/run", "/var", "/var/run -> /run"]
            ),
            ["/bin Protect", "/run Mutable", "/usr/bin Protect"]
        );
    }

    #[test]
    fn one_path_both_protected_and_mutable_is_protected() {
        assert_eq!(made(&["/etc"], &["/etc"], &["/etc"]), ["/etc Protect"]);
    }

    proptest! {
        #[test]
        fn the_kernel_never_drops_what_user_space_would_protect(
            protect in prop::collection::vec("(/[ab*]){1,4}|(/[ab]){1,2}/\\*\\*(/[ab])?", 1..4),
            mutable in prop::collection::vec("(/[ab]){0,3}/?", 1..4),
            present in prop::collection::vec("(/[ab]){1,4}", 1..6),
            path in "(/[ab]){1,5}",
        ) {
            let host = FakeHost::new(&present.iter().map(String::as_str).collect::<Vec<_>>());
            let mutable = mutable.iter().map(|path| if path.is_empty() { "/" } else { path }).collect::<Vec<_>>();
            let (places, _) = places(&protect.iter().map(String::as_str).collect::<Vec<_>>(), &mutable, &host);
            let marks = marks(&places, &host).into_iter().map(|mark| (mark.path, mark.class)).collect();
            let protected = places.nearest(path.as_bytes()).is_some_and(|place| place.class != Class::Mutable);
            if protected {
                prop_assert_ne!(nearest(&marks, Path::new(&path)), Some(MarkClass::Mutable), "{:?}", marks);
            }
        }
    }
}
