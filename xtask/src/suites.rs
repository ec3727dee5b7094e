//! What can be tested: the packages' own tests, the suites with the time each may take, and the kernels on which
//! a suite runs too.

use crate::cargo::cargo;
use crate::fault;
use crate::repo::Repo;
use crate::stages::Stage;
use crate::vm::Wanted;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The package whose `[[test]]` targets are suites.
pub(crate) const SUITES: &str = "graven-tests";

/// A suite that names no budget in `tests/Cargo.toml`.
const BUDGET: Duration = Duration::from_secs(60);

/// What will run, in order.
pub(crate) struct Plan {
    pub packages: Vec<String>,
    pub suites: Vec<Suite>,
    pub guests: Vec<Guest>,
    /// Everything there is.
    pub whole: bool,
}

/// One file of `tests/suites`.
pub(crate) struct Suite {
    pub name: String,
    pub budget: Duration,
}

/// A suite on a kernel of its own, in an emulated machine.
#[derive(Debug)]
pub(crate) struct Guest {
    pub suite: String,
    /// What it may take on this machine.
    pub budget: Duration,
    pub kernel: Wanted,
    /// Added to the kernel's command line: `preempt=full`, or nothing.
    pub append: String,
}

impl Guest {
    /// `first_light@6.12`, `contention@6.12+preempt=full`
    pub(crate) fn name(&self) -> String {
        let plus = if self.append.is_empty() { "" } else { "+" };
        format!("{}@{}{plus}{}", self.suite, self.kernel, self.append)
    }
}

/// A compiled test program.
#[derive(Debug)]
pub(crate) struct Program {
    pub package: String,
    pub name: String,
    pub is_suite: bool,
    pub executable: PathBuf,
    /// Cargo runs a test in its package's folder.
    pub folder: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    targets: Vec<Target>,
    metadata: Option<Extra>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize, Default)]
struct Extra {
    #[serde(default)]
    budgets: BTreeMap<String, u64>,
    #[serde(default)]
    vm: BTreeMap<String, Vec<String>>,
}

impl Plan {
    /// All, or only what is named: suites and packages.
    pub(crate) fn make(repo: &Repo, wanted: &[String]) -> Result<Self> {
        let output = cargo(repo, &["metadata", "--format-version=1", "--no-deps"]).output();
        let output = output.context("cannot run cargo metadata")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "cargo metadata failed: {}", errors.trim());
        let metadata: Metadata =
            serde_json::from_slice(&output.stdout).context("cargo metadata is not understood")?;
        Self::select(metadata, wanted)
    }

    fn select(metadata: Metadata, wanted: &[String]) -> Result<Self> {
        let mut packages = Vec::new();
        let mut suites = Vec::new();
        let mut kernels = BTreeMap::new();
        for package in metadata.packages {
            if package.name == SUITES {
                let Extra { budgets, vm } = package.metadata.unwrap_or_default();
                let targets = package.targets.into_iter().filter(|target| target.kind == ["test"]);
                suites.extend(targets.map(|target| {
                    let budget =
                        budgets.get(&target.name).map_or(BUDGET, |seconds| Duration::from_secs(*seconds));
                    Suite { name: target.name, budget }
                }));
                kernels = vm;
            }
            packages.push(package.name);
        }
        let is_suite = |name: &str| suites.iter().any(|suite| suite.name == name);
        if let Some(unknown) = kernels.keys().find(|name| !is_suite(name)) {
            return Err(fault::usage(format!(
                "tests/Cargo.toml: [package.metadata.vm] {unknown} is no suite"
            )));
        }
        let known = |name: &String| match name.split_once('@') {
            Some((suite, _)) => is_suite(suite),
            None => packages.contains(name) || is_suite(name),
        };
        if let Some(unknown) = wanted.iter().find(|name| !known(name)) {
            let names: Vec<&str> = suites.iter().map(|suite| suite.name.as_str()).collect();
            return Err(fault::usage(format!(
                "no suite or package is named {unknown}; suites: {}; packages: {}",
                names.join(" "),
                packages.join(" ")
            )));
        }
        // The short ones first: what is broken shows early.
        suites.sort_by(|a, b| (a.budget, &a.name).cmp(&(b.budget, &b.name)));
        let whole = wanted.is_empty();
        let guests = guests(&suites, &kernels, wanted)?;
        packages.retain(|name| whole || wanted.contains(name));
        suites.retain(|suite| whole || wanted.contains(&suite.name));
        Ok(Self { packages, suites, guests, whole })
    }

    /// Every suite that runs anywhere.
    fn programs(&self) -> BTreeSet<&str> {
        let here = self.suites.iter().map(|suite| suite.name.as_str());
        here.chain(self.guests.iter().map(|guest| guest.suite.as_str())).collect()
    }
}

/// The suites on the kernels that are listed for them; `SUITE@KERNEL` asks for one of them, or for any other, and
/// `KERNEL+WORD` puts a word on its command line.
fn guests(
    suites: &[Suite],
    kernels: &BTreeMap<String, Vec<String>>,
    wanted: &[String],
) -> Result<Vec<Guest>> {
    let mut guests = Vec::new();
    for suite in suites {
        let mut names: Vec<&str> = Vec::new();
        if wanted.is_empty() || wanted.contains(&suite.name) {
            names.extend(kernels.get(&suite.name).into_iter().flatten().map(String::as_str));
        }
        let asked = wanted.iter().filter_map(|name| name.split_once('@'));
        names.extend(asked.filter(|(name, _)| *name == suite.name).map(|(_, kernel)| kernel));
        let mut seen = BTreeSet::new();
        for name in names {
            let (series, append) = name.split_once('+').unwrap_or((name, ""));
            let kernel = Wanted::parse(series)?;
            if seen.insert((kernel, append)) {
                let (suite, budget) = (suite.name.clone(), suite.budget);
                guests.push(Guest { suite, budget, kernel, append: append.to_owned() });
            }
        }
    }
    Ok(guests)
}

