//! Debian's package tools: what a package is, fetching without installing, installing.

use crate::fault;
use crate::folder;
use crate::stages::Stage;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A package as the lists on this machine name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    pub name: String,
    pub version: String,
    /// Bytes to fetch.
    pub size: u64,
    /// Bytes once unpacked.
    pub unpacked: u64,
    depends: Vec<String>,
}

/// True on a machine with Debian's tools.
pub(crate) fn available() -> bool {
    ["apt-get", "apt-cache", "dpkg"].iter().all(|tool| crate::toolchain::in_path(tool).is_some())
}

/// The version apt would take; none if its lists do not have the package.
pub(crate) fn show(name: &str) -> Option<Package> {
    let mut command = command("apt-cache");
    let output = command.args(["show", "--no-all-versions", name]).output().ok()?;
    parse(&String::from_utf8_lossy(&output.stdout))
}

/// Names of the packages that installing these would bring that are not on this machine.
pub(crate) fn missing_with(names: &[&str]) -> Vec<String> {
    let mut command = command("apt-get");
    command.args(["install", "--print-uris", "-qq", "--no-install-recommends"]).args(names);
    let Ok(output) = command.output() else { return Vec::new() };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // 'address' name_version_architecture.deb size hash
    let files = text.lines().filter_map(|line| line.split_ascii_whitespace().nth(1));
    files.filter_map(|file| file.split_once('_')).map(|(name, _)| name.to_owned()).collect()
}

/// Reads the package lists anew; only root can.
pub(crate) fn update(stage: &mut Stage) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Err(fault::host(
            "the package lists of this machine are missing or old: run `apt-get update` as root, then again",
        ));
    }
    let mut command = command("apt-get");
    command.arg("update");
    stage.run(command)
}

/// Fetches the packages' files into a folder; apt checks their hashes.
pub(crate) fn download(stage: &mut Stage, packages: &[Package], into: &Path) -> Result<()> {
    let mut command = command("apt-get");
    // The folder is ours, so apt's own user could not write there.
    command.args(["download", "-o", "APT::Sandbox::User=root"]).current_dir(into);
    command.args(packages.iter().map(|package| format!("{}={}", package.name, package.version)));
    stage.run(command)
}

/// Fetches packages and unpacks them into `into/root`, without installing anything. `packages` is asked again
/// when the lists turn out to be old.
pub(crate) fn unpack(
    stage: &mut Stage,
    into: &Path,
    packages: impl Fn() -> Result<Vec<Package>>,
) -> Result<PathBuf> {
    let known = match packages() {
        Ok(known) => known,
        Err(_) => {
            update(stage)?;
            packages()?
        }
    };
    let fetched = into.join("fetched");
    folder::remake(&fetched)?;
    if download(stage, &known, &fetched).is_err() {
        // The mirror no longer has what old lists name.
        update(stage)?;
        download(stage, &packages()?, &fetched)?;
    }
    let unpacked = into.join("root.new");
    folder::remake(&unpacked)?;
    for entry in std::fs::read_dir(&fetched).context("cannot list what apt fetched")? {
        let mut command = Command::new("dpkg");
        command.arg("-x").arg(entry?.path()).arg(&unpacked);
        stage.run(command)?;
    }
    let root = into.join("root");
    folder::remove(&root)?;
    std::fs::rename(&unpacked, &root).context("cannot put what was unpacked in its place")?;
    folder::remove(&fetched)?;
    Ok(root)
}

/// Installs packages; only root can.
pub(crate) fn install(stage: &mut Stage, names: &[String]) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        let names = names.join(" ");
        return Err(fault::host(format!(
            "needs root once: run `apt-get install {names}` as root, then again"
        )));
    }
    let mut command = command("apt-get");
    command.args(["install", "-y", "--no-install-recommends"]).args(names);
    stage.run(command)
}

impl Package {
    /// Names of the packages it needs.
    pub(crate) fn depends(&self) -> impl Iterator<Item = &str> {
        self.depends.iter().map(String::as_str)
    }

    /// The first dependency whose name begins so.
    pub(crate) fn needs(&self, prefix: &str) -> Option<&str> {
        self.depends().find(|name| name.starts_with(prefix))
    }
}

/// One of apt's programs, asking nothing and speaking English.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    crate::cargo::clean(&mut command);
    command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command
}

/// The first paragraph of `apt-cache show`.
pub(crate) fn parse(text: &str) -> Option<Package> {
    let paragraph = text.split("\n\n").next()?;
    let field = |key: &str| {
        let mut lines = paragraph.lines();
        lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(": ")).map(str::trim)
    };
    let depends = field("Depends").unwrap_or_default().split([',', '|']);
    let depends = depends.filter_map(|entry| entry.split_ascii_whitespace().next()).map(str::to_owned);
    Some(Package {
        name: field("Package")?.to_owned(),
        version: field("Version")?.to_owned(),
        size: field("Size")?.parse().ok()?,
        unpacked: field("Installed-Size").and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024,
        depends: depends.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_gives_name_size_and_what_it_needs() {
        let text = "Package: rustc-web\nVersion: 1.96.0-1\nInstalled-Size: 2\n\
                    Depends: libc6 (>= 2.34), libstd-rust-web-dev (= 1.96.0-1), gcc | clang\nSize: 4450500\n\n\
                    Package: rustc-web\nVersion: 1.85.0-3\nSize: 1\n";
        let package = parse(text);
        assert_eq!(package.as_ref().map(|p| (p.version.as_str(), p.size)), Some(("1.96.0-1", 4_450_500)));
        assert_eq!(package.as_ref().map(|p| p.unpacked), Some(2048));
        assert_eq!(package.as_ref().and_then(|p| p.needs("libstd-rust")), Some("libstd-rust-web-dev"));
    }

    #[test]
    fn an_unknown_package_is_none() {
        assert_eq!(parse(""), None);
    }
}
