//! What booting needs on this machine, and getting what is missing.

use crate::apt;
use crate::fault::{self, Fault};
use crate::setup::Install;
use crate::stages::Stage;
use crate::toolchain::in_path;
use anyhow::Result;
use std::path::{Path, PathBuf};

/// The emulator.
pub(crate) const QEMU: &str = "qemu-system-x86_64";

/// Programs, with Debian's package of each.
const NEEDED: [(&str, &str); 8] = [
    (QEMU, "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("depmod", "kmod"),
    ("xz", "xz-utils"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("tar", "tar"),
    ("ldd", "libc-bin"),
];

/// Installs what is missing, if it may.
pub(crate) fn get(mut stage: Stage, install: Install) -> Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        return Err(fault::host("the guests run this machine's programs, and those are not for x86-64"));
    }
    let missing = missing();
    if missing.is_empty() {
        stage.done("found");
        return Ok(());
    }
    let list = missing.join(" ");
    if install.no_install {
        return Err(fault::host(format!(
            "missing, and --no-install was given: {list}\nRun `apt-get install {list}` as root, then again"
        )));
    }
    if !apt::available() {
        return Err(fault::host(format!(
            "this machine has no apt: install what Debian calls {list}, then again"
        )));
    }
    stage.say(&format!("will get, installed by apt: {list}"));
    if let Err(error) = apt::install(&mut stage, &missing) {
        if error.is::<Fault>() {
            return Err(error);
        }
        // The lists are missing, or name what the mirror no longer has.
        apt::update(&mut stage)?;
        apt::install(&mut stage, &missing).map_err(|error| fault::host(format!("{error:#}")))?;
    }
    stage.done("installed");
    Ok(())
}

fn missing() -> Vec<String> {
    let absent = NEEDED.iter().filter(|(program, _)| find(program).is_none());
    absent.map(|(_, package)| (*package).to_owned()).collect()
}

/// A program that people who are not root have not in their path.
pub(crate) fn in_sbin(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| PathBuf::from(name))
}

/// Where a program is.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/sbin", "/sbin"].map(|folder| Path::new(folder).join(name));
    in_path(name).or_else(|| folders.into_iter().find(|path| path.is_file()))
}
