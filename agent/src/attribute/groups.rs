//! The cgroup of a process, read once per cgroup where the kernel's id names it.

use std::collections::HashMap;
use std::sync::Arc;

use super::cgroup::{Group, is_unified, parse};
use super::host::{Host, cgroup_directory};
use super::mounts::Mounts;
use super::table::ticks;
use crate::decode::observed::Task;

/// Cgroups remembered, by id and by text; a host with more reads some again.
const GROUPS: usize = 8192;

/// A group and the kernel's id it was found for.
pub(super) type Found = (Arc<Group>, u64);

/// What is known of cgroups.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// Only the unified hierarchy is used, so that the kernel's id is that of the path that counts. On
    /// hybrid hosts every process has the id of the unused root.
    unified: bool,
    by_id: HashMap<u64, Arc<Group>>,
    /// Equal texts share one value.
    by_text: HashMap<Vec<u8>, Arc<Group>>,
    /// Processes whose group nobody could tell.
    pub(super) unknown: u64,
    /// Groups forgotten because of the bound.
    pub(super) forgotten: u64,
}

impl Groups {
    /// Decides by the files of every process which hierarchy counts.
    pub(super) fn decide<'a>(&mut self, mut texts: impl Iterator<Item = &'a [u8]>) {
        let mut any = false;
        self.unified = texts.all(|text| {
            any = true;
            is_unified(text)
        }) && any;
    }

    /// Whether a process with this id may have moved since its group was read.
    pub(super) fn moved(&self, task: &Task, id: u64) -> bool {
        self.unified && task.cgroup != 0 && task.cgroup != id
    }

    /// The group of a text, and the id of its directory.
    pub(super) fn of_text(&mut self, host: &impl Host, mounts: &Mounts, text: &[u8]) -> Found {
        let group = self.shared(text);
        if !self.unified {
            return (group, 0);
        }
        let directory = mounts.unified_cgroup().map(|mount| cgroup_directory(mount, &group.path));
        let id = directory.and_then(|directory| host.inode(&directory)).unwrap_or_default();
        if id != 0 {
            self.forgotten += make_room(&mut self.by_id);
            self.by_id.insert(id, group.clone());
        }
        (group, id)
    }

    /// The group of a task. `before` is its group, or its parent's, as known; it holds where the process is
    /// gone and the kernel does not say that it moved.
    pub(super) fn of_task(
        &mut self,
        host: &impl Host,
        mounts: &Mounts,
        task: &Task,
        before: Option<Found>,
    ) -> Found {
        let by_id = self.unified && task.cgroup != 0;
        if by_id && let Some(group) = self.by_id.get(&task.cgroup) {
            return (group.clone(), task.cgroup);
        }
        // What is read now may be a group that the process was moved to since: then its id differs.
        let read = host.cgroup(task.id.pid, ticks(&task.id)).map(|text| self.of_text(host, mounts, &text));
        let found = [read, before].into_iter().flatten().find(|(_, id)| !by_id || *id == task.cgroup);
        match found {
            Some((group, _)) => (group, task.cgroup),
            None => {
                self.unknown += 1;
                (Arc::default(), task.cgroup)
            }
        }
    }

    fn shared(&mut self, text: &[u8]) -> Arc<Group> {
        if let Some(group) = self.by_text.get(text) {
            return group.clone();
        }
        let group = Arc::new(parse(text));
        self.forgotten += make_room(&mut self.by_text);
        self.by_text.insert(text.to_vec(), group.clone());
        group
    }
}

/// All are forgotten at once: what is used is read again soon, and no order has to be kept.
fn make_room<K, V>(map: &mut HashMap<K, V>) -> u64 {
    if map.len() < GROUPS {
        return 0;
    }
    map.clear();
    GROUPS as u64
}
