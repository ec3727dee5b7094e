//! Recorded ring bytes in a file: a u32 (little-endian) with the length before each record.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use graven_agent::sensor::Raw;

/// The directory that the recorder protects, and changes.
pub const DEMO: &str = "/srv/graven-demo";

/// Records, in the order in which they happened.
pub fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/first_light.ring")
}

/// The line of the mount table that names the recorded file system.
pub fn mountinfo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/first_light.mountinfo")
}

/// Writes records.
pub fn write(path: &Path, records: &[Raw]) -> Result<()> {
    let mut bytes = Vec::new();
    for record in records {
        bytes.extend_from_slice(&u32::try_from(record.0.len())?.to_le_bytes());
        bytes.extend_from_slice(&record.0);
    }
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Reads them.
pub fn read(path: &Path) -> Result<Vec<Raw>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut records = Vec::new();
    let mut rest = bytes.as_slice();
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_le_bytes(*length))?;
        let (record, behind) = behind.split_at_checked(length).context("the recording is cut")?;
        records.push(Raw(record.to_vec().into()));
        rest = behind;
    }
    anyhow::ensure!(rest.is_empty(), "the recording ends in the middle of a length");
    Ok(records)
}
