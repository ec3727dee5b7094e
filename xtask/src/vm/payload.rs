//! The guest's root disk: this machine's programs and their libraries, at the paths they have here.
//!
//! In: files of this machine. Out: an ext4 image. Always: a test program finds its own files where it was told
//! that they are when it was compiled. Never: a second build; what runs in the guest is what runs here.

use crate::folder;
use crate::stages::Stage;
use crate::vm::{disk, libraries, needs};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::process::Command;

/// Room for what a test writes.
const FREE: u64 = 512 << 20;

/// Programs of this machine that tests and people use and that are not the same in busybox: they are copied
/// and renamed by tests, or have more options. What is not here is left out.
const TOOLS: [&str; 32] = [
    "bash",
    "btrfs",
    "cat",
    "chattr",
    "chmod",
    "chown",
    "cp",
    "dash",
    "dd",
    "env",
    "getfattr",
    "id",
    "ln",
    "losetup",
    "ls",
    "lsattr",
    "mkdir",
    "mkfs.btrfs",
    "mount",
    "mv",
    "nsenter",
    "rm",
    "setfattr",
    "setpriv",
    "sh",
    "sleep",
    "stat",
    "strace",
    "touch",
    "true",
    "umount",
    "unshare",
];

/// Folders of a Debian root, all others being links into `usr`.
const FOLDERS: [&str; 19] = [
    "usr/bin",
    "usr/sbin",
    "usr/lib/modules",
    "usr/lib64",
    "dev",
    "etc",
    "mnt/btrfs",
    "mnt/lower",
    "mnt/overlay",
    "mnt/tmpfs",
    "opt",
    "proc",
    "root",
    "run",
    "srv",
    "sys",
    "tmp",
    "var/lib",
    "var/tmp",
];

const LINKS: [(&str, &str); 5] = [
    ("bin", "usr/bin"),
    ("sbin", "usr/sbin"),
    ("lib", "usr/lib"),
    ("lib64", "usr/lib64"),
    ("var/run", "../run"),
];

/// Files that programs look for.
const FILES: [(&str, &str); 6] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\ntester:x:1000:1000::/tmp:/bin/sh\n\
                    nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    ),
    ("etc/group", "root:x:0:\ntester:x:1000:\nnogroup:x:65534:\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
    ("etc/hosts", "127.0.0.1 localhost graven-vm\n::1 localhost\n"),
    ("etc/fstab", "/dev/graven-4 /mnt/btrfs btrfs noauto 0 0\n"),
    ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
];

/// The guest's first program on this disk.
const START: &str = include_str!("guest/start.sh");

/// Makes the disk image from a tree that is staged in `work`.
pub(crate) fn disk(stage: &mut Stage, work: &Path, files: &[PathBuf]) -> Result<PathBuf> {
    let root = work.join("root");
    folder::remake(&root)?;
    skeleton(&root)?;
    busybox(&root)?;
    let tools: Vec<PathBuf> = TOOLS.iter().filter_map(|name| needs::find(name)).collect();
    for tool in &tools {
        let name = tool.file_name().context("a tool without a name")?;
        place(tool, &root.join("usr/bin").join(name))?;
    }
    let mut all = Vec::new();
    for file in files {
        match file.is_dir() {
            true => folder::list(file, &mut all)?,
            false => all.push(file.clone()),
        }
    }
    for file in &all {
        place(file, &inside(&root, file)?)?;
    }
    let folders = libraries::folders(&all);
    let programs: Vec<PathBuf> =
        all.into_iter().chain(tools).filter(|file| libraries::is_program(file)).collect();
    for library in libraries::of(&programs, &folders)? {
        place(&library, &inside(&root, &library)?)?;
    }
    let image = work.join("root.ext4");
    disk::ext4(stage, &image, &root, FREE)?;
    folder::remove(&root)?;
    Ok(image)
}

