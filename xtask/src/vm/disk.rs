//! Disk images for the guest.

use crate::folder;
use crate::stages::Stage;
use crate::vm::needs::in_sbin;
use anyhow::{Context, Result};
use std::fs::File;
use std::path::Path;
use std::process::Command;

/// What a file system needs beside the files: tables, and rounding of many small files to blocks.
const OVERHEAD: u64 = 64 << 20;

/// Files that a guest may make: suites make many small ones.
const INODES: usize = 150_000;

/// The smallest btrfs that its own tool makes is a little less.
const BTRFS: u64 = 128 << 20;

/// Room for what comes back: sparse, so that what is not used costs nothing.
const RESULT: u64 = 512 << 20;

/// An ext4 image of the folder, with so many bytes free. No journal: it lives for one boot.
pub(crate) fn ext4(stage: &mut Stage, image: &Path, content: &Path, free: u64) -> Result<()> {
    let mut files = Vec::new();
    folder::list(content, &mut files)?;
    let mut bytes = 0;
    for file in &files {
        bytes += file.symlink_metadata().with_context(|| format!("cannot read {}", file.display()))?.len();
    }
    sparse(image, bytes + bytes / 8 + OVERHEAD + free)?;
    let inodes = (files.len() + INODES).to_string();
    let mut command = Command::new(in_sbin("mkfs.ext4"));
    command.args(["-q", "-F", "-m", "0", "-O", "^has_journal", "-E", "root_owner=0:0", "-N", &inodes, "-d"]);
    command.arg(content).arg(image);
    stage.run(command)
}

/// An empty btrfs.
pub(crate) fn btrfs(stage: &mut Stage, image: &Path) -> Result<()> {
    sparse(image, BTRFS)?;
    let mut command = Command::new(in_sbin("mkfs.btrfs"));
    command.arg("-q").arg(image);
    stage.run(command)
}

/// Zeros, for an archive that the guest writes.
pub(crate) fn result(image: &Path) -> Result<()> {
    sparse(image, RESULT)
}

fn sparse(image: &Path, bytes: u64) -> Result<()> {
    let file = File::create(image).with_context(|| format!("cannot write {}", image.display()))?;
    file.set_len(bytes).with_context(|| format!("cannot write {}", image.display()))
}
