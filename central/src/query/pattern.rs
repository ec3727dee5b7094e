//! Paths as an operator names them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};

/// A glob, or a plain path that means itself and everything below it.
#[derive(Clone, Debug)]
pub struct PathPattern(Vec<GlobMatcher>);

/// Longest pattern: as long as the longest path the kernel takes.
const MAX_LENGTH: usize = 4_096;
/// Deepest `{a,{b,c}}`: the glob's compiler calls itself for each level.
const MAX_NESTING: usize = 16;

/// The pattern is no glob.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    /// Not a glob.
    #[error("--path {text:?} is not a glob (*, **, ?, [a-z], {{a,b}})")]
    Glob {
        /// What was typed.
        text: String,
        /// Why not.
        #[source]
        source: globset::Error,
    },
    /// It would match nothing.
    #[error("--path is empty: give a path such as /etc or a glob such as /etc/*.conf")]
    Empty,
    /// Too much of it.
    #[error(
        "--path is too long or nested too deeply: give at most {MAX_LENGTH} bytes and {MAX_NESTING} levels of {{}}"
    )]
    TooMuch,
}

impl PathPattern {
    /// `*` stays within a directory, `**` does not.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > MAX_LENGTH || nesting(text) > MAX_NESTING {
            return Err(PatternError::TooMuch);
        }
        let wrong = |source| PatternError::Glob { text: text.to_owned(), source };
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

/// How deep the braces go, whether or not they are closed or meant as such.
fn nesting(text: &str) -> usize {
    let deepest = text.bytes().scan(0_usize, |depth, byte| {
        match byte {
            b'{' => *depth += 1,
            b'}' => *depth = depth.saturating_sub(1),
            _ => {}
        }
        Some(*depth)
    });
    deepest.max().unwrap_or(0)
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

    #[test]
    fn what_is_empty_or_too_deep_is_refused_before_it_is_compiled() {
        assert!(matches!(PathPattern::new(""), Err(PatternError::Empty)));
        let deep = |levels: usize| format!("{}a{}", "{".repeat(levels), "}".repeat(levels));
        assert!(matches!(PathPattern::new(&deep(250)), Err(PatternError::TooMuch)));
        assert!(matches!(PathPattern::new(&"a".repeat(MAX_LENGTH + 1)), Err(PatternError::TooMuch)));
        assert!(PathPattern::new("/etc/{a,{b,c}}").unwrap().matches(b"/etc/c"));
        // As the compiler takes it, or not: without a panic.
        let _ = PathPattern::new(&deep(MAX_NESTING));
    }
}
