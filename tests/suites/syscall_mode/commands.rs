//! Commands of ioctl(2) that change files, file systems and disks, on a file system and a disk of the test's own.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use graven_tests::actor::operand;
use graven_tests::record::{Expected, activity};
use graven_tests::scene::Scene;
use graven_tests::wait::until;
use graven_tests::{missing, sight, words};
use rustix::mount::{UnmountFlags, unmount};

use crate::uring::lacking;
use crate::{scene, skipped};

/// btrfs makes none smaller than 109 MiB.
const DISK: u64 = 128 << 20;
/// A block of btrfs.
const BLOCK: usize = 4096;

/// A disk, and what is mounted of it.
struct Disk {
    device: PathBuf,
    mounted: Option<PathBuf>,
}

impl Disk {
    /// None where loop devices cannot be had, which is said.
    fn new(image: &Path) -> Result<Option<Self>> {
        File::create(image)?.set_len(DISK)?;
        let attached = Command::new("losetup").args(["--find", "--show"]).arg(image).output()?;
        if !attached.status.success() {
            skipped("loop", String::from_utf8_lossy(&attached.stderr).trim());
            return Ok(None);
        }
        let device = PathBuf::from(String::from_utf8(attached.stdout)?.trim());
        Ok(Some(Self { device, mounted: None }))
    }

    /// False where there is no btrfs, which is said.
    fn mount(&mut self, at: &Path) -> Result<bool> {
        let made = match Command::new("mkfs.btrfs").arg("-q").arg(&self.device).output() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                skipped("btrfs", "btrfs-progs is not installed");
                return Ok(false);
            }
            made => made.context("mkfs.btrfs")?,
        };
        ensure!(made.status.success(), "mkfs.btrfs: {}", String::from_utf8_lossy(&made.stderr));
        let mounted = Command::new("mount")
            .env("LC_ALL", "C")
            .args(["-t", "btrfs"])
            .arg(&self.device)
            .arg(at)
            .output()?;
        let said = String::from_utf8_lossy(&mounted.stderr);
        if said.contains("unknown filesystem type") {
            skipped("btrfs", "this kernel has no btrfs");
            return Ok(false);
        }
        ensure!(mounted.status.success(), "mount: {said}");
        self.mounted = Some(at.to_owned());
        Ok(true)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(at) = &self.mounted
            && let Err(error) = unmount(at, UnmountFlags::DETACH)
        {
            eprintln!("{} stays mounted: {error}", at.display());
        }
        match Command::new("losetup").arg("--detach").arg(&self.device).output() {
            Ok(output) if output.status.success() => {}
            failed => eprintln!("{} stays: {failed:?}", self.device.display()),
        }
    }
}

/// Words of 64 bits as an operand.
fn long(words: &[u64]) -> String {
    operand(&words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>())
}

fn changed(path: &Path, command: &str) -> Expected {
    Expected::modify(path).by("native", "ioctl").with("/unmapped/operation", format!("ioctl {command}"))
}

#[test]
fn what_is_cloned_into_a_file_or_made_of_it_by_a_command_is_recorded() -> Result<()> {
    scene("btrfs", |scene| {
        let at = scene.directory("mount")?;
        let Some(mut disk) = Disk::new(&scene.stage().outside("btrfs")?.join("disk"))? else { return Ok(()) };
        if !disk.mount(&at)? {
            return Ok(());
        }
        scene.stage().known(&at)?;
        let mut below = Scene::below(scene.stage(), &at, "commands", scene.actor())?;
        clones(&mut below)?;
        subvolumes(&mut below)?;
        below.check()
    })
}

fn clones(scene: &mut Scene<'_>) -> Result<()> {
    let from = scene.path("from");
    std::fs::write(&from, vec![b'x'; BLOCK])?;
    let length = BLOCK as u64;
    // A command of one of both, the first or the second.
    let ordered = |to: &Path, at: &str, number: &str, operand: &str| {
        words!["open", from, "0", "0", "then", "open", to, "1", "0", "then", "ioctl", at, number, operand]
    };
    let opened = |to: &Path| Expected::new("open", activity::UPDATE, to).by("native", "open");
    // The first descriptor is the third: `struct file_clone_range`, and `struct file_dedupe_range` with one target.
    let range = long(&[3, 0, length, 0]);
    for (command, number, operand) in
        [("FICLONE", "0x40049409", "@1"), ("FICLONERANGE", "0x4020940d", range.as_str())]
    {
        let to = scene.file(command)?;
        scene.act(&ordered(&to, "@2", number, operand), vec![opened(&to), changed(&to, command)])?;
    }
    let to = scene.path("FIDEDUPERANGE");
    std::fs::write(&to, vec![b'x'; BLOCK])?;
    let range = long(&[0, length, 1, 4, 0, 0, 0]);
    // What it says is about the file that it is called with.
    let told = vec![opened(&to), changed(&from, "FIDEDUPERANGE").reported()];
    scene.act(&ordered(&to, "@1", "0xc0189436", &range), told)
}

