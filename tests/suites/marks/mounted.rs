//! File systems of a test's own, on which stat's numbers of an inode are not the kernel's.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use graven_tests::place::Place;
use rustix::io::Errno;

/// Directories of an image, below which a file lies.
pub(crate) const DEEP: &str = "watched/1/2/3/4/5/6/7/8/9";

/// btrfs makes none smaller than 109 MiB.
const DISK: u64 = 128 << 20;

/// A file system of a test's own, unmounted at its end; below it what it is made of.
pub(crate) struct Mounted(PathBuf, Option<Box<Self>>);

impl Drop for Mounted {
    fn drop(&mut self) {
        // Processes that are still there keep it until they end.
        match rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH) {
            // A test may have done so.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(error) => eprintln!("{} stays mounted: {error}", self.0.display()),
        }
    }
}

pub(crate) fn overlay(place: &Place) -> Result<Mounted> {
    layered(place, |_| Ok(()))
}

pub(crate) fn overlay_over_an_image(place: &Place) -> Result<Mounted> {
    layered(place, image)
}

/// The image lies on a file system of its own, as one in memory.
pub(crate) fn overlay_over_memory(place: &Place) -> Result<Mounted> {
    above(place, "lower", image)
}

/// What changes lies in memory: a live system.
pub(crate) fn overlay_in_memory(place: &Place) -> Result<Mounted> {
    above(place, "changes", |_| Ok(()))
}

/// An overlay of which this folder is a tmpfs.
fn above(place: &Place, folder: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<Mounted> {
    let memory = mount(place, folder, &["-t", "tmpfs", "tmpfs"])?;
    let mut overlay = layered(place, fill)?;
    overlay.1 = Some(Box::new(memory));
    Ok(overlay)
}

/// The lower layer has a file deeper than one call may note directories, and one that can be removed.
fn image(lower: &Path) -> Result<()> {
    let deep = lower.join(DEEP);
    std::fs::create_dir_all(&deep)?;
    std::fs::write(deep.join("file"), "from the image\n")?;
    Ok(std::fs::write(lower.join("watched/gone"), "from the image\n")?)
}

/// The upper layer has a directory `root` that the lower one has not, so that it can be renamed.
fn layered(place: &Place, fill: impl FnOnce(&Path) -> Result<()>) -> Result<Mounted> {
    let [lower, upper, work] = ["lower", "changes/upper", "changes/work"].map(|name| place.join(name));
    [&lower, &upper, &work].into_iter().try_for_each(std::fs::create_dir_all)?;
    std::fs::create_dir(lower.join("watched"))?;
    std::fs::write(lower.join("watched/below"), "from the image\n")?;
    fill(&lower)?;
    std::fs::create_dir_all(upper.join("watched/root"))?;
    let layers =
        format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    mount(place, "mount", &["-t", "overlay", "-o", &layers, "overlay"])
}

pub(crate) fn btrfs(place: &Place) -> Result<Mounted> {
    let disk = place.join("disk");
    std::fs::File::create(&disk)?.set_len(DISK)?;
    run(Command::new("mkfs.btrfs").arg("-q").arg(&disk))?;
    let text = disk.to_string_lossy();
    let mounted = mount(place, "mount", &["-t", "btrfs", "-o", "loop", &text])?;
    run(Command::new("btrfs").args(["-q", "subvolume", "create"]).arg(mounted.0.join("watched")))?;
    std::fs::write(mounted.0.join("watched/below"), "from the image\n")?;
    Ok(mounted)
}

/// Why there can be none here.
pub(crate) fn lacks(name: &str) -> Result<Option<&'static str>> {
    if name == "btrfs" && Command::new("mkfs.btrfs").arg("--version").output().is_err() {
        return Ok(Some("btrfs-progs is not installed"));
    }
    // It may be a module, which mount would load; whether that works shows in the list.
    let _loaded = Command::new("modprobe").args(["-q", name]).status();
    let known = std::fs::read_to_string("/proc/filesystems")?;
    let known = known.lines().any(|line| line.split_whitespace().next_back() == Some(name));
    Ok((!known).then_some("this kernel has no such file system"))
}

/// Mounts something at a name in the test's folder.
fn mount(place: &Place, name: &str, what: &[&str]) -> Result<Mounted> {
    let target = place.folder(name)?;
    run(Command::new("mount").args(what).arg(&target))?;
    Ok(Mounted(target, None))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
