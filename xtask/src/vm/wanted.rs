//! Which kernels are meant: a name on the command line or in `tests/Cargo.toml`, and what Debian offers for it.

use crate::apt::Package;
use crate::fault;
use anyhow::Result;

/// What is booted when nothing is named: the stable kernels that hosts have, the one with the inode-time
/// tracepoints that is oldest in use, and the one where the next breakage shows first.
pub(crate) const DEFAULT: [&str; 5] = ["5.10", "6.1", "6.12", "6.18", "newest"];

/// A kernel as people ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wanted {
    pub release: Release,
    pub flavour: Flavour,
}

/// Of which series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Release {
    /// The last release of this series.
    Series(u32, u32),
    /// The last release of all.
    Newest,
}

/// Debian builds each release several times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Flavour {
    /// For virtual machines: a third of the size, with all drivers a guest needs built in.
    Cloud,
    /// What most hosts run, under the architecture's name. It has the x32 entry, which the one for virtual
    /// machines is built without.
    Ordinary,
}

/// What an ordinary kernel's name ends with, here as at Debian.
const ORDINARY: &str = "-amd64";

impl Flavour {
    /// Of a package's name; none for what is built for other ends, such as real time.
    fn of(package: &str) -> Option<Self> {
        let name = package.strip_suffix(ORDINARY)?;
        match name {
            _ if name.ends_with("-cloud") => Some(Self::Cloud),
            _ if name.ends_with("-rt") => None,
            _ => Some(Self::Ordinary),
        }
    }

    /// Behind the release, in a kernel's name.
    fn suffix(self) -> &'static str {
        match self {
            Self::Cloud => "",
            Self::Ordinary => ORDINARY,
        }
    }
}

impl Wanted {
    /// `6.12` or `newest`; `6.12-amd64` is the ordinary flavour.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (name, flavour) = match text.strip_suffix(ORDINARY) {
            Some(name) => (name, Flavour::Ordinary),
            None => (text, Flavour::Cloud),
        };
        let series = || {
            let (major, minor) = name.split_once('.')?;
            Some(Release::Series(major.parse().ok()?, minor.parse().ok()?))
        };
        let release = if name == "newest" { Some(Release::Newest) } else { series() };
        let wanted = release.map(|release| Self { release, flavour });
        wanted.ok_or_else(|| {
            fault::usage(format!(
                "`{text}` is no kernel: write a series such as 6.12, or newest; 6.12-amd64 is Debian's ordinary \
                 kernel and not the one for virtual machines"
            ))
        })
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
        let fits = |offer: &&Offer| {
            let is_meant = match self.release {
                Release::Newest => true,
                Release::Series(major, minor) => offer.upstream[..2] == [major, minor],
            };
            is_meant && offer.flavour == self.flavour
        };
        offers.iter().filter(fits).max_by_key(|offer| offer.rank())
    }
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.release {
            Release::Series(major, minor) => write!(f, "{major}.{minor}")?,
            Release::Newest => f.write_str("newest")?,
        }
        f.write_str(self.flavour.suffix())
    }
}

/// A kernel package, with its upstream version.
#[derive(Debug)]
pub(crate) struct Offer {
    pub package: Package,
    upstream: [u32; 3],
    flavour: Flavour,
}

impl Offer {
    /// None for what is not a finished release, or a flavour that nobody asks for.
    pub(crate) fn of(package: Package) -> Option<Self> {
        let upstream = upstream(&package.version)?;
        let flavour = Flavour::of(&package.name)?;
        Some(Self { package, upstream, flavour })
    }

    /// What is asked for to get it: `6.12`, `6.12-amd64`.
    pub(crate) fn name(&self) -> String {
        let release = Release::Series(self.upstream[0], self.upstream[1]);
        Wanted { release, flavour: self.flavour }.to_string()
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
        let (series, newest) = (Release::Series(6, 12), Release::Newest);
        for (name, release, flavour) in [
            ("6.12", series, Flavour::Cloud),
            ("newest", newest, Flavour::Cloud),
            ("6.12-amd64", series, Flavour::Ordinary),
            ("newest-amd64", newest, Flavour::Ordinary),
        ] {
            let wanted = Wanted::parse(name)?;
            assert_eq!(wanted, Wanted { release, flavour });
            assert_eq!(wanted.to_string(), name);
        }
        for bad in ["6", "6.x", "", "latest", "6.12.1", "-amd64", "6.12-rt", "6.12-rt-amd64"] {
            assert!(Wanted::parse(bad).is_err(), "{bad}");
        }
        let twice = ["6.1", "newest", "6.1"].map(str::to_owned);
        assert_eq!(Wanted::parse_all(&twice)?, [Wanted::parse("6.1")?, Wanted::parse("newest")?]);
        assert_eq!(Wanted::parse_all(&[])?.len(), DEFAULT.len());
        Ok(())
    }

    #[test]
    fn versions_compare_as_numbers_and_candidates_are_no_offer() -> Result<()> {
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
        .filter_map(|(name, version)| offer(&format!("{name}-cloud-amd64"), version))
        .collect();
        assert_eq!(offers.len(), 6);
        for (wanted, name) in [("6.1", Some("c")), ("6.12", Some("g")), ("newest", Some("e")), ("5.15", None)]
        {
            let chosen = Wanted::parse(wanted)?.choose(&offers);
            let chosen = chosen.and_then(|offer| offer.package.name.strip_suffix("-cloud-amd64"));
            assert_eq!(chosen, name, "{wanted}");
        }
        assert_eq!(Wanted::parse("newest")?.choose(&offers).map(Offer::name).as_deref(), Some("7.3"));
        Ok(())
    }

    #[test]
    fn a_flavour_is_chosen_by_its_name_and_others_are_no_offer() -> Result<()> {
        let names = [
            "linux-image-6.12-amd64",
            "linux-image-6.12.118+deb13-amd64",
            "linux-image-6.12.118+deb13-cloud-amd64",
            "linux-image-6.12.118+deb13-rt-amd64",
            "linux-image-6.12.118+deb13-amd64-unsigned",
        ];
        let offers: Vec<Offer> = names.into_iter().filter_map(|name| offer(name, "6.12.118-1")).collect();
        assert_eq!(offers.len(), 3);
        for (wanted, package) in [("6.12-amd64", names[1]), ("6.12", names[2]), ("newest-amd64", names[1])] {
            let chosen = Wanted::parse(wanted)?.choose(&offers);
            assert_eq!(chosen.map(|offer| offer.package.name.as_str()), Some(package), "{wanted}");
        }
        let chosen = Wanted::parse("newest-amd64")?.choose(&offers);
        assert_eq!(chosen.map(Offer::name).as_deref(), Some("6.12-amd64"));
        Ok(())
    }
}
