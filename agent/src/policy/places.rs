//! Which place of the policy a path lies in: the nearest `protect` or `mutable` decides.

use std::cell::OnceCell;
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;

use graven_record::shared::Shared;
use graven_record::v1::{Severity, Verdict};

use super::certainty::Certainty;
use super::document::{Mutable, Protect};
use super::host::{Host, anchor};
use super::pattern::{Pattern, Rank, names};
use crate::quick::QuickMap;

/// Kinds of [`Certainty`].
const CERTAINTIES: usize = Certainty::Refused as usize + 1;

/// What a place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// A change is a violation of this severity.
    Protect(Severity),
    /// Changes by design.
    Mutable,
}

/// One path of one entry, as written or with its symbolic links followed.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) pattern: Pattern,
    pub(super) class: Class,
    pub(super) rule: String,
    /// What is said of changes of it, by [`Certainty`]: the policy's mode and the place are the same each time.
    said: [OnceLock<Shared<Verdict>>; CERTAINTIES],
    /// One path, so that its leading names are all of it.
    is_plain: bool,
    /// The greatest is the nearest; of two equally near, the protected and the more severe one.
    weight: (Rank, i32),
}

impl Place {
    fn new(pattern: Pattern, class: Class, rule: &str) -> Self {
        let (is_plain, weight) = (pattern.is_plain(), (pattern.rank(), strictness(class)));
        Self { pattern, class, rule: rule.to_owned(), said: Default::default(), is_plain, weight }
    }

    /// Why a change of it is a violation.
    pub(super) fn reason(&self) -> String {
        format!("{} is protected and no allow.write covers this path and writer", self.pattern)
    }

    /// What a change that is so sure comes to: `verdict` is asked the first time.
    pub(super) fn says(&self, certainty: Certainty, verdict: impl FnOnce() -> Verdict) -> Shared<Verdict> {
        match self.said.get(certainty as usize) {
            Some(said) => said.get_or_init(|| verdict().into()).clone(),
            None => verdict().into(),
        }
    }
}

/// All places of a policy.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    places: Vec<Place>,
    index: Index,
}

/// Patterns by their leading names: a look-up costs one hash per name of the path, and none where no pattern is so long,
/// whatever the policy's size.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    by_prefix: QuickMap<Vec<u8>, Vec<usize>>,
    /// Bytes of the leading names, each number once, in order.
    lengths: Vec<usize>,
}

impl Index {
    pub(super) fn insert(&mut self, pattern: &Pattern, id: usize) {
        let prefix = pattern.fixed_bytes();
        if let Err(at) = self.lengths.binary_search(&prefix.len()) {
            self.lengths.insert(at, prefix.len());
        }
        self.by_prefix.entry(prefix).or_default().push(id);
    }

    /// The patterns with the same leading names.
    fn bucket(&self, pattern: &Pattern) -> &[usize] {
        self.by_prefix.get(&pattern.fixed_bytes()).map_or(&[], Vec::as_slice)
    }

    /// The patterns whose leading names are those of `path`.
    pub(super) fn candidates<'a>(&'a self, path: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
        let lengths = self.lengths.iter().take_while(|length| **length <= path.len());
        let prefixes = lengths.filter_map(|&length| {
            let ends = length == 1 || path.get(length).is_none_or(|byte| *byte == b'/');
            ends.then_some(&path[..length])
        });
        prefixes.filter_map(|prefix| self.by_prefix.get(prefix)).flatten().copied()
    }
}

impl Places {
    /// Follows symbolic links of what exists. A mutable path that is a link into a protected place stays
    /// what it is, a link: who can place one must not be able to open a hole.
    pub(super) fn new(
        protect: &[Protect],
        mutable: &[Mutable],
        host: &dyn Host,
        warnings: &mut Vec<String>,
    ) -> Self {
        let mut places = Self::default();
        for entry in protect {
            for pattern in entry.paths.iter().flat_map(|pattern| variants(pattern, host)) {
                places.push(Place::new(pattern, Class::Protect(entry.severity), &entry.name));
            }
        }
        for entry in mutable {
            for written in &entry.paths {
                for pattern in variants(written, host) {
                    let fixed = pattern.fixed_bytes();
                    let inside = (pattern != *written).then(|| places.nearest(&fixed)).flatten();
                    if let Some(place) = inside.filter(|place| matches!(place.class, Class::Protect(_))) {
                        warnings.push(format!(
                            "mutable \"{}\": {written} leads into {pattern}, which \"{}\" protects; it stays protected",
                            entry.name, place.rule
                        ));
                        continue;
                    }
                    places.push(Place::new(pattern, Class::Mutable, &entry.name));
                }
            }
        }
        places
    }

    fn push(&mut self, place: Place) {
        let same = |other: &Place| other.pattern == place.pattern && other.class == place.class;
        if self.index.bucket(&place.pattern).iter().filter_map(|id| self.places.get(*id)).any(same) {
            return;
        }
        self.index.insert(&place.pattern, self.places.len());
        self.places.push(place);
    }

