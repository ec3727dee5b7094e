//! What lies in a spool, counted: how many records of each kind, and what the agent itself says of its losses.
//!
//! In: a spool's folder. Out: numbers. Always: every frame is parsed whole, so that what is counted is really
//! there. Never: changes anything, or looks at a spool that is being written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use graven_record::event::word;
use graven_record::frame::{Frame, LossKind};
use graven_record::v1::Counters;
use graven_record::v1::record::Event;

/// Counts over all frames of a spool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Frames.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records by the event's word.
    pub records: BTreeMap<String, u64>,
    /// Events lost, by the place, as the frames' headers say.
    pub lost: BTreeMap<&'static str, u64>,
    /// Of the stop record; none while the agent runs.
    pub counters: Option<Counters>,
}

impl Tally {
    /// Of all segments below a folder.
    pub fn of(spool: &Path) -> Result<Self> {
        let mut tally = Self::default();
        for segment in segments(spool)? {
            let bytes =
                std::fs::read(&segment).with_context(|| format!("cannot read {}", segment.display()))?;
            tally.add(&bytes).with_context(|| format!("in {}", segment.display()))?;
        }
        Ok(tally)
    }

    fn add(&mut self, mut segment: &[u8]) -> Result<()> {
        while !segment.is_empty() {
            let frame = Frame::parse(segment)?;
            let length = frame.bytes().len();
            segment = &segment[length..];
            self.frames += 1;
            self.bytes += length as u64;
            for kind in LossKind::ALL {
                *self.lost.entry(kind.name()).or_default() += frame.header().lost[kind as usize];
            }
            for record in frame.batch()?.records {
                *self.records.entry(word(&record).to_owned()).or_default() += 1;
                if let Some(Event::Stop(stop)) = record.event {
                    self.counters = stop.counters;
                }
            }
        }
        Ok(())
    }

    /// All records.
    pub fn stored(&self) -> u64 {
        self.records.values().sum()
    }

    /// As one object.
    pub fn json(&self) -> serde_json::Value {
        let counters = self.counters.as_ref().map(|counters| {
            serde_json::json!({
                "seen": counters.seen,
                "stored": counters.stored,
                "lost": counters.lost,
                "ignored": counters.ignored,
                "unrecorded": counters.unrecorded,
                "folded": counters.folded,
                "refused": counters.refused,
            })
        });
        serde_json::json!({
            "frames": self.frames,
            "bytes": self.bytes,
            "stored": self.stored(),
            "records": self.records,
            "lost": self.lost,
            "counters": counters,
        })
    }
}

/// `<spool>/<boot>/<lane>/NNN.seg`, whatever the folders are called.
fn segments(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            found.extend(segments(&path)?);
        } else {
            let whole = path.extension().is_some_and(|end| end == "seg");
            ensure!(whole, "{} is not a whole segment", path.display());
            found.push(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_spool_has_nothing_in_it() -> Result<()> {
        let spool = tempfile::tempdir()?;
        std::fs::create_dir_all(spool.path().join("boot/protected"))?;
        ensure!(Tally::of(spool.path())? == Tally::default());
        std::fs::write(spool.path().join("boot/protected/00000001.seg"), "")?;
        let tally = Tally::of(spool.path())?;
        ensure!(tally.stored() == 0 && tally.counters.is_none());
        Ok(())
    }

    #[test]
    fn what_is_set_aside_and_what_is_no_frame_is_not_passed_over() -> Result<()> {
        let spool = tempfile::tempdir()?;
        let lane = spool.path().join("boot/activity");
        std::fs::create_dir_all(&lane)?;
        for (name, bytes) in [("00000001.damaged", ""), ("00000002.seg", "no frame, whatever it is")] {
            let file = lane.join(name);
            std::fs::write(&file, bytes)?;
            let refused = Tally::of(spool.path());
            ensure!(refused.is_err_and(|error| format!("{error:#}").contains(name)), "{name} is passed over");
            std::fs::remove_file(&file)?;
        }
        Ok(())
    }
}
