//! Paths as a policy writes them: `*` and `?` within one name, `**` for any number of names.

use std::fmt;
use std::path::PathBuf;

/// Longest path a policy may name: the kernel's own PATH_MAX.
const LENGTH: usize = 4096;

/// A path, or a glob over paths. Always absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    parts: Vec<Part>,
    /// A `**` at the end was written: what lies below, not the place itself.
    below: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Name(Vec<u8>),
    Wild(Vec<u8>),
    Deep,
}

/// How far down a pattern reaches; the greater one is the nearer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    depth: usize,
    literal: usize,
}

impl Pattern {
    /// Reads a path as it stands in a policy; the error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err(format!("\"{text}\" is not an absolute path: it must begin with /"));
        }
        if text.len() > LENGTH {
            return Err(format!("a path of {} bytes is longer than {LENGTH}", text.len()));
        }
        let parts = text.split('/').filter(|name| !name.is_empty()).map(|name| part(text, name));
        let mut parts = parts.collect::<Result<Vec<_>, _>>()?;
        parts.dedup_by(|later, earlier| *later == Part::Deep && *earlier == Part::Deep);
        let below = parts.last() == Some(&Part::Deep);
        if below {
            // What lies below needs one name more.
            parts.insert(parts.len() - 1, Part::Wild(b"*".to_vec()));
        }
        Ok(Self { parts, below })
    }

    /// Whether it is one path and not a glob.
    pub(super) fn is_plain(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Name(_)))
    }

    /// Whether it has a `**`.
    pub(super) fn is_deep(&self) -> bool {
        self.parts.contains(&Part::Deep)
    }

    /// The leading names without a glob, as a path.
    pub(super) fn fixed(&self) -> PathBuf {
        use std::os::unix::ffi::OsStringExt;
        PathBuf::from(std::ffi::OsString::from_vec(self.fixed_bytes()))
    }

    /// The same as bytes: `/` or `/a/b`.
    pub(super) fn fixed_bytes(&self) -> Vec<u8> {
        let mut path = Vec::new();
        for name in self.fixed_names() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        if path.is_empty() { b"/".to_vec() } else { path }
    }

    /// The pattern with its leading names replaced by those of `path`.
    pub(super) fn with_fixed(&self, path: &[u8]) -> Self {
        let rest = self.parts.iter().skip(self.fixed_names().count()).cloned();
        let head = names(path).into_iter().map(|name| Part::Name(name.to_vec()));
        Self { parts: head.chain(rest).collect(), below: self.below }
    }

    /// Whether it is exactly these names.
    pub(super) fn matches(&self, names: &[&[u8]]) -> bool {
        fits(&self.parts, names, false)
    }

    /// Whether it is these names or a directory above them.
    pub(super) fn covers(&self, names: &[&[u8]]) -> bool {
        fits(&self.parts, names, true)
    }

    /// Whether something strictly below `names` could match.
    pub(super) fn reaches_below(&self, names: &[&[u8]]) -> bool {
        let mut at = vec![0];
        for name in names {
            let mut next = Vec::new();
            for &state in &self.closure(&at) {
                match self.parts.get(state) {
                    Some(Part::Deep) => next.push(state),
                    Some(part) if part.fits(name) => next.push(state + 1),
                    _ => {}
                }
            }
            next.sort_unstable();
            next.dedup();
            at = next;
        }
        at.iter().any(|&state| state < self.parts.len())
    }

    /// How near it is: see [`Rank`].
    pub(super) fn rank(&self) -> Rank {
        let literal = self.parts.iter().filter(|part| matches!(part, Part::Name(_))).count();
        let wild = self.parts.iter().filter(|part| matches!(part, Part::Wild(_))).count();
        Rank { depth: literal + wild - usize::from(self.below), literal }
    }

    fn closure(&self, states: &[usize]) -> Vec<usize> {
        let mut all = states.to_vec();
        for &state in states {
            if self.parts.get(state) == Some(&Part::Deep) {
                all.push(state + 1);
            }
        }
        all
    }

    fn fixed_names(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.parts.iter().map_while(|part| match part {
            Part::Name(name) => Some(name),
            _ => None,
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = self.parts.len() - usize::from(self.below) * 2;
        if self.parts.is_empty() {
            return f.write_str("/");
        }
        for part in &self.parts[..written] {
            match part {
                Part::Name(name) | Part::Wild(name) => write!(f, "/{}", String::from_utf8_lossy(name))?,
                Part::Deep => f.write_str("/**")?,
            }
        }
        if self.below { f.write_str("/**") } else { Ok(()) }
    }
}

impl Part {
    fn fits(&self, name: &[u8]) -> bool {
        match self {
            Self::Name(own) => own == name,
            Self::Wild(glob) => glob_fits(glob, name),
            Self::Deep => true,
        }
    }
}

/// The names of a path, without the empty ones.
pub(super) fn names(path: &[u8]) -> Vec<&[u8]> {
    path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).collect()
}

