//! The agent's configuration file.
//!
//! In: the bytes of `agent.toml`. Out: a [`Config`] whose every value is usable. Always: an unknown key, a
//! wrong type and a value out of range name file, line and key and say what is allowed. Never: a guess, or
//! a default for a key that is there but wrong. Fails with [`ConfigError`], which is the operator's to mend
//! (exit code 2).

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use tonic::transport::Uri;

/// Where the file lies when no other is named.
pub const DEFAULT_PATH: &str = "/etc/graven/agent.toml";
/// Most bytes of the file: a real one has less than one KiB.
const MAX_FILE: u64 = 64 << 10;
/// Most servers that are tried in turn: more would make an outage of one take minutes to get over.
const MAX_SERVERS: usize = 16;
/// Least spool: below it not even a few whole segments fit.
const MIN_SPOOL: u64 = 1 << 20;
/// More often, trying the sensor out costs what it should not; less often, it might as well not be tried out.
const INTERVALS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);
/// The central log's port where the address names none.
const DEFAULT_PORT: u16 = 7443;

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `keys/` and `spool/` lie below it.
    #[serde(default = "default_state", deserialize_with = "absolute")]
    pub state: PathBuf,
    /// The lock lies in it.
    #[serde(default = "default_runtime", deserialize_with = "absolute")]
    pub runtime: PathBuf,
    /// What is expected on this host.
    #[serde(default = "default_policy", deserialize_with = "absolute")]
    pub policy: PathBuf,
    /// Where frames go.
    pub central: Central,
    /// How much may wait on disk.
    #[serde(default)]
    pub spool: Spool,
    /// The process that talks to the network.
    #[serde(default)]
    pub ship: Ship,
    /// How the agent tries its own sensor out.
    #[serde(default)]
    pub canary: Canary,
    /// What becomes of the sensor when the agent ends.
    #[serde(default)]
    pub sensor: Sensor,
}

/// `[central]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Central {
    /// Tried in turn; at least one.
    #[serde(deserialize_with = "servers")]
    pub servers: Vec<Server>,
}

/// `[spool]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spool {
    /// Most bytes of all segments.
    #[serde(deserialize_with = "limit")]
    pub limit: u64,
    /// Free bytes of the file system that are never used.
    #[serde(deserialize_with = "size")]
    pub reserve: u64,
}

/// `[ship]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ship {
    /// Name or number; a name that does not exist stands for nobody.
    #[serde(deserialize_with = "user")]
    pub user: String,
}

/// `[canary]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Canary {
    /// How often, at a moment within this that nobody can foresee.
    #[serde(deserialize_with = "interval")]
    pub every: Duration,
}

/// `[sensor]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sensor {
    /// Its programs stay on their hooks, and what happens waits in the kernel for the next agent.
    pub stay: bool,
    /// Where, in a BPF file system.
    #[serde(deserialize_with = "absolute")]
    pub pins: PathBuf,
}

/// The address of a central log.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Server {
    /// Name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not there or not readable.
    #[error("cannot read the configuration {path}; name another with --config FILE")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What stands in it is wrong.
    #[error("{path} line {line}{}: {problem}", key.as_ref().map(|key| format!(", {key}")).unwrap_or_default())]
    Content {
        /// Which file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// With its section: `spool.limit`.
        key: Option<String>,
        /// What is wrong and what is allowed.
        problem: String,
    },
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let failed = |source| ConfigError::Read { path: path.to_owned(), source };
        let mut text = String::new();
        let file = File::open(path).map_err(failed)?;
        file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > MAX_FILE {
            let problem = format!("the file has more than {MAX_FILE} bytes, which no configuration needs");
            return Err(ConfigError::Content { path: path.to_owned(), line: 1, key: None, problem });
        }
        Self::parse(&text, path)
    }

    /// Checks the text of a file; `path` is for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start).min(text.len());
            let (line, key) = place(text, at);
            let problem = error.message().replace('\n', "; ");
            ConfigError::Content { path: path.to_owned(), line, key, problem }
        })
    }

    /// Where the keys lie.
    pub fn keys(&self) -> PathBuf {
        self.state.join("keys")
    }

    /// Where the spool lies.
    pub fn spool_folder(&self) -> PathBuf {
        self.state.join("spool")
    }
}

