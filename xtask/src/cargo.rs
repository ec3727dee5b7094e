//! The cargo that runs us, for the workspace, without what `cargo run` put into our environment.

use crate::repo::Repo;
use std::process::Command;

/// The cargo this command was started by.
pub(crate) fn program() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// `cargo SUBCOMMAND` at the repository's root, into its own target directory: others look for the programs
/// and the sensor there.
pub(crate) fn cargo(repo: &Repo, subcommand: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(subcommand).current_dir(&repo.root);
    clean(&mut command);
    for name in ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR", "CARGO_BUILD_TARGET"] {
        command.env_remove(name);
    }
    command
}

/// Takes out what `cargo run` told about xtask's own package, and its library path.
pub(crate) fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        let ours = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
        if ours.iter().any(|prefix| text.starts_with(prefix)) || text == "LD_LIBRARY_PATH" {
            command.env_remove(&name);
        }
    }
    command.env("CARGO_TERM_COLOR", "never");
}
