//! Whether the policy expects what was seen.
//!
//! In: [`Attributed`](crate::attribute::Attributed) events, and one TOML file. Out: [`Judged`] records, and
//! the [`Mark`]s that tell the kernel's filter where nothing needs to be sent.
//!
//! Always: every event comes out again, with the rule that decided it and one sentence why. The nearest
//! `protect` or `mutable` path decides about a file; of two equally near ones, `protect`. A plain path there
//! covers its subtree; in `allow.write` and `exec.allow` it is that path only, and `/dir/**` is what is below.
//! All names of a file count (bind mounts), and both sides of a rename; the worst one is the verdict. Moving
//! a directory with a protected place in it counts as changing that place.
//!
//! What runs: `exec.allow` first, by exact program (and parent). Then `deny_from`: a hit is an alert of the
//! severity in `[exec] otherwise`, exactly as written ("high" when it is not). There is no list of the
//! image's programs yet, so everything outside `deny_from` counts as part of it and is logged. A script is
//! judged by the program that runs it: where the script itself lies is not looked at yet.
//!
//! Refused attempts in protected places are alerts of the same severity. `mode = "learn"` turns the policy's
//! alerts into logs and says so; the logger's own alerts stay.
//!
//! Lanes: alerts, changes of protected places and the logger's own records go into `protected`, the rest
//! into `activity`.
//!
//! Never: blocks anything, looks at the host while it judges, guesses what a misspelt key meant. It reads
//! the host's names and image identity once, when a policy is loaded (`host.rs`), and follows the symbolic
//! links that the policy names. A mutable link into a protected place does not make that place mutable.
//!
//! Fails: a policy with any problem is refused whole, with every problem's line, column, key and remedy.

mod problem;
mod reader;
mod pattern;
mod document;
mod host;
mod image;
mod places;
mod marks;
mod rules;
mod program;
mod kernel;
mod disks;
mod certainty;
mod judge;
mod fold;

use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use graven_record::id::Lane;
use graven_record::v1;
use sha2::{Digest, Sha256};

use places::Class;

pub use document::Mode;
pub use fold::Refusals;
pub use host::{Host, ThisHost};
pub use judge::{expected, judge, own};
pub use marks::{Mark, MarkClass};
pub use problem::{PolicyError, Problem};

/// Bytes of a policy file: a policy of 4,096 paths has some 300 KiB.
const LIMIT: usize = 1 << 20;

/// The policy of a host that has none yet.
const DEFAULT: &str = include_str!("default.toml");

/// A record with its verdict, not yet numbered nor dated.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// `sequence` and `time` are 0 until it is sealed.
    pub record: Box<v1::Record>,
    /// The stream that it goes into.
    pub lane: Lane,
    /// Values for private entries; `Process.arguments` is 1 + an index into them.
    pub private: Vec<Bytes>,
}

/// A policy as it holds on this host.
#[derive(Clone, Debug)]
pub struct Policy {
    about: v1::Policy,
    owner: String,
    mode: Mode,
    image: v1::Image,
    mismatch: Option<String>,
    places: places::Places,
    allowed: rules::Allowed,
    exec: rules::ExecRules,
    disks: disks::Disks,
    warnings: Vec<String>,
}

impl Policy {
    /// Reads a policy file.
    pub fn load(path: &Path, trust: v1::Trust) -> Result<Self, PolicyError> {
        let read = |source| PolicyError::Read { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(read)?;
        file.take(LIMIT as u64 + 1).read_to_end(&mut bytes).map_err(read)?;
        Self::parse(&bytes, path, trust, &ThisHost)
    }

    /// The policy that is built into the agent.
    pub fn embedded() -> Result<Self, PolicyError> {
        Self::parse(DEFAULT.as_bytes(), Path::new("(built-in policy)"), v1::Trust::Image, &ThisHost)
    }

    /// Reads a policy's bytes; `path` is only for messages.
    pub fn parse(bytes: &[u8], path: &Path, trust: v1::Trust, host: &dyn Host) -> Result<Self, PolicyError> {
        if bytes.len() > LIMIT {
            return Err(PolicyError::Large { path: path.to_owned(), limit: LIMIT });
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|error| PolicyError::Text { path: path.to_owned(), offset: error.valid_up_to() })?;
        let document = document::parse(text).map_err(|(problems, more)| PolicyError::Invalid {
            path: path.to_owned(),
            problems,
            more,
        })?;
        Ok(Self::on(document, Sha256::digest(bytes).to_vec(), trust, host))
    }

    fn on(document: document::Document, hash: Vec<u8>, trust: v1::Trust, host: &dyn Host) -> Self {
        let mut warnings = Vec::new();
        let (image, mismatch) = image::identity(&document.image, host);
        warnings.extend(mismatch.clone());
        let about = v1::Policy {
            name: document.name,
            version: document.version,
            commit: document.commit,
            hash,
            trust: trust.into(),
        };
        Self {
            about,
            owner: document.owner,
            mode: document.mode,
            image,
            mismatch,
            places: places::Places::new(&document.protect, &document.mutable, host, &mut warnings),
            allowed: rules::Allowed::new(document.allow, host),
            exec: rules::ExecRules::new(document.exec, host),
            disks: disks::Disks::of(host),
            warnings,
        }
    }

    /// Name, version, commit, hash and trust, for the context of every frame.
    pub fn about(&self) -> &v1::Policy {
        &self.about
    }

    /// Who answers for it, "" when it does not say.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Whether it alerts.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The image this host runs, for the context of every frame.
    pub fn image(&self) -> &v1::Image {
        &self.image
    }

    /// What is not wrong and yet worth a look, one sentence each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Does what is mounted here hide or replace a protected place?
    pub fn covers(&self, path: &[u8]) -> bool {
        let inside = self.places.nearest(path).is_some_and(|place| matches!(place.class, Class::Protect(_)));
        inside || self.places.protected_below(path).is_some()
    }

    /// The protected places that can be named without a pattern.
    pub fn protected(&self) -> Vec<PathBuf> {
        let protected = self.marks().into_iter().filter(|mark| mark.class == MarkClass::Protect);
        protected.map(|mark| mark.path).collect()
    }

    /// The roots for the kernel's filter, as the host is now.
    pub fn marks(&self) -> Vec<Mark> {
        marks::marks(&self.places, &ThisHost)
    }
}
