//! Debian's auditd: where its programs are, fetching them without installing, and what the kernel says of audit.
//!
//! Unpacked below `target/toolchain`: installing the package would start a daemon.

use crate::apt;
use crate::fault;
use crate::repo::Repo;
use crate::stages::Stage;
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The package.
const PACKAGE: &str = "auditd";
/// The rule that keeps audit from processes started from then on; some systems have it from the start.
pub(crate) const NEVER: [&str; 2] = ["-a", "never,task"];
/// Folders beside PATH where administrators' programs lie.
const SBIN: [&str; 2] = ["/usr/sbin", "/sbin"];

/// auditd and auditctl, wherever they are.
pub(crate) struct Programs {
    pub auditd: PathBuf,
    auditctl: PathBuf,
    /// Libraries of an unpacked package.
    libraries: OsString,
}

impl Programs {
    /// Those installed; else, if they may be, those unpacked before.
    pub(crate) fn find(repo: &Repo, also_unpacked: bool) -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let installed = std::env::split_paths(&path).chain(SBIN.map(PathBuf::from));
        let unpacked = also_unpacked.then(|| unpacked(&folder(repo).join("root"))).flatten();
        let mut places = installed.map(|folder| (folder, OsString::new())).chain(unpacked);
        places.find_map(|(folder, libraries)| {
            let [auditd, auditctl] = ["auditd", "auditctl"].map(|name| folder.join(name));
            (auditd.is_file() && auditctl.is_file()).then_some(Self { auditd, auditctl, libraries })
        })
    }

    /// Fetches the package and unpacks it below `target`.
    pub(crate) fn fetch(repo: &Repo, stage: &mut Stage) -> Result<Self> {
        if !apt::available() {
            return Err(fault::host("this machine has no apt: install auditd, then run again"));
        }
        apt::unpack(stage, &folder(repo), || {
            let names = apt::missing_with(&[PACKAGE]);
            let packages: Option<Vec<_>> = names.iter().map(|name| apt::show(name)).collect();
            packages.filter(|all| !all.is_empty()).context("the package lists do not have auditd")
        })?;
        Self::find(repo, true).context("the package auditd has no auditd")
    }

    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        crate::cargo::clean(&mut command);
        if !self.libraries.is_empty() {
            command.env("LD_LIBRARY_PATH", &self.libraries);
        }
        command
    }

    /// What tells a test where they are.
    pub(crate) fn environment(&self) -> [(&'static str, OsString); 2] {
        let folder = self.auditd.parent().unwrap_or(Path::new("/")).as_os_str().to_owned();
        [("GRAVEN_AUDIT", folder), ("GRAVEN_AUDIT_LIBRARIES", self.libraries.clone())]
    }

    /// What a machine needs to have them at the paths they have here: both, and their own libraries.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let libraries = std::env::split_paths(&self.libraries).filter(|folder| folder.is_dir());
        [self.auditd.clone(), self.auditctl.clone()].into_iter().chain(libraries).collect()
    }

    /// Runs `auditctl` and gives what it said.
    pub(crate) fn control(&self, words: &[&str]) -> Result<String> {
        let mut command = self.command(&self.auditctl);
        let output = command.args(words).stdin(Stdio::null()).output().context("cannot start auditctl")?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        anyhow::ensure!(output.status.success(), "auditctl {}: {}", words.join(" "), said.trim());
        Ok(said)
    }

    /// One number of `auditctl -s`.
    pub(crate) fn state(&self, name: &str) -> Result<u64> {
        let said = self.control(&["-s"])?;
        number(&said, name).with_context(|| format!("auditctl -s has no {name}: {said}"))
    }

    /// Why audit must be left alone; none if it is free.
    pub(crate) fn in_use(&self) -> Result<Option<&'static str>> {
        let said = self.control(&["-s"])?;
        let value = |name| number(&said, name).unwrap_or(0);
        Ok(match (value("enabled"), value("pid")) {
            (0, 0) if self.has_none()? || self.has_never()? => None,
            (0, 0) => Some("the kernel has audit rules"),
            (_, 0) => Some("audit is enabled"),
            _ => Some("an audit daemon runs"),
        })
    }

    fn has_none(&self) -> Result<bool> {
        Ok(self.control(&["-l"])?.trim() == "No rules")
    }

    /// Only that one.
    pub(crate) fn has_never(&self) -> Result<bool> {
        Ok(self.control(&["-l"])?.trim() == NEVER.join(" "))
    }
}

fn folder(repo: &Repo) -> PathBuf {
    repo.toolchain().join("audit")
}

fn unpacked(root: &Path) -> Option<(PathBuf, OsString)> {
    let tuple = format!("{}-linux-gnu", std::env::consts::ARCH);
    let libraries = ["usr/lib", "lib"].map(|lib| root.join(lib).join(&tuple));
    let folder = ["usr/sbin", "sbin"].map(|sbin| root.join(sbin)).into_iter().find(|sbin| sbin.is_dir())?;
    Some((folder, std::env::join_paths(libraries).ok()?))
}

/// The number behind a name, in lines `name number`.
fn number(said: &str, name: &str) -> Option<u64> {
    let mut lines = said.lines().map(str::split_ascii_whitespace);
    lines.find_map(|mut words| (words.next() == Some(name)).then(|| words.next()?.parse().ok()).flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_whole_name() {
        let said = "enabled 0\nfailure 1\npid 0\nbacklog_limit 64\nlost 7\nbacklog 3\nloginuid_immutable 0 unlocked\n";
        assert_eq!(number(said, "backlog"), Some(3));
        assert_eq!(number(said, "backlog_limit"), Some(64));
        assert_eq!(number(said, "loginuid_immutable"), Some(0));
        assert_eq!(number(said, "pi"), None);
    }

    #[test]
    fn a_machine_is_given_both_programs_and_the_folders_of_libraries_that_are_there() -> Result<()> {
        let here = std::env::temp_dir();
        let libraries = std::env::join_paths([Path::new("/nowhere"), &here])?;
        let (auditd, auditctl) = (PathBuf::from("/s/auditd"), PathBuf::from("/s/auditctl"));
        let programs = Programs { auditd: auditd.clone(), auditctl: auditctl.clone(), libraries };
        assert_eq!(programs.files(), [auditd.clone(), auditctl.clone(), here]);
        let installed = Programs { auditd, auditctl, libraries: OsString::new() };
        assert_eq!(installed.files().len(), 2);
        Ok(())
    }

    #[test]
    fn a_package_that_was_not_unpacked_is_not_found() {
        assert_eq!(unpacked(Path::new("/nowhere")), None);
    }
}