fn part(path: &str, name: &str) -> Result<Part, String> {
    match name {
        "." | ".." => Err(format!("\"{path}\" has a `{name}` in it: write the path without")),
        "**" => Ok(Part::Deep),
        _ if name.contains("**") => {
            Err(format!("in \"{path}\" `**` must be a whole name, as in /etc/**; within a name write `*`"))
        }
        _ if name.contains(['[', ']', '{', '}', '\\']) => Err(format!(
            "in \"{path}\" only `*`, `?` and `**` are understood; write `?` for each of [ ] {{ }} \\"
        )),
        _ if name.contains('\0') => Err("a path cannot contain a NUL".to_owned()),
        _ if name.contains(['*', '?']) => Ok(Part::Wild(name.as_bytes().to_vec())),
        _ => Ok(Part::Name(name.as_bytes().to_vec())),
    }
}

/// Greedy with one step back: at most parts × names steps, whatever the input.
fn fits(parts: &[Part], names: &[&[u8]], open: bool) -> bool {
    let (mut part, mut name) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    loop {
        match parts.get(part) {
            None if open || name == names.len() => return true,
            Some(Part::Deep) => {
                back = Some((part + 1, name));
                part += 1;
                continue;
            }
            Some(own) if names.get(name).is_some_and(|name| own.fits(name)) => {
                part += 1;
                name += 1;
                continue;
            }
            _ => {}
        }
        match back {
            Some((again, from)) if from < names.len() => {
                back = Some((again, from + 1));
                part = again;
                name = from + 1;
            }
            _ => return false,
        }
    }
}