/// No function that the sensor hangs on tells of a subvolume.
fn subvolumes(scene: &mut Scene<'_>) -> Result<()> {
    let is_told = sight::of_inodes_alone();
    let changed = |path: &Path, command: &str| {
        let changed = changed(path, command);
        if is_told { changed } else { changed.reported() }
    };
    let folder = scene.directory("folder")?;
    // `struct btrfs_ioctl_vol_args`: a descriptor and a name.
    let mut volume = [0; 4096];
    volume[8..17].copy_from_slice(b"subvolume");
    let operand = operand(&volume);
    for (command, number) in
        [("BTRFS_IOC_SUBVOL_CREATE", "0x5000940e"), ("BTRFS_IOC_SNAP_DESTROY", "0x5000940f")]
    {
        let words: Vec<OsString> =
            words!["open", folder, "0", "0", "then", "ioctl", "@1", number, operand].to_vec();
        scene.act(&words, vec![changed(&folder, command)])?;
    }
    Ok(())
}

#[test]
fn what_a_command_does_to_a_disk_is_recorded_wherever_its_node_lies() -> Result<()> {
    scene("disk", |scene| {
        let Some(disk) = Disk::new(&scene.stage().outside("disk")?.join("disk"))? else { return Ok(()) };
        let device = &disk.device;
        let range = long(&[0, BLOCK as u64]);
        for (command, number, operand) in [
            // Not to be written, no: as it was.
            ("BLKROSET", "0x125d", "0x00000000"),
            ("BLKDISCARD", "0x1277", range.as_str()),
            ("BLKZEROOUT", "0x127f", &range),
        ] {
            let opened = Expected::new("open", activity::UPDATE, device).by("native", "open").recorded();
            let words = words!["open", device, "1", "0", "then", "ioctl", "@1", number, operand];
            scene.act(&words, vec![opened, changed(device, command).reported().recorded()])?;
        }
        // The same as a request: from 6.12 on.
        let discard = "io_uring uring_cmd BLOCK_URING_CMD_DISCARD";
        let expected = Expected::modify(device).by("io_uring", "io_uring uring_cmd");
        let expected = expected.with("/unmapped/operation", discard).reported().recorded();
        let opened = Expected::new("open", activity::UPDATE, device).recorded();
        let words = words!["--uring", "plain", "uring_cmd", device, "0x1200", "0", BLOCK.to_string()];
        if let Some(why) = scene.act_if_there(&words, vec![opened, expected])? {
            lacking("uring_cmd", &why);
        }
        Ok(())
    })
}

/// Nothing tells that a request has opened it, or what: who asked for it is never left out.
#[test]
fn a_disk_that_is_opened_by_a_request_is_recorded_wherever_its_node_lies() -> Result<()> {
    scene("requested", |scene| {
        let Some(disk) = Disk::new(&scene.stage().outside("requested")?.join("disk"))? else { return Ok(()) };
        if !sight::of_requests()? {
            return Ok(());
        }
        let words = words!["--uring", "plain", "openat", disk.device, "1", "0"];
        let acted = scene.actor().act(&words)?;
        // It lies in no place of the policy: its lane is not the fence's.
        let mut told = Vec::new();
        let arrived = until("the record of an open by io_uring", || {
            told = scene.records(&words!["--kind", "open"])?;
            told.retain(|record| record.pid() == Some(acted.pid.into()));
            Ok((!told.is_empty()).then_some(()))
        });
        scene.or_lost(
            arrived.map_err(|error| missing::none("opens", [&disk.device]).err().unwrap_or(error)),
        )?;
        let opened = Expected::new("open", activity::UPDATE, &disk.device).reported().recorded();
        let opened = opened.by("io_uring", "io_uring openat");
        told.iter().try_for_each(|record| opened.is(record, &acted))
    })
}
