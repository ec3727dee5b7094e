//! Names of hosts, boots, runs and lanes.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// A text or byte string is not the id it should be.
#[derive(Debug, thiserror::Error)]
#[error("{what} must be {expected}")]
pub struct IdError {
    what: &'static str,
    expected: &'static str,
}

macro_rules! bytes_id {
    ($(#[$doc:meta])* $name:ident, $len:literal, $what:literal, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// From exactly the right number of bytes.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
                bytes.try_into().map(Self).map_err(|_| IdError { what: $what, expected: $expected })
            }

            /// The bytes.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

bytes_id!(
    /// A host: SHA-256 of its start key, so that nobody else can be it.
    HostId, 32, "a host id", "32 bytes (64 hex digits)"
);
bytes_id!(
    /// One boot of a kernel: `/proc/sys/kernel/random/boot_id`.
    BootId, 16, "a boot id", "16 bytes (a UUID)"
);
bytes_id!(
    /// One run of the agent within a boot, drawn at random.
    RunId, 16, "a run id", "16 bytes"
);

impl HostId {
    /// The id that belongs to a start key (Ed25519 public key, 32 bytes).
    pub fn of_key(start_key: &[u8; 32]) -> Self {
        Self(Sha256::digest(start_key).into())
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for HostId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bytes = hex::decode(text).unwrap_or_default();
        Self::from_slice(&bytes)
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = hex::encode(self.0);
        let (a, rest) = text.split_at(8);
        let (b, rest) = rest.split_at(4);
        let (c, rest) = rest.split_at(4);
        let (d, e) = rest.split_at(4);
        write!(f, "{a}-{b}-{c}-{d}-{e}")
    }
}

impl FromStr for BootId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bytes = hex::decode(text.trim().replace('-', "")).unwrap_or_default();
        Self::from_slice(&bytes)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// One of the two ordered streams of a host and boot; `protected` is sent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Violations, changes of protected places, the logger's own records.
    Protected,
    /// Everything else.
    Activity,
}

impl Lane {
    /// Both, in the order in which they are sent.
    pub const ALL: [Self; 2] = [Self::Protected, Self::Activity];

    /// The number in headers and messages.
    pub fn number(self) -> u8 {
        match self {
            Self::Protected => 1,
            Self::Activity => 2,
        }
    }

    /// The lane of a number.
    pub fn from_number(number: u32) -> Result<Self, IdError> {
        match number {
            1 => Ok(Self::Protected),
            2 => Ok(Self::Activity),
            _ => Err(IdError { what: "a lane", expected: "1 (protected) or 2 (activity)" }),
        }
    }

    /// The word for people and for folder names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Protected => "protected",
            Self::Activity => "activity",
        }
    }
}

impl FromStr for Lane {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let named = Self::ALL.into_iter().find(|lane| lane.name() == text);
        named.ok_or(IdError { what: "a lane", expected: "`protected` or `activity`" })
    }
}

/// One program run by its full name, in text `boot:pid:start:exec`. A pid is used again, this never is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProgramRun {
    /// The boot.
    pub boot: BootId,
    /// Thread-group id in the initial pid namespace.
    pub pid: u32,
    /// Start of the process, ns since boot.
    pub start: u64,
    /// How many programs the process and those it was forked from had run before it.
    pub exec: u32,
}

impl fmt::Display for ProgramRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}:{}", self.boot, self.pid, self.start, self.exec)
    }
}

impl FromStr for ProgramRun {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError { what: "a program run", expected: "BOOT:PID:START:EXEC" };
        let mut parts = text.split(':');
        let mut part = || parts.next().ok_or_else(wrong);
        let (boot, pid, start, exec) = (part()?, part()?, part()?, part()?);
        let run = Self {
            boot: boot.parse()?,
            pid: pid.parse().map_err(|_| wrong())?,
            start: start.parse().map_err(|_| wrong())?,
            exec: exec.parse().map_err(|_| wrong())?,
        };
        parts.next().is_none().then_some(run).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_id_prints_as_the_kernel_prints_it() {
        let text = "6516adf2-eced-4dfa-a4b8-85f4ecc32254";
        assert_eq!(text.parse::<BootId>().map(|id| id.to_string()).ok().as_deref(), Some(text));
    }

    #[test]
    fn a_short_host_id_is_refused() {
        assert!("abcd".parse::<HostId>().is_err());
    }

    #[test]
    fn lanes_survive_their_number() {
        for lane in Lane::ALL {
            assert_eq!(Lane::from_number(lane.number().into()).ok(), Some(lane));
        }
        assert!(Lane::from_number(3).is_err());
    }
}
