//! The Debian archive as this machine reaches it, asked for releases that this machine does not run.
//!
//! In: the mirrors in the machine's own apt configuration. Out: kernel packages of several Debian releases.
//! Always: proxies, credentials and keys are the machine's. Never: a change of the machine's lists; all of
//! apt's state for this lies below `target/vm/apt`.

use crate::apt::{self, Package};
use crate::fault::{self, Fault};
use crate::stages::Stage;
use crate::vm::wanted::Offer;
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where kernels are looked for, oldest release first: each brought another series. A release that has left
/// the mirror is passed over.
const RELEASES: [&str; 5] = ["bullseye", "bookworm", "trixie", "trixie-backports", "sid"];

/// The releases that have security updates of their own.
const SECURED: [&str; 3] = ["bullseye", "bookworm", "trixie"];

/// Signs all releases that are or were supported.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// All flavours, of which [`Offer::of`] takes those that can be asked for.
const IMAGES: &str = "^linux-image-[0-9].*-amd64$";

/// Since Linux 7 the image is an empty package that depends on these.
const PARTS: [&str; 3] = ["linux-binary-", "linux-modules-", "linux-base-"];

/// apt with lists of its own.
pub(crate) struct Mirror {
    folder: PathBuf,
}

impl Mirror {
    /// Lists what the archive has now.
    pub(crate) fn open(stage: &mut Stage, folder: &Path) -> Result<Self> {
        let addresses = match Addresses::of_this_machine()? {
            Some(found) => found,
            None => {
                // Without lists apt does not know whose mirror it is.
                apt::update(stage)?;
                Addresses::of_this_machine()?.ok_or_else(|| fault::host(NO_DEBIAN))?
            }
        };
        if !Path::new(KEYRING).is_file() {
            return Err(fault::host(format!(
                "{KEYRING} is not there: run `apt-get install debian-archive-keyring` as root, then again"
            )));
        }
        let mirror = Self { folder: folder.to_path_buf() };
        for name in ["lists/partial", "cache/archives/partial", "parts"] {
            let path = folder.join(name);
            std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        std::fs::write(folder.join("status"), "").context("cannot write apt's status")?;
        std::fs::write(folder.join("sources.list"), addresses.sources()).context("cannot write sources")?;
        let mut update = mirror.apt("apt-get");
        update.arg("update");
        // A release that is gone makes this fail; the others are listed all the same.
        let _ended = stage.attempt(update, None)?;
        Ok(mirror)
    }

    /// Every kernel there is.
    pub(crate) fn offers(&self) -> Result<Vec<Offer>> {
        let mut search = self.apt("apt-cache");
        search.args(["search", "--names-only", IMAGES]);
        let found = text_of(search)?;
        let names: Vec<&str> =
            found.lines().filter_map(|line| line.split_ascii_whitespace().next()).collect();
        if names.is_empty() {
            return Err(fault::host(
                "the Debian mirror of this machine offers no kernels: its lists cannot be fetched, or it \
                 holds only a part of the archive",
            ));
        }
        Ok(self.show(&names)?.into_iter().filter_map(Offer::of).collect())
    }

    /// The package and those of its dependencies that hold the rest of the kernel.
    pub(crate) fn whole(&self, offer: &Offer) -> Result<Vec<Package>> {
        let is_part = |name: &&str| {
            let mut rests = PARTS.iter().filter_map(|part| name.strip_prefix(part));
            rests.any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        let parts: Vec<&str> = offer.package.depends().filter(is_part).collect();
        let mut all = vec![offer.package.clone()];
        if !parts.is_empty() {
            all.extend(self.show(&parts)?);
        }
        Ok(all)
    }

    /// Fetches packages into a folder; apt checks their hashes.
    pub(crate) fn download(&self, stage: &mut Stage, packages: &[Package], into: &Path) -> Result<()> {
        let mut command = self.apt("apt-get");
        command.arg("download").current_dir(into);
        command.args(packages.iter().map(|package| format!("{}={}", package.name, package.version)));
        stage.run(command).map_err(|error| match error.is::<Fault>() {
            true => error,
            // The network, or a mirror that does not hold what its lists name.
            false => fault::host(format!("{error:#}")),
        })
    }

    fn show(&self, names: &[&str]) -> Result<Vec<Package>> {
        let mut show = self.apt("apt-cache");
        show.args(["show", "--no-all-versions"]).args(names);
        Ok(text_of(show)?.split("\n\n").filter_map(apt::parse).collect())
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = apt::command(program);
        let at = |option: &str, name: &str| format!("{option}={}", self.folder.join(name).display());
        for setting in [
            at("Dir::Etc::sourcelist", "sources.list"),
            at("Dir::Etc::sourceparts", "parts"),
            at("Dir::State::lists", "lists"),
            at("Dir::State::status", "status"),
            at("Dir::Cache", "cache"),
            "APT::Architecture=amd64".to_owned(),
            "APT::Architectures=amd64".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Languages=none".to_owned(),
            // What software centres want to know of packages.
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
        ] {
            command.args(["-o", &setting]);
        }
        command
    }
}

const NO_DEBIAN: &str = "apt on this machine knows no Debian mirror to take kernels from: add one to its \
                         sources, then run `apt-get update`";

fn text_of(mut command: Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Where the machine's own apt fetches Debian from.
#[derive(Debug, PartialEq, Eq)]
struct Addresses {
    archive: String,
    security: Option<String>,
}

impl Addresses {
    fn of_this_machine() -> Result<Option<Self>> {
        let mut command = apt::command("apt-get");
        command.args(["indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages"]);
        Ok(Self::parse(&text_of(command)?))
    }

    /// A line for each list: the label of its release, the mirror's address.
    fn parse(text: &str) -> Option<Self> {
        let labelled = |label: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(' '));
            lines.find(|(name, _)| *name == label).map(|(_, address)| address.to_owned())
        };
        Some(Self { archive: labelled("Debian")?, security: labelled("Debian-Security") })
    }

    fn sources(&self) -> String {
        let mut text = String::new();
        let mut add = |address: &str, release: &str| {
            // Writing to a string does not fail.
            let _ok = writeln!(text, "deb [signed-by={KEYRING}] {address} {release} main");
        };
        for release in RELEASES {
            add(&self.archive, release);
        }
        if let Some(address) = &self.security {
            SECURED.iter().for_each(|release| add(address, &format!("{release}-security")));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_known_by_its_label() {
        let text = "nodistro https://else.example/\nDebian-Security http://a.example/s/\n\
                    Debian http://a.example/d/\nDebian http://b.example/d/\n";
        let found = Addresses::parse(text);
        let expected = Addresses {
            archive: "http://a.example/d/".to_owned(),
            security: Some("http://a.example/s/".to_owned()),
        };
        assert_eq!(found, Some(expected));
        assert_eq!(Addresses::parse("Ubuntu http://a.example/u/\n$(LABEL) http://b.example/\n"), None);
    }

    #[test]
    fn every_release_has_a_line_and_security_only_where_there_is_a_mirror_of_it() {
        let mut addresses = Addresses { archive: "http://a.example/d/".to_owned(), security: None };
        assert_eq!(addresses.sources().lines().count(), RELEASES.len());
        addresses.security = Some("http://a.example/s/".to_owned());
        let text = addresses.sources();
        assert_eq!(text.lines().count(), RELEASES.len() + SECURED.len());
        assert!(text.contains("http://a.example/s/ bookworm-security main"));
    }
}