/// `*` any bytes, `?` one character; the same greedy walk.
pub(super) fn glob_fits(glob: &[u8], name: &[u8]) -> bool {
    let (mut at, mut byte) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    loop {
        match (glob.get(at), name.get(byte)) {
            (None, None) => return true,
            (Some(b'*'), _) => {
                back = Some((at + 1, byte));
                at += 1;
                continue;
            }
            (Some(b'?'), Some(_)) => {
                at += 1;
                byte += 1 + name[byte + 1..].iter().take_while(|&&next| next & 0xc0 == 0x80).count();
                continue;
            }
            (Some(own), Some(other)) if own == other => {
                at += 1;
                byte += 1;
                continue;
            }
            _ => {}
        }
        match back {
            Some((again, from)) if from < name.len() => {
                back = Some((again, from + 1));
                at = again;
                byte = from + 1;
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(&names(path.as_bytes()))
    }

    fn covers(pattern: &str, path: &str) -> bool {
        Pattern::parse(pattern).unwrap().covers(&names(path.as_bytes()))
    }

    #[test]
    fn a_star_stays_within_one_name_and_two_cross_names() {
        assert!(matches("/home/*/.ssh", "/home/bob/.ssh"));
        assert!(!matches("/home/*/.ssh", "/home/bob/x/.ssh"));
        assert!(matches("/etc/**/key", "/etc/key"));
        assert!(matches("/etc/**/key", "/etc/a/b/key"));
        assert!(!matches("/etc/**/key", "/etc/a/b/keys"));
        assert!(matches("/etc/**", "/etc/a/b"));
        assert!(!matches("/etc/**", "/etc"), "what lies below is not the place itself");
        assert!(matches("/etc/ssh_host_*", "/etc/ssh_host_"));
        assert!(matches("/x/caf?", "/x/café"));
        assert!(!matches("/x/caf?", "/x/caf"));
        assert!(matches("/", "/"));
    }

    #[test]
    fn a_plain_path_covers_its_subtree_and_not_its_neighbours() {
        assert!(covers("/etc", "/etc"));
        assert!(covers("/etc/", "/etc/a/b"));
        assert!(!covers("/etc", "/etcetera"));
        assert!(!covers("/etc/ssh", "/etc"));
        assert!(covers("/home/*/.ssh", "/home/bob/.ssh/id"));
        assert!(!covers("/home/*/.ssh", "/home/bob"));
        assert!(covers("/", "/anything"));
    }

    #[test]
    fn bad_paths_say_what_to_write_instead() {
        for (text, word) in [
            ("etc", "must begin with /"),
            ("/etc/../x", "`..`"),
            ("/a**b", "whole name"),
            ("/a/[ab]", "only `*`"),
            ("/a/{b,c}", "only `*`"),
        ] {
            let error = Pattern::parse(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn a_deeper_pattern_ranks_higher() {
        let rank = |text| Pattern::parse(text).unwrap().rank();
        assert!(rank("/home/*/.ssh") > rank("/home/bob"));
        assert!(rank("/home/bob/.ssh") > rank("/home/*/.ssh"));
        assert_eq!(rank("/usr/**"), rank("/usr"));
    }

    #[test]
    fn a_glob_reaches_below_only_where_it_can() {
        let reaches =
            |glob: &str, path: &str| Pattern::parse(glob).unwrap().reaches_below(&names(path.as_bytes()));
        assert!(reaches("/home/*/.ssh", "/home/bob"));
        assert!(!reaches("/home/*/.ssh", "/home/bob/.ssh"));
        assert!(!reaches("/home/*/.ssh", "/var"));
        assert!(reaches("/var/**/secret", "/var/lib/x"));
        assert!(reaches("/var/**", "/var/lib"));
    }

    #[test]
    fn a_pattern_prints_as_it_was_written() {
        for text in ["/", "/etc", "/home/*/.ssh", "/etc/**", "/etc/**/key", "/a/?b"] {
            assert_eq!(Pattern::parse(text).unwrap().to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn a_plain_path_matches_itself_and_only_itself(
            path in "(/[a-c]{1,3}){1,5}", other in "(/[a-c]{1,3}){1,5}",
        ) {
            let pattern = Pattern::parse(&path).unwrap();
            prop_assert!(pattern.matches(&names(path.as_bytes())));
            prop_assert_eq!(pattern.matches(&names(other.as_bytes())), path == other);
            prop_assert_eq!(pattern.fixed_bytes(), path.into_bytes());
        }

        #[test]
        fn a_glob_agrees_with_a_slow_recursive_one(glob in "[ab*?]{0,6}", name in "[ab]{0,6}") {
            fn slow(glob: &[u8], name: &[u8]) -> bool {
                match (glob.first(), name.first()) {
                    (None, None) => true,
                    (Some(b'*'), _) => slow(&glob[1..], name) || (!name.is_empty() && slow(glob, &name[1..])),
                    (Some(b'?'), Some(_)) => slow(&glob[1..], &name[1..]),
                    (Some(a), Some(b)) if a == b => slow(&glob[1..], &name[1..]),
                    _ => false,
                }
            }
            prop_assert_eq!(glob_fits(glob.as_bytes(), name.as_bytes()), slow(glob.as_bytes(), name.as_bytes()));
        }
    }
}
