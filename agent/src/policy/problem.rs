//! What is wrong with a policy, and where.

use std::fmt;
use std::path::PathBuf;

/// Problems listed of one file: a person repairs a screenful at a time; the rest is counted.
pub(super) const LISTED: usize = 50;

/// One thing wrong with a policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The key as it would be written from the top: `allow.write.paths`; "" for a syntax error.
    pub key: String,
    /// What is wrong, and what is allowed.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Why a policy was not loaded. Always the operator's to repair.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file cannot be read.
    #[error("cannot read the policy {}; name an existing file, readable by root", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is too large to be a policy.
    #[error("the policy {} is larger than {limit} bytes; split what is not policy from it", path.display())]
    Large {
        /// The file.
        path: PathBuf,
        /// The bound.
        limit: usize,
    },
    /// The file is not text.
    #[error("the policy {} is not UTF-8 text (byte {offset})", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// The first byte that is not.
        offset: usize,
    },
    /// The file says things that a policy cannot say.
    #[error("{}", listed(path, problems, *more))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// In the order of the file.
        problems: Vec<Problem>,
        /// How many were found beyond those listed.
        more: usize,
    },
}

fn listed(path: &std::path::Path, problems: &[Problem], more: usize) -> String {
    let mut lines =
        problems.iter().map(|problem| format!("{}:{problem}", path.display())).collect::<Vec<_>>();
    if more > 0 {
        lines.push(format!("{}: and {more} more", path.display()));
    }
    lines.join("\n")
}
