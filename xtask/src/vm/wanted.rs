//! Which kernels are meant: a name on the command line or in `tests/Cargo.toml`, and what Debian offers for it.

use crate::apt::Package;
use crate::fault;
use anyhow::Result;

/// What is booted when nothing is named: the stable kernels that hosts have, the one with the inode-time
/// tracepoints that is oldest in use, and the one where the next breakage shows first.
pub(crate) const DEFAULT: [&str; 5] = ["5.10", "6.1", "6.12", "6.18", "newest"];

/// A kernel as people ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wanted {
    /// The last release of this series.
    Series(u32, u32),
    /// The last release of all.
    Newest,
}

impl Wanted {
    /// `6.12` or `newest`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let series = || {
            let (major, minor) = text.split_once('.')?;
            Some(Self::Series(major.parse().ok()?, minor.parse().ok()?))
        };
        match text {
            "newest" => Ok(Self::Newest),
            _ => series().ok_or_else(|| {
                fault::usage(format!("`{text}` is no kernel: write a series such as 6.12, or newest"))
            }),
        }
    }

    /// All of these, each once, in this order; without any, the default.
    pub(crate) fn parse_all(names: &[String]) -> Result<Vec<Self>> {
        let mut all = Vec::new();
        let default = DEFAULT.map(str::to_owned);
        for name in if names.is_empty() { &default[..] } else { names } {
            let wanted = Self::parse(name)?;
            if !all.contains(&wanted) {
                all.push(wanted);
            }
        }
        Ok(all)
    }

    /// The best of what is offered.
    pub(crate) fn choose(self, offers: &[Offer]) -> Option<&Offer> {
        let fits = |offer: &&Offer| match self {
            Self::Newest => true,
            Self::Series(major, minor) => offer.upstream[..2] == [major, minor],
        };
        offers.iter().filter(fits).max_by_key(|offer| offer.rank())
    }
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Series(major, minor) => write!(f, "{major}.{minor}"),
            Self::Newest => f.write_str("newest"),
        }
    }
}

/// A kernel package, with its upstream version.
#[derive(Debug)]
pub(crate) struct Offer {
    pub package: Package,
    upstream: [u32; 3],
}

impl Offer {
    /// None for what is not a finished release.
    pub(crate) fn of(package: Package) -> Option<Self> {
        let upstream = upstream(&package.version)?;
        Some(Self { package, upstream })
    }

    /// `6.12`
    pub(crate) fn series(&self) -> String {
        format!("{}.{}", self.upstream[0], self.upstream[1])
    }

    /// Of the same release, the one that was made for its own system comes before a rebuild for an older one.
    fn rank(&self) -> ([u32; 3], bool, &str) {
        (self.upstream, !self.package.version.contains('~'), &self.package.name)
    }
}

/// `[6, 1, 192]` of `6.1.192-2~deb11u1`; none for a candidate (`7.4~rc1-1`) or a metapackage's version.
fn upstream(version: &str) -> Option<[u32; 3]> {
    let (release, _revision) = version.split_once('-')?;
    let mut parts = release.split('.').map(|part| part.parse().ok());
    let upstream = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(upstream)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(name: &str, version: &str) -> Option<Offer> {
        let text = format!("Package: {name}\nVersion: {version}\nSize: 1\n");
        Offer::of(crate::apt::parse(&text)?)
    }

    #[test]
    fn a_name_is_a_series_or_newest() -> Result<()> {
        assert_eq!(Wanted::parse("6.12")?, Wanted::Series(6, 12));
        assert_eq!(Wanted::parse("newest")?, Wanted::Newest);
        for bad in ["6", "6.x", "", "latest", "6.12.1"] {
            assert!(Wanted::parse(bad).is_err(), "{bad}");
        }
        let twice = ["6.1", "newest", "6.1"].map(str::to_owned);
        assert_eq!(Wanted::parse_all(&twice)?, [Wanted::Series(6, 1), Wanted::Newest]);
        assert_eq!(Wanted::parse_all(&[])?.len(), DEFAULT.len());
        Ok(())
    }

    #[test]
    fn versions_compare_as_numbers_and_candidates_are_no_offer() {
        let offers: Vec<Offer> = [
            ("a", "6.1.99-1"),
            ("b", "6.1.192-1~deb11u1"),
            ("c", "6.1.192-1"),
            ("d", "6.12.9-1"),
            ("e", "7.3.4-1~bpo13+1"),
            ("f", "7.4~rc1-1~exp1"),
            ("g", "6.12.117-1+b1"),
        ]
        .into_iter()
        .filter_map(|(name, version)| offer(name, version))
        .collect();
        assert_eq!(offers.len(), 6);
        let chosen = |wanted: Wanted| wanted.choose(&offers).map(|offer| offer.package.name.as_str());
        assert_eq!(chosen(Wanted::Series(6, 1)), Some("c"));
        assert_eq!(chosen(Wanted::Series(6, 12)), Some("g"));
        assert_eq!(chosen(Wanted::Newest), Some("e"));
        assert_eq!(chosen(Wanted::Series(5, 15)), None);
        assert_eq!(Wanted::Newest.choose(&offers).map(Offer::series).as_deref(), Some("7.3"));
    }
}
