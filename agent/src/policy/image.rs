//! `[image]`: which image this host runs, read from where the policy says.

use std::path::{Path, PathBuf};

use graven_record::v1;

use super::document::ImageSources;
use super::host::Host;
use super::reader::unknown;

/// Bytes read of a file that holds one value or lines of `KEY=value`.
const SMALL: u64 = 64 << 10;
/// Bytes read of a JSON file: cloud-init's instance data is the largest, some 100 KiB.
const JSON: u64 = 4 << 20;
/// Longest value: it is written into every frame.
const VALUE: usize = 256;

const SCHEMES: &[&str] = &["os-release", "file", "cmdline", "json"];

/// Where a value is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A key of /etc/os-release or /usr/lib/os-release.
    OsRelease(String),
    /// The first line of a file.
    File(PathBuf),
    /// A `key=value` of the kernel's command line.
    Cmdline(String),
    /// A member of a JSON file, by names.
    Json(PathBuf, Vec<String>),
}

impl Source {
    /// Reads `os-release:KEY`, `file:PATH`, `cmdline:KEY` or `json:PATH#a.b`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(format!(
                "\"{text}\" is not a source: write os-release:KEY, file:PATH, cmdline:KEY or json:PATH#a.b"
            ));
        };
        match scheme {
            "os-release" if !rest.is_empty() => Ok(Self::OsRelease(rest.to_owned())),
            "cmdline" if !rest.is_empty() => Ok(Self::Cmdline(rest.to_owned())),
            "file" if rest.starts_with('/') => Ok(Self::File(PathBuf::from(rest))),
            "json" if rest.starts_with('/') => match rest.split_once('#') {
                Some((path, member)) if !member.is_empty() => {
                    Ok(Self::Json(PathBuf::from(path), member.split('.').map(str::to_owned).collect()))
                }
                _ => Err(format!("\"{text}\" names no member: write json:PATH#a.b")),
            },
            "file" | "json" => Err(format!("\"{text}\" needs an absolute path after {scheme}:")),
            "os-release" | "cmdline" => Err(format!("\"{text}\" needs a key after {scheme}:")),
            other => Err(unknown("source", other, SCHEMES)),
        }
    }

    /// The value on this host; "" when it is not there.
    pub(super) fn read(&self, host: &dyn Host) -> String {
        self.look_up(host).map(|value| bounded(&value)).unwrap_or_default()
    }

    fn look_up(&self, host: &dyn Host) -> Option<String> {
        let small = |path: &Path| Some(String::from_utf8_lossy(&host.read(path, SMALL)?).into_owned());
        match self {
            Self::OsRelease(key) => {
                let text = small(Path::new("/etc/os-release"))
                    .or_else(|| small(Path::new("/usr/lib/os-release")))?;
                os_release(&text, key)
            }
            Self::File(path) => small(path)?.lines().next().map(|line| line.trim().to_owned()),
            Self::Cmdline(key) => {
                let text = small(Path::new("/proc/cmdline"))?;
                let mut words = text.split_ascii_whitespace().filter_map(|word| word.split_once('='));
                words.find(|(name, _)| name == key).map(|(_, value)| value.trim_matches('"').to_owned())
            }
            Self::Json(path, members) => {
                let json = serde_json::from_slice::<serde_json::Value>(&host.read(path, JSON)?).ok()?;
                match members.iter().try_fold(&json, |value, member| value.get(member))? {
                    serde_json::Value::String(text) => Some(text.clone()),
                    serde_json::Value::Number(number) => Some(number.to_string()),
                    _ => None,
                }
            }
        }
    }
}

/// Reads the identity, and says how it differs from what the policy expects.
pub(super) fn identity(sources: &ImageSources, host: &dyn Host) -> (v1::Image, Option<String>) {
    let read = |source: &Option<Source>| source.as_ref().map(|source| source.read(host)).unwrap_or_default();
    let image =
        v1::Image { id: read(&sources.id), version: read(&sources.version), commit: read(&sources.commit) };
    let differs = sources.expected.iter().find_map(|(key, wanted)| {
        let found = match *key {
            "id" => &image.id,
            "version" => &image.version,
            _ => &image.commit,
        };
        (found != wanted)
            .then(|| format!("this policy is for image {key} \"{wanted}\", the host says \"{found}\""))
    });
    (image, differs)
}

fn os_release(text: &str, key: &str) -> Option<String> {
    let (_, value) =
        text.lines().filter_map(|line| line.trim().split_once('=')).find(|(name, _)| *name == key)?;
    Some(value.trim().trim_matches(['"', '\'']).to_owned())
}

fn bounded(value: &str) -> String {
    value.chars().filter(|c| !c.is_control()).take(VALUE).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod tests {
    use super::super::host::fake::FakeHost;
    use super::*;

    fn host() -> FakeHost {
        FakeHost::default()
            .file("/etc/os-release", b"NAME=\"Debian GNU/Linux\"\nID=debian\nIMAGE_ID='web'\n")
            .file("/usr/lib/image/commit", b"4f2a\nsecond line\n")
            .file("/proc/cmdline", b"BOOT_IMAGE=/vmlinuz verity.usrhash=abcd quiet\n")
            .file("/run/x.json", br#"{"ds":{"meta":{"ami":"ami-1","n":7,"o":{}}}}"#)
    }

    fn read(text: &str) -> String {
        Source::parse(text).unwrap().read(&host())
    }

    #[test]
    fn each_source_is_read_from_its_place() {
        assert_eq!(read("os-release:ID"), "debian");
        assert_eq!(read("os-release:IMAGE_ID"), "web");
        assert_eq!(read("os-release:NAME"), "Debian GNU/Linux");
        assert_eq!(read("file:/usr/lib/image/commit"), "4f2a");
        assert_eq!(read("cmdline:verity.usrhash"), "abcd");
        assert_eq!(read("json:/run/x.json#ds.meta.ami"), "ami-1");
        assert_eq!(read("json:/run/x.json#ds.meta.n"), "7");
    }

    #[test]
    fn what_is_not_there_is_empty() {
        for text in [
            "os-release:NO",
            "file:/no",
            "cmdline:no",
            "json:/run/x.json#ds.no",
            "json:/run/x.json#ds.meta.o",
        ] {
            assert_eq!(read(text), "", "{text}");
        }
    }

    #[test]
    fn a_bad_source_says_how_to_write_one() {
        for text in ["ID", "file:relative", "json:/x", "cmdline:", "cmd:bootc status"] {
            assert!(Source::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn another_image_than_the_policy_expects_is_said() {
        let sources = ImageSources {
            id: Some(Source::OsRelease("ID".to_owned())),
            expected: vec![("id", "flatcar".to_owned())],
            ..ImageSources::default()
        };
        let (image, differs) = identity(&sources, &host());
        assert_eq!(image.id, "debian");
        assert!(differs.unwrap().contains("\"flatcar\""));
    }
}
