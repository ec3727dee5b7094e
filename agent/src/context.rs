//! What is true of every record of this run: the host, its kernel and image, the policy.

use std::fs;

use graven_record::v1::{Context, Mode};

use crate::policy::Policy;

/// Longest file that is read for a name: os-release has some 300 bytes.
const MAX_NAME: usize = 4096;

/// Reads the host's names.
pub fn of_this_host(policy: &Policy) -> Context {
    let uname = rustix::system::uname();
    Context {
        hostname: uname.nodename().to_string_lossy().into_owned(),
        kernel: uname.release().to_string_lossy().into_owned(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        mode: Mode::Syscall.into(),
        image: Some(policy.image().clone()),
        policy: Some(policy.about().clone()),
        machine_id: text("/etc/machine-id").trim().to_owned(),
        os_name: os_name(&["/etc/os-release", "/usr/lib/os-release"].map(text)),
    }
}

/// A host without the file has no such name: the field stays empty, as the schema says.
fn text(path: &str) -> String {
    let mut text = fs::read_to_string(path).unwrap_or_default();
    text.truncate(text.floor_char_boundary(MAX_NAME));
    text
}

/// PRETTY_NAME of the first os-release that has one (os-release(5)).
fn os_name(files: &[String]) -> String {
    let lines = files.iter().flat_map(|text| text.lines());
    let name = lines.filter_map(|line| line.strip_prefix("PRETTY_NAME=")).next();
    name.unwrap_or_default().trim_matches(['"', '\'']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pretty_name_comes_without_its_quotes() {
        let file = "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n".to_owned();
        assert_eq!(os_name(&[String::new(), file]), "Debian GNU/Linux 12 (bookworm)");
        assert_eq!(os_name(&[]), "");
    }
}