impl Default for Spool {
    fn default() -> Self {
        Self { limit: 1 << 30, reserve: 256 << 20 }
    }
}

impl Default for Ship {
    fn default() -> Self {
        Self { user: "graven-ship".to_owned() }
    }
}

impl Default for Canary {
    fn default() -> Self {
        Self { every: Duration::from_secs(300) }
    }
}

impl Default for Sensor {
    fn default() -> Self {
        Self { stay: true, pins: "/sys/fs/bpf/graven".into() }
    }
}

/// Line number and full key at a byte of the text.
fn place(text: &str, at: usize) -> (usize, Option<String>) {
    let before = text.get(..at).unwrap_or_default();
    let line = before.matches('\n').count();
    let own = text.lines().nth(line).unwrap_or_default();
    let Some((key, _)) = own.split_once('=') else { return (line + 1, None) };
    let section =
        text.lines().take(line).filter_map(|l| l.trim().strip_prefix('[')?.strip_suffix(']')).last();
    let key = key.trim();
    (line + 1, Some(section.map_or_else(|| key.to_owned(), |section| format!("{section}.{key}"))))
}

fn default_state() -> PathBuf {
    "/var/lib/graven".into()
}

fn default_runtime() -> PathBuf {
    "/run/graven".into()
}

fn default_policy() -> PathBuf {
    "/etc/graven/policy.toml".into()
}

fn absolute<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(from)?;
    path.is_absolute()
        .then_some(path)
        .ok_or_else(|| D::Error::custom("must be an absolute path, as \"/var/lib/graven\""))
}

fn servers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Server>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    if texts.is_empty() || texts.len() > MAX_SERVERS {
        return Err(D::Error::custom(format!(
            "must name 1 to {MAX_SERVERS} servers, as [\"https://central.example:7443\"]"
        )));
    }
    texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
}

fn size<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    parse_size(&String::deserialize(from)?).map_err(D::Error::custom)
}

fn limit<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let bytes = size(from)?;
    (bytes >= MIN_SPOOL).then_some(bytes).ok_or_else(|| D::Error::custom("must be at least \"1MiB\""))
}

fn interval<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    let seconds = text.strip_suffix('s').map(|number| (number, 1));
    let (number, unit) = seconds.or_else(|| Some((text.strip_suffix('m')?, 60))).unwrap_or(("", 0));
    let every =
        number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).map(Duration::from_secs);
    every.filter(|every| INTERVALS.contains(every)).ok_or_else(|| {
        D::Error::custom(format!(
            "\"{text}\" is not \"1s\" to \"60m\"; write a whole number and s or m, as \"5m\""
        ))
    })
}

fn user<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    let root = name.parse::<u32>() == Ok(0) || name == "root";
    (!name.is_empty() && !root)
        .then_some(name)
        .ok_or_else(|| D::Error::custom("must be a user other than root, by name or number"))
}