/// What busybox needs to run.
pub(crate) fn busybox_files() -> Result<BTreeSet<PathBuf>> {
    let program = needs::find("busybox").context("busybox is gone")?;
    let mut files = libraries::of(std::slice::from_ref(&program), &BTreeSet::new())?;
    files.insert(program);
    Ok(files)
}

fn skeleton(root: &Path) -> Result<()> {
    for name in FOLDERS {
        let path = root.join(name);
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    }
    for name in ["tmp", "var/tmp"] {
        std::fs::set_permissions(root.join(name), std::fs::Permissions::from_mode(0o1777))
            .context("cannot open the guest's /tmp to all")?;
    }
    for (name, target) in LINKS {
        symlink(target, root.join(name)).with_context(|| format!("cannot link {name}"))?;
    }
    for (name, text) in FILES {
        std::fs::write(root.join(name), text).with_context(|| format!("cannot write {name}"))?;
    }
    let start = root.join("usr/sbin/graven-start");
    std::fs::write(&start, START).context("cannot write graven-start")?;
    std::fs::set_permissions(&start, std::fs::Permissions::from_mode(0o755))
        .context("cannot make graven-start a program")
}

/// Busybox under all its names; a tool of the same name takes the place of the link.
fn busybox(root: &Path) -> Result<()> {
    let program = needs::find("busybox").context("busybox is gone")?;
    place(&program, &root.join("usr/bin/busybox"))?;
    let list = Command::new(&program).arg("--list").output().context("cannot run busybox")?;
    for name in String::from_utf8_lossy(&list.stdout).lines().filter(|name| *name != "busybox") {
        symlink("busybox", root.join("usr/bin").join(name)).with_context(|| format!("cannot link {name}"))?;
    }
    // The kernel calls it by this path when a file system's module is missing.
    symlink("../bin/busybox", root.join("usr/sbin/modprobe")).context("cannot link modprobe")
}

/// The same path below the guest's root.
fn inside(root: &Path, path: &Path) -> Result<PathBuf> {
    anyhow::ensure!(path.is_absolute(), "{} is not absolute", path.display());
    let parts = path.components().filter(|part| matches!(part, Component::Normal(_)));
    Ok(root.join(parts.collect::<PathBuf>()))
}

/// The file's content at another place: a hard link where that goes, since nothing here is changed.
fn place(from: &Path, to: &Path) -> Result<()> {
    // A link's target, so that what is copied is a file whatever it is called by.
    let from = from.canonicalize().with_context(|| format!("{} is not there", from.display()))?;
    if let Some(above) = to.parent() {
        std::fs::create_dir_all(above).with_context(|| format!("cannot make {}", above.display()))?;
    }
    // An applet's link, or a library that two programs name.
    if to.symlink_metadata().is_ok() {
        std::fs::remove_file(to).with_context(|| format!("cannot replace {}", to.display()))?;
    }
    if std::fs::hard_link(&from, to).is_err() {
        std::fs::copy(&from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_the_guests_root() -> Result<()> {
        let root = Path::new("/r");
        assert_eq!(inside(root, Path::new("/a/b"))?, Path::new("/r/a/b"));
        assert_eq!(inside(root, Path::new("/../a"))?, Path::new("/r/a"));
        assert!(inside(root, Path::new("a")).is_err());
        Ok(())
    }

    #[test]
    fn a_file_takes_the_place_of_a_link_and_not_of_its_target() -> Result<()> {
        let work = std::env::temp_dir().join(format!("graven-xtask-place-{}", std::process::id()));
        folder::remake(&work)?;
        let (target, link, new) = (work.join("busybox"), work.join("ls"), work.join("real"));
        std::fs::write(&target, "busybox")?;
        std::fs::write(&new, "real")?;
        symlink("busybox", &link)?;
        place(&new, &link)?;
        assert_eq!(std::fs::read_to_string(&link)?, "real");
        assert_eq!(std::fs::read_to_string(&target)?, "busybox");
        folder::remove(&work)
    }
}