/// Compiles what the plan needs and gives the programs.
pub(crate) fn compile(repo: &Repo, stage: &mut Stage, plan: &Plan) -> Result<Vec<Program>> {
    let mut command =
        cargo(repo, &["test", "--release", "--no-run", "--message-format=json-render-diagnostics"]);
    if plan.whole {
        command.arg("--workspace");
    } else {
        command.args(plan.packages.iter().flat_map(|name| ["--package", name]));
        let suites = plan.programs();
        if !suites.is_empty() {
            command.args(["--package", SUITES]);
        }
        if plan.packages.is_empty() {
            command.args(suites.into_iter().flat_map(|name| ["--test", name]));
        }
    }
    programs(&stage.output(command)?)
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    executable: Option<PathBuf>,
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// The test programs in cargo's messages, one JSON object a line.
fn programs(messages: &str) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    let mut seen = BTreeSet::new();
    for line in messages.lines() {
        let message: Message = serde_json::from_str(line).context("a message of cargo is not understood")?;
        let is_test = message.profile.is_some_and(|profile| profile.test);
        let (Some(manifest), Some(target), Some(executable)) =
            (message.manifest_path, message.target, message.executable)
        else {
            continue;
        };
        if message.reason != "compiler-artifact" || !is_test || !seen.insert(executable.clone()) {
            continue;
        }
        let folder = manifest.parent().unwrap_or(Path::new("/")).to_path_buf();
        let package = package_name(&manifest)?;
        let is_suite = package == SUITES && target.kind == ["test"];
        programs.push(Program { package, name: target.name, is_suite, executable, folder });
    }
    Ok(programs)
}

fn package_name(manifest: &Path) -> Result<String> {
    let text =
        std::fs::read_to_string(manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    let table: toml::Table = toml::from_str(&text).with_context(|| format!("in {}", manifest.display()))?;
    let name = table.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str);
    name.map(str::to_owned).with_context(|| format!("no package name in {}", manifest.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Result<Metadata> {
        Ok(serde_json::from_str(
            r#"{"packages":[
                {"name":"graven","targets":[{"name":"graven","kind":["lib"]}],"metadata":null},
                {"name":"graven-tests","targets":[{"name":"graven-tests","kind":["lib"]},
                    {"name":"pipeline","kind":["test"]},{"name":"outage","kind":["test"]}],
                 "metadata":{"budgets":{"outage":90},"vm":{"outage":["5.10","newest"]}}}]}"#,
        )?)
    }

    #[test]
    fn everything_is_planned_with_its_budget() -> Result<()> {
        let plan = Plan::select(metadata()?, &[])?;
        assert_eq!(plan.packages, ["graven", "graven-tests"]);
        let suites: Vec<_> = plan.suites.iter().map(|s| (s.name.as_str(), s.budget.as_secs())).collect();
        assert_eq!(suites, [("pipeline", 60), ("outage", 90)]);
        Ok(())
    }

    #[test]
    fn only_what_is_named_is_planned_and_an_unknown_name_is_refused() -> Result<()> {
        let plan = Plan::select(metadata()?, &["outage".to_owned()])?;
        assert_eq!((plan.packages.len(), plan.suites.len()), (0, 1));
        let refused = Plan::select(metadata()?, &["nothing".to_owned()]);
        assert!(refused.is_err_and(|error| error.to_string().contains("pipeline outage")));
        Ok(())
    }

    #[test]
    fn a_suite_runs_on_its_kernels_too_and_one_of_them_can_be_named() -> Result<()> {
        let names = |wanted: &[&str]| -> Result<(usize, Vec<String>)> {
            let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
            let plan = Plan::select(metadata()?, &wanted)?;
            Ok((plan.suites.len(), plan.guests.iter().map(Guest::name).collect()))
        };
        let both = ["outage@5.10", "outage@newest"].map(str::to_owned).to_vec();
        assert_eq!(names(&[])?, (2, both.clone()));
        assert_eq!(names(&["outage", "outage@5.10"])?, (1, both));
        assert_eq!(names(&["graven"])?, (0, Vec::new()));
        assert_eq!(names(&["pipeline@6.12"])?, (0, vec!["pipeline@6.12".to_owned()]));
        assert!(names(&["outage@moon"]).is_err());
        assert!(names(&["graven@6.12"]).is_err());
        Ok(())
    }

    #[test]
    fn a_kernel_list_of_no_suite_is_refused() -> Result<()> {
        let mut metadata = metadata()?;
        let extra = metadata.packages.iter_mut().filter_map(|package| package.metadata.as_mut());
        extra.for_each(|extra| drop(extra.vm.insert("gone".to_owned(), Vec::new())));
        let refused = Plan::select(metadata, &[]);
        assert!(refused.is_err_and(|error| error.to_string().contains("gone")));
        Ok(())
    }

    #[test]
    fn only_test_programs_are_taken_from_the_messages() -> Result<()> {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let line = |test: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"{manifest}","target":{{"name":"xtask","kind":["bin"]}},"executable":"/x/{test}","profile":{{"test":{test}}}}}"#
            )
        };
        let messages = [line(false), line(true), line(true), r#"{"reason":"build-finished"}"#.to_owned()];
        let programs = programs(&messages.join("\n"))?;
        assert_eq!(programs.len(), 1);
        assert_eq!((programs[0].package.as_str(), programs[0].is_suite), ("xtask", false));
        Ok(())
    }
}