/// `256MiB` → bytes.
fn parse_size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u32); 4] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let wrong =
        || format!("\"{text}\" is not a size; write a whole number and KiB, MiB, GiB or TiB, as \"256MiB\"");
    let (number, shift) =
        UNITS.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift))).ok_or_else(wrong)?;
    let number: u64 = number.trim().parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("\"{text}\" is not a server's address; write it as \"https://central.example:7443\"");
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let bare = matches!(uri.path_and_query().map(|p| p.as_str()), None | Some("/" | ""));
        let authority = uri.authority().filter(|a| !a.as_str().contains('@')).ok_or_else(wrong)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if uri.scheme_str() != Some("https") || !bare || host.is_empty() {
            return Err(wrong());
        }
        Ok(Self { host, port: authority.port_u16().unwrap_or(DEFAULT_PORT) })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "https://[{}]:{}", self.host, self.port),
            false => write!(f, "https://{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Server {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    const LEAST: &str = "[central]\nservers = [\"https://central.example\"]\n";

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("agent.toml")).map_err(|e| e.to_string())
    }

    #[test]
    fn the_least_file_has_the_documented_defaults() {
        let config = parse(LEAST).unwrap();
        assert_eq!(config.state, Path::new("/var/lib/graven"));
        assert_eq!(config.spool, Spool { limit: 1 << 30, reserve: 256 << 20 });
        assert_eq!(config.ship.user, "graven-ship");
        assert_eq!(config.canary.every, Duration::from_secs(300));
        assert!(config.sensor.stay && config.sensor.pins == Path::new("/sys/fs/bpf/graven"));
        assert_eq!(config.central.servers[0].to_string(), "https://central.example:7443");
    }

    #[test]
    fn every_documented_key_is_read() {
        let text = "state = \"/s\"\nruntime = \"/r\"\npolicy = \"/p\"\n[central]\nservers = [\"https://[::1]:1\", \
                    \"https://b:2\"]\n[spool]\nlimit = \"2MiB\"\nreserve = \"0KiB\"\n[ship]\nuser = \"1000\"\n[canary]\nevery = \"2m\"\n[sensor]\nstay = false\npins = \"/run/bpf/g\"\n";
        let config = parse(text).unwrap();
        assert_eq!(config.central.servers[0], Server { host: "::1".into(), port: 1 });
        assert_eq!(config.central.servers[0].to_string(), "https://[::1]:1");
        assert_eq!(config.spool, Spool { limit: 2 << 20, reserve: 0 });
        assert_eq!(config.canary.every, Duration::from_secs(120));
        assert_eq!(config.sensor, Sensor { stay: false, pins: "/run/bpf/g".into() });
        assert_eq!((config.keys(), config.ship.user.as_str()), (PathBuf::from("/s/keys"), "1000"));
    }

    #[test]
    fn an_unknown_key_names_its_line_and_what_is_allowed() {
        let error = parse(&format!("{LEAST}[spool]\nlimt = \"1GiB\"\n")).unwrap_err();
        assert!(error.starts_with("agent.toml line 4, spool.limt: unknown field `limt`"), "{error}");
        assert!(error.contains("`limit`") && error.contains("`reserve`"), "{error}");
    }

    #[test]
    fn a_wrong_value_names_its_line_key_and_what_is_allowed() {
        for (text, says) in [
            ("[spool]\nlimit = \"1GB\"\n", "line 4, spool.limit: \"1GB\" is not a size"),
            ("[spool]\nlimit = \"1KiB\"\n", "line 4, spool.limit: must be at least \"1MiB\""),
            ("[spool]\nreserve = 5\n", "line 4, spool.reserve: invalid type: integer `5`, expected a string"),
            ("[ship]\nuser = \"root\"\n", "line 4, ship.user: must be a user other than root"),
            ("[canary]\nevery = \"5\"\n", "line 4, canary.every: \"5\" is not \"1s\" to \"60m\""),
            ("[canary]\nevery = \"2h\"\n", "as \"5m\""),
            ("[canary]\nevery = \"0s\"\n", "is not \"1s\" to \"60m\""),
            ("[ship]\nuser = \"0\"\n", "line 4, ship.user: must be a user other than root"),
        ] {
            let error = parse(&format!("{LEAST}{text}")).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        for (text, says) in [
            ("state = \"here\"\n", "line 1, state: must be an absolute path"),
            ("[central]\nservers = []\n", "line 2, central.servers: must name 1 to 16 servers"),
            (
                "[central]\nservers = [\"http://a:1\"]\n",
                "line 2, central.servers: \"http://a:1\" is not a server's address",
            ),
            ("[central]\nservers = [\"https://a:1/x\"]\n", "is not a server's address"),
            ("[ship]\n", "missing field `central`"),
            ("[central\n", "line 1"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_says_how_to_name_another() {
        let error = Config::load(Path::new("/nowhere/agent.toml")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/agent.toml") && error.contains("--config"), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn any_text_gives_a_config_or_an_error(text in "\\PC{0,200}") {
            drop(parse(&text));
        }
    }
}