    /// The nearest place that a path lies in.
    pub(super) fn nearest(&self, path: &[u8]) -> Option<&Place> {
        let parts = OnceCell::new();
        self.index
            .candidates(path)
            .filter_map(|id| self.places.get(id))
            .filter(|place| place.is_plain || place.pattern.covers(parts.get_or_init(|| names(path))))
            .max_by_key(|place| place.weight)
    }

    /// A protected place that moves when the directory `path` moves.
    pub(super) fn protected_below(&self, path: &[u8]) -> Option<&Place> {
        let parts = names(path);
        self.places
            .iter()
            .filter(|place| matches!(place.class, Class::Protect(_)) && !place.pattern.is_deep())
            .find(|place| place.pattern.reaches_below(&parts))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Place> {
        self.places.iter()
    }
}

/// The pattern as written, and with the symbolic links of its leading names followed where that differs.
pub(super) fn variants(pattern: &Pattern, host: &dyn Host) -> Vec<Pattern> {
    let (real, missing) = anchor(host, &pattern.fixed());
    let real = pattern.with_fixed(real.join(missing).as_os_str().as_bytes());
    if real == *pattern { vec![real] } else { vec![pattern.clone(), real] }
}

fn strictness(class: Class) -> i32 {
    match class {
        Class::Mutable => 0,
        Class::Protect(severity) => severity as i32,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
pub(super) mod tests {
    use super::super::host::fake::FakeHost;
    use super::*;

    pub(crate) fn places(protect: &[&str], mutable: &[&str], host: &FakeHost) -> (Places, Vec<String>) {
        let patterns = |paths: &[&str]| paths.iter().map(|path| Pattern::parse(path).unwrap()).collect();
        let protect = [Protect { name: "p".to_owned(), paths: patterns(protect), severity: Severity::High }];
        let mutable = [Mutable { name: "m".to_owned(), paths: patterns(mutable) }];
        let mut warnings = Vec::new();
        (Places::new(&protect, &mutable, host, &mut warnings), warnings)
    }

    fn class(places: &Places, path: &str) -> Option<Class> {
        places.nearest(path.as_bytes()).map(|place| place.class)
    }

    const PROTECT: Option<Class> = Some(Class::Protect(Severity::High));
    const MUTABLE: Option<Class> = Some(Class::Mutable);

    #[test]
    fn the_nearest_place_decides_either_way() {
        let host = FakeHost::new(&["/var/lib/app/data"]);
        let (places, _) =
            places(&["/var/lib", "/home/*/.ssh"], &["/var", "/var/lib/app/data", "/home"], &host);
        assert_eq!(class(&places, "/var/log/x"), MUTABLE);
        assert_eq!(class(&places, "/var/lib"), PROTECT);
        assert_eq!(class(&places, "/var/lib/app/conf"), PROTECT);
        assert_eq!(class(&places, "/var/lib/app/data/x"), MUTABLE);
        assert_eq!(class(&places, "/home/bob/.ssh/authorized_keys"), PROTECT);
        assert_eq!(class(&places, "/home/bob/.sshx"), MUTABLE);
        assert_eq!(class(&places, "/srv"), None);
        assert_eq!(class(&places, "fs:8:1:/var/lib"), None);
        assert_eq!(class(&places, ""), None);
    }

    #[test]
    fn of_two_equal_paths_the_protected_one_wins() {
        let (places, _) = places(&["/etc"], &["/etc"], &FakeHost::new(&["/etc"]));
        assert_eq!(class(&places, "/etc/x"), PROTECT);
    }

    #[test]
    fn a_link_named_by_the_policy_is_protected_and_so_is_where_it_leads() {
        let host = FakeHost::new(&["/usr/bin/ls", "/bin -> /usr/bin"]);
        let (places, _) = places(&["/bin"], &["/usr"], &host);
        assert_eq!(class(&places, "/bin"), PROTECT);
        assert_eq!(class(&places, "/usr/bin/ls"), PROTECT);
        assert_eq!(class(&places, "/usr/share"), MUTABLE);
    }

    #[test]
    fn a_mutable_link_into_a_protected_place_opens_no_hole() {
        let host = FakeHost::new(&["/etc/ssh", "/var/tmp", "/var/tmp/x -> /etc/ssh"]);
        let (places, warnings) = places(&["/etc"], &["/var/tmp/x"], &host);
        assert_eq!(class(&places, "/etc/ssh/sshd_config"), PROTECT);
        assert!(warnings[0].contains("leads into /etc/ssh"), "{warnings:?}");
    }

    #[test]
    fn a_directory_above_a_protected_place_is_known() {
        let (places, _) = places(&["/srv/www", "/home/*/.ssh", "/x/**"], &[], &FakeHost::default());
        assert!(places.protected_below(b"/srv").is_some());
        assert!(places.protected_below(b"/home/bob").is_some());
        assert!(places.protected_below(b"/srv/www").is_none());
        assert!(places.protected_below(b"/opt").is_none());
    }
}
