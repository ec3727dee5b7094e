//! Paths as an operator names them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};

/// A glob, or a plain path that means itself and everything below it.
#[derive(Clone, Debug)]
pub struct PathPattern(Vec<GlobMatcher>);

/// The pattern is no glob.
#[derive(Debug, thiserror::Error)]
#[error("--path {text:?} is not a glob (*, **, ?, [a-z], {{a,b}})")]
pub struct PatternError {
    text: String,
    #[source]
    source: globset::Error,
}

impl PathPattern {
    /// `*` stays within a directory, `**` does not.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let wrong = |source| PatternError { text: text.to_owned(), source };
        let matcher = |glob: &str| {
            GlobBuilder::new(glob)
                .literal_separator(true)
                .backslash_escape(true)
                .build()
                .map(|g| g.compile_matcher())
        };
        let plain = !text.contains(['*', '?', '[', '{', '\\']);
        let below = format!("{}/**", text.trim_end_matches('/'));
        let globs = if plain { vec![text, &below] } else { vec![text] };
        globs.into_iter().map(matcher).collect::<Result<_, _>>().map(Self).map_err(wrong)
    }

    /// Paths are bytes; they need not be text.
    pub fn matches(&self, path: &[u8]) -> bool {
        !path.is_empty() && self.0.iter().any(|glob| glob.is_match(Path::new(OsStr::from_bytes(path))))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    #[test]
    fn a_plain_path_means_itself_and_everything_below() {
        let etc = PathPattern::new("/etc").unwrap();
        assert!(etc.matches(b"/etc") && etc.matches(b"/etc/ssh/sshd_config"));
        assert!(!etc.matches(b"/etcetera") && !etc.matches(b""));
    }

    #[test]
    fn a_star_stays_in_its_directory_and_two_do_not() {
        assert!(PathPattern::new("/etc/*").unwrap().matches(b"/etc/motd"));
        assert!(!PathPattern::new("/etc/*").unwrap().matches(b"/etc/ssh/x"));
        assert!(PathPattern::new("/etc/**").unwrap().matches(b"/etc/ssh/x"));
    }

    #[test]
    fn bytes_that_are_not_text_match_too() {
        assert!(PathPattern::new("/tmp/*").unwrap().matches(b"/tmp/\xff\x1b"));
    }

    #[test]
    fn a_broken_glob_is_named() {
        assert!(PathPattern::new("/etc/[").unwrap_err().to_string().contains("/etc/["));
    }
}
