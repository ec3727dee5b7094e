//! Who may depend on what: the rules of `deny.toml`, and the directions between our own crates.

use crate::cargo::cargo;
use crate::licence;
use crate::repo::Repo;
use crate::stages::Stage;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::process::Command;

/// Our crates and those of ours each may use. Arrows point one way: sensor → abi ← agent → record ← central.
const DIRECTIONS: [(&str, &[&str]); 7] = [
    ("graven-sensor", &["graven-abi"]),
    ("graven-abi", &[]),
    ("graven-record", &[]),
    ("graven-agent", &["graven-abi", "graven-record"]),
    ("graven", &["graven-record"]),
    ("graven-tests", &["graven-abi", "graven-record", "graven-agent", "graven"]),
    ("xtask", &[]),
];

/// Crates that must not be compiled into a package, with the features that are on by default.
const ABSENT: [(&str, &str, &str); 2] = [
    ("graven", "aya", "the central log builds without the kernel's side"),
    ("graven-record", "tokio", "records and frames do no I/O"),
];

/// What was found, one line each.
pub(crate) fn findings(repo: &Repo, stage: &mut Stage) -> Result<Vec<String>> {
    let rules = Rules::read(repo)?;
    let mut found = Vec::new();
    // The sensor is a workspace of its own.
    for manifest in ["Cargo.toml", "ebpf/sensor/Cargo.toml"] {
        let mut metadata = cargo(repo, &["metadata", "--format-version=1", "--manifest-path", manifest]);
        metadata.arg(format!("--filter-platform={}-unknown-linux-gnu", std::env::consts::ARCH));
        let text = stage.output(metadata)?;
        let metadata = serde_json::from_str(&text).context("cargo metadata is not understood")?;
        found.extend(rules.check(&metadata));
    }
    for (package, absent, why) in ABSENT {
        let tree = stage.output(tree(repo, package))?;
        if tree.lines().any(|line| line.split_ascii_whitespace().next() == Some(absent)) {
            found.push(format!("{package} uses {absent}: {why}"));
        }
    }
    Ok(found)
}

fn tree(repo: &Repo, package: &str) -> Command {
    cargo(repo, &["tree", "--edges=normal", "--prefix=none", "--package", package])
}

#[derive(Deserialize)]
struct Rules {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    #[serde(default)]
    wrappers: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
    workspace_members: Vec<String>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    license_file: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    pkg: String,
}

impl Rules {
    fn read(repo: &Repo) -> Result<Self> {
        let text = std::fs::read_to_string(repo.root.join("deny.toml")).context("cannot read deny.toml")?;
        toml::from_str(&text).context("deny.toml is not understood")
    }

    fn check(&self, metadata: &Metadata) -> Vec<String> {
        let mut found = Vec::new();
        let package = |id: &str| metadata.packages.iter().find(|package| package.id == id);
        let used: BTreeSet<&str> = metadata.resolve.nodes.iter().map(|node| node.id.as_str()).collect();
        for package in metadata.packages.iter().filter(|package| used.contains(package.id.as_str())) {
            found.extend(self.licence_of(package));
        }
        for node in &metadata.resolve.nodes {
            let Some(user) = package(&node.id) else { continue };
            let ours = metadata.workspace_members.contains(&node.id);
            let uses: Vec<&Package> = node.deps.iter().filter_map(|edge| package(&edge.pkg)).collect();
            for used in uses {
                found.extend(self.banned(user, used));
                if ours && metadata.workspace_members.contains(&used.id) {
                    found.extend(direction(&user.name, &used.name));
                }
            }
        }
        found
    }

    fn licence_of(&self, package: &Package) -> Option<String> {
        let name = format!("{} {}", package.name, package.version);
        match (&package.license, &package.license_file) {
            (Some(expression), _) if licence::allowed(expression, &self.licenses.allow) => None,
            (Some(expression), _) => Some(format!("{name}: licence `{expression}` is not in deny.toml")),
            (None, Some(file)) => Some(format!("{name}: its licence is only a file, {file}")),
            (None, None) => Some(format!("{name}: no licence")),
        }
    }

    fn banned(&self, user: &Package, used: &Package) -> Option<String> {
        let ban = self.bans.deny.iter().find(|ban| ban.name == used.name)?;
        let allowed = ban.wrappers.contains(&user.name);
        (!allowed).then(|| format!("{} may not depend on {} (deny.toml)", user.name, used.name))
    }
}

fn direction(user: &str, used: &str) -> Option<String> {
    let Some((_, may)) = DIRECTIONS.iter().find(|(name, _)| *name == user) else {
        return Some(format!("{user} is a crate that xtask/src/dependencies.rs does not know"));
    };
    (!may.contains(&used)).then(|| format!("{user} may not depend on {used}: dependencies point one way"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(json: &str) -> Result<Metadata> {
        Ok(serde_json::from_str(json)?)
    }

    fn rules() -> Rules {
        let ban = Ban { name: "aya".to_owned(), wrappers: vec!["graven-agent".to_owned()] };
        Rules { licenses: Licenses { allow: vec!["MIT".to_owned()] }, bans: Bans { deny: vec![ban] } }
    }

    #[test]
    fn a_forbidden_edge_a_wrong_way_and_a_missing_licence_are_found() -> Result<()> {
        let found = rules().check(&metadata(
            r#"{"packages":[
                {"id":"a","name":"aya","version":"1","license":null,"license_file":null},
                {"id":"c","name":"graven","version":"1","license":"MIT","license_file":null},
                {"id":"g","name":"graven-agent","version":"1","license":"MIT","license_file":null}],
             "resolve":{"nodes":[
                {"id":"a","deps":[]},
                {"id":"c","deps":[{"pkg":"a"},{"pkg":"g"}]},
                {"id":"g","deps":[{"pkg":"a"}]}]},
             "workspace_members":["c","g"]}"#,
        )?);
        assert_eq!(
            found,
            [
                "aya 1: no licence",
                "graven may not depend on aya (deny.toml)",
                "graven may not depend on graven-agent: dependencies point one way",
            ]
        );
        Ok(())
    }
}
