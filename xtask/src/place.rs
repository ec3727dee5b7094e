//! The folder `up` keeps its data in: who may use it, and the files it writes there.

use crate::fault;
use crate::repo::Repo;
use anyhow::{Context, Result};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A data folder, with the programs that work on it.
pub(crate) struct Place {
    /// Absolute.
    pub data: PathBuf,
    programs: PathBuf,
    own_policy: bool,
    policy: PathBuf,
}

impl Place {
    /// The folder, made if needed; a folder with other things in it is refused.
    pub(crate) fn make(repo: &Repo, data: Option<&Path>, policy: Option<&Path>) -> Result<Self> {
        let data = data.map_or_else(|| repo.target().join("up"), Path::to_path_buf);
        let data = std::path::absolute(&data).context("the data folder has no path")?;
        if data.to_str().is_none() {
            return Err(fault::usage(format!("{}: a data folder's path has to be UTF-8", data.display())));
        }
        let taken = fs::read_dir(&data).is_ok_and(|mut entries| entries.next().is_some());
        if taken && !data.join("up.lock").exists() {
            let shown = data.display();
            return Err(fault::usage(format!(
                "{shown} holds other things: give --data a new or empty folder"
            )));
        }
        fs::create_dir_all(data.join("logs")).with_context(|| format!("cannot make {}", data.display()))?;
        // Absolute and without links: the agent names paths as the kernel does.
        let data = data.canonicalize().with_context(|| format!("cannot resolve {}", data.display()))?;
        let own_policy = policy.is_none();
        let policy = match policy {
            Some(file) => file
                .canonicalize()
                .map_err(|error| fault::usage(format!("--policy {}: {error}", file.display())))?,
            None => data.join("policy.toml"),
        };
        Ok(Self { data, programs: repo.programs(), own_policy, policy })
    }

    /// Held as long as `up` runs here.
    pub(crate) fn lock(&self) -> Result<File> {
        let path = self.data.join("up.lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(fault::usage(format!(
                "another `cargo xtask up` uses {}: end it, or give --data and --port",
                self.data.display()
            ))),
            Err(TryLockError::Error(error)) => Err(error).context("cannot take the lock"),
        }
    }

    pub(crate) fn central(&self) -> PathBuf {
        self.data.join("central")
    }

    pub(crate) fn demo(&self) -> PathBuf {
        self.data.join("demo")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.data.join("logs")
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.logs().join(name).with_extension("log")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.data.join("agent.toml")
    }

    pub(crate) fn policy(&self) -> &Path {
        &self.policy
    }

    /// There once the agent has its certificate.
    pub(crate) fn enrolled(&self) -> PathBuf {
        self.data.join("enrolled")
    }

    pub(crate) fn mark_enrolled(&self) -> Result<()> {
        fs::write(
            self.enrolled(),
            "The agent's keys in agent/ are certified by the central log in central/.\n",
        )
        .context("cannot note the enrolment")
    }

    pub(crate) fn path_of(&self, program: &str) -> PathBuf {
        self.programs.join(program)
    }

    /// One of our programs, in an environment of its own.
    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.path_of(name));
        crate::cargo::clean(&mut command);
        command.env_remove("GRAVEN_DATA");
        command
    }

    /// Writes the development policy, unless one was given; the agent says whether it can be used.
    pub(crate) fn write_policy(&self) -> Result<()> {
        if self.own_policy {
            let text = development_policy(&self.demo());
            fs::write(&self.policy, text)
                .with_context(|| format!("cannot write {}", self.policy.display()))?;
        }
        let mut command = self.program("graven-agent");
        command.args(["policy", "check"]).arg(&self.policy);
        let output = command.output().context("cannot start graven-agent")?;
        if output.status.success() {
            return Ok(());
        }
        let text = [output.stderr, output.stdout].concat();
        Err(fault::usage(String::from_utf8_lossy(&text).trim().to_owned()))
    }

    /// Writes the agent's configuration for this run.
    pub(crate) fn write_config(&self, server: &str) -> Result<()> {
        let path = self.config();
        let text = self.configuration(server);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    fn configuration(&self, server: &str) -> String {
        let state = text_of(&self.data.join("agent"));
        let runtime = text_of(&self.data.join("run"));
        let policy = text_of(&self.policy);
        format!(
            "# Written by `cargo xtask up` at each start.\n\
             state   = {state}\nruntime = {runtime}\npolicy  = {policy}\n\n\
             [central]\nservers = [{}]\n\n\
             # Nothing is left running when it ends.\n[sensor]\nstay = false\n",
            toml::Value::from(server)
        )
    }
}

/// A path as a TOML string.
fn text_of(path: &Path) -> String {
    toml::Value::from(path.to_string_lossy().into_owned()).to_string()
}

fn development_policy(demo: &Path) -> String {
    let demo = text_of(demo);
    format!(
        r#"# Written by `cargo xtask up` at each start; use --policy FILE for one of your own.
schema = 1

[policy]
name = "development"
version = "1"
mode = "alert"

[[protect]]
name = "demo"
paths = [{demo}]
severity = "high"

[[mutable]]
name = "everything else on a development machine"
paths = ["/"]

[exec]
otherwise = "high"

[exec.image]
deny_from = [{demo}, "memfd", "deleted"]
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_any_character_make_valid_files() -> Result<()> {
        let data = PathBuf::from("/tmp/a \"quoted\" one's");
        let policy: toml::Table = toml::from_str(&development_policy(&data.join("demo")))?;
        let paths = policy["protect"][0]["paths"][0].as_str();
        assert_eq!(paths, Some("/tmp/a \"quoted\" one's/demo"));
        let policy = data.join("policy.toml");
        let place = Place { data, programs: PathBuf::new(), own_policy: true, policy };
        let config: toml::Table = toml::from_str(&place.configuration("https://127.0.0.1:1"))?;
        assert_eq!(config["state"].as_str(), Some("/tmp/a \"quoted\" one's/agent"));
        assert_eq!(config["central"]["servers"][0].as_str(), Some("https://127.0.0.1:1"));
        Ok(())
    }
}
