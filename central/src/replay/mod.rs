//! What happened on one host, as people think of it: which process started which, and what each one did.
//!
//! In: records of one host. Out: for each boot a forest of processes, each with its programs, its changes and
//! its children in order of the kernel's clock. Always: the same records give the same forest, in whatever
//! order they come; every record is in it once; a process that has no record of its own stands where the
//! ancestor chains of others put it. Never: I/O; trust in what a host says of its processes: chains that bite
//! their tail or go on without end are cut. It cannot fail.

pub mod process;
mod plant;

use graven_record::id::BootId;
use graven_record::v1::record::Event;

use crate::query::Found;

pub use process::{Exited, Item, Process, Program};

/// One boot's story.
#[derive(Debug)]
pub struct Boot<'a> {
    /// Which.
    pub boot: BootId,
    /// Records without a process: the logger's own, and what the kernel did by itself.
    pub notes: Vec<&'a Found>,
    /// Processes whose parent is not known.
    pub roots: Vec<Process<'a>>,
}

/// Tells the story. Boots come in the order of their first record.
pub fn replay(records: &[Found]) -> Vec<Boot<'_>> {
    let mut ordered: Vec<&Found> = records.iter().collect();
    ordered.sort_by_key(|found| (found.record.boot_time, found.lane, found.record.sequence));
    let mut boots: Vec<(u64, BootId)> = Vec::new();
    for found in records {
        match boots.iter_mut().find(|(_, boot)| *boot == found.boot) {
            Some((first, _)) => *first = found.record.time.min(*first),
            None => boots.push((found.record.time, found.boot)),
        }
    }
    boots.sort_unstable();
    boots
        .into_iter()
        .map(|(_, boot)| tell(boot, ordered.iter().copied().filter(|f| f.boot == boot)))
        .collect()
}

fn tell<'a>(boot: BootId, records: impl Iterator<Item = &'a Found>) -> Boot<'a> {
    let mut notes = Vec::new();
    let mut forest = plant::Forest::default();
    for found in records {
        if !forest.add(found) {
            notes.push(found);
        }
    }
    Boot { boot, notes, roots: forest.grow() }
}

/// Is a record shown below its process, or does it only tell about the process itself?
fn is_change(found: &Found) -> bool {
    !matches!(found.record.event, Some(Event::Exit(_)))
}

#[cfg(test)]
mod tests;
