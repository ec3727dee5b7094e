//! Every program run that lives, and those that ended lately or are an ancestor of one that lives.
//!
//! A parent is the program run that forked, as it was then: neither its exec, its end nor a new parent of
//! the child (re-parenting, double fork) changes the chain.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::cgroup::Group;
use crate::decode::observed::{ExecId, Task};
use crate::quick::QuickMap;

/// Program runs kept. pid_max is 32,768 by default and an ancestor or two lives on for many of them.
const RUNS: usize = 65_536;
/// An ended run stays this long, ns: events of its last moments may come through a slower ring.
const KEPT: u64 = 60_000_000_000;
/// Runs evicted at once when all live: the search for the oldest is paid for once per so many.
const BATCH: usize = 1024;
/// ns in a tick of `/proc/PID/stat`: USER_HZ is 100 wherever Linux runs for us.
const TICK: u64 = 10_000_000;

/// One program as a process runs it. A fork shares it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Program {
    /// Host path; empty when unknown.
    pub(super) exe: Bytes,
    /// Device and inode of the executable, as the kernel names them; 0 when unknown.
    pub(super) device: u64,
    pub(super) inode: u64,
    /// Device and inode came from an event, not from stat, whose device may differ.
    pub(super) by_kernel: bool,
    /// NUL-joined and redacted.
    pub(super) arguments: Bytes,
    pub(super) arguments_cut: bool,
}

impl Program {
    /// One that the kernel names by its inode only.
    pub(super) fn unknown(task: &Task) -> Self {
        Self { device: task.exe_device, inode: task.exe_inode, by_kernel: true, ..Self::default() }
    }

    /// Whether the task runs another program than this one.
    pub(super) fn contradicts(&self, task: &Task) -> bool {
        let same_device = self.device == task.exe_device;
        task.exe_inode != 0 && self.inode != task.exe_inode && (same_device || self.by_kernel)
    }
}

/// Where a process came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parent {
    /// The kernel made it.
    Kernel,
    /// Nobody saw.
    Unknown,
    /// A run in the table, or one that was evicted since.
    Run(Key),
}

/// Never used again within a table, unlike a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key(u64);

/// One program run.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) id: ExecId,
    pub(super) parent: Parent,
    pub(super) program: Arc<Program>,
    pub(super) comm: Bytes,
    pub(super) kernel_thread: bool,
    pub(super) group: Arc<Group>,
    /// The cgroup id that `group` was read for.
    pub(super) group_id: u64,
    /// `/proc` was asked about it.
    pub(super) looked_up: bool,
    /// A kept record refers to the process.
    pub(super) referred: bool,
    /// The id came from the kernel; false: pid and start tick from `/proc`, `exec` unknown.
    exact: bool,
    ended: Option<u64>,
    /// Its time is over, only its children keep it.
    overdue: bool,
    children: u32,
}

impl Run {
    pub(super) fn new(id: ExecId, parent: Parent) -> Self {
        Self {
            id,
            parent,
            program: Arc::default(),
            comm: Bytes::new(),
            kernel_thread: false,
            group: Arc::default(),
            group_id: 0,
            looked_up: false,
            referred: false,
            exact: true,
            ended: None,
            overdue: false,
            children: 0,
        }
    }

    /// One found in `/proc`, where the start is in ticks and the exec is not told.
    pub(super) fn seeded(pid: u32, ticks: u64) -> Self {
        let id = ExecId { pid, start: ticks.saturating_mul(TICK), exec: 0 };
        Self { exact: false, looked_up: true, ..Self::new(id, Parent::Unknown) }
    }
}

/// The start of a process as `/proc/PID/stat` tells it.
pub(super) fn ticks(id: &ExecId) -> u64 {
    id.start / TICK
}

/// The process table.
#[derive(Debug)]
pub(super) struct Table {
    runs: QuickMap<Key, Run>,
    by_id: QuickMap<ExecId, Key>,
    /// The latest run of each pid.
    current: QuickMap<u32, Key>,
    ended: VecDeque<(u64, Key)>,
    next: u64,
    bound: usize,
    /// Live runs that had to go.
    pub(super) evicted_live: u64,
    /// Ended runs that had to go before their time or while an ancestor.
    pub(super) evicted_early: u64,
}

impl Default for Table {
    fn default() -> Self {
        Self::bounded(RUNS)
    }
}

impl Table {
    fn bounded(bound: usize) -> Self {
        Self {
            runs: QuickMap::default(),
            by_id: QuickMap::default(),
            current: QuickMap::default(),
            ended: VecDeque::new(),
            next: 0,
            bound,
            evicted_live: 0,
            evicted_early: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.runs.len()
    }

    pub(super) fn run(&self, key: Key) -> Option<&Run> {
        self.runs.get(&key)
    }

    pub(super) fn run_mut(&mut self, key: Key) -> Option<&mut Run> {
        self.runs.get_mut(&key)
    }

    /// The run of an id. A seeded run is taken over by the first id of its pid and start tick.
    pub(super) fn find(&mut self, id: &ExecId) -> Option<Key> {
        if let Some(key) = self.by_id.get(id) {
            return Some(*key);
        }
        let key = *self.current.get(&id.pid)?;
        let run = self.runs.get_mut(&key)?;
        if run.exact || ticks(&run.id) != ticks(id) {
            return None;
        }
        self.by_id.remove(&run.id);
        run.id = *id;
        run.exact = true;
        self.by_id.insert(*id, key);
        Some(key)
    }

    /// The latest run of a pid, if it is of the process that started at this moment.
    pub(super) fn sibling(&self, id: &ExecId) -> Option<Key> {
        let key = *self.current.get(&id.pid)?;
        (self.runs.get(&key)?.id.start == id.start).then_some(key)
    }

    /// The latest run of a pid, whoever it is: only for linking seeds.
    pub(super) fn latest(&self, pid: u32) -> Option<Key> {
        self.current.get(&pid).copied()
    }

    /// Adds a run. What the pid ran before has ended, unless this is a late word of an earlier run.
    pub(super) fn add(&mut self, run: Run, at: u64) -> Key {
        self.make_room(at);
        let key = Key(self.next);
        self.next += 1;
        self.adopt(run.parent);
        let id = run.id;
        let stale = self.by_id.insert(id, key);
        self.runs.insert(key, run);
        if let Some(stale) = stale {
            self.forget(stale);
        }
        match self.current.get(&id.pid).copied() {
            Some(before) if self.is_later(before, &id) => self.end(key, at),
            before => {
                self.current.insert(id.pid, key);
                if let Some(before) = before {
                    self.end(before, at);
                }
            }
        }
        key
    }

    /// A child as it is made: its parent's program, name and cgroup.
    pub(super) fn fork(&mut self, parent: Key, child: ExecId, at: u64) -> Key {
        let mut run = Run::new(child, Parent::Run(parent));
        if let Some(parent) = self.runs.get(&parent) {
            run.program = parent.program.clone();
            run.comm = parent.comm.clone();
            run.kernel_thread = parent.kernel_thread;
            run.group = parent.group.clone();
            run.group_id = parent.group_id;
        }
        self.add(run, at)
    }

    /// Changes where a run came from.
    pub(super) fn set_parent(&mut self, key: Key, parent: Parent) {
        self.adopt(parent);
        if let Some(run) = self.runs.get_mut(&key) {
            let old = std::mem::replace(&mut run.parent, parent);
            self.release(old);
        }
    }

    /// Its process ended, or runs another program now.
    pub(super) fn end(&mut self, key: Key, at: u64) {
        let Some(run) = self.runs.get_mut(&key).filter(|run| run.ended.is_none()) else { return };
        run.ended = Some(at);
        self.ended.push_back((at, key));
    }

    /// Marks the process and its ancestors: their exits are worth a record. Whose run is marked has marked ancestors.
    pub(super) fn refer(&mut self, id: &ExecId) {
        let mut next = self.by_id.get(id).copied();
        while let Some(run) = next.and_then(|key| self.runs.get_mut(&key)).filter(|run| !run.referred) {
            run.referred = true;
            next = match run.parent {
                Parent::Run(key) => Some(key),
                Parent::Kernel | Parent::Unknown => None,
            };
        }
    }

    /// The chain of parents, nearest first, and whether it was followed to its end.
    pub(super) fn ancestors(&self, key: Key, most: usize) -> (Vec<&Run>, bool) {
        let mut chain = Vec::new();
        let whole = self.climb(key, most, |run| chain.push(run));
        (chain, whole)
    }

    /// Shows the parents, nearest first. True when there are no others.
    pub(super) fn climb<'a>(&'a self, key: Key, most: usize, mut see: impl FnMut(&'a Run)) -> bool {
        let mut parent = self.runs.get(&key).map_or(Parent::Unknown, |run| run.parent);
        let mut left = most;
        loop {
            match parent {
                Parent::Kernel => return true,
                Parent::Unknown => return false,
                Parent::Run(key) => match self.runs.get(&key) {
                    Some(run) if left > 0 => {
                        left -= 1;
                        parent = run.parent;
                        see(run);
                    }
                    _ => return false,
                },
            }
        }
    }

    /// Forgets what ended long enough ago and is nobody's ancestor.
    pub(super) fn expire(&mut self, at: u64) {
        while let Some(&(ended, key)) = self.ended.front() {
            if ended.saturating_add(KEPT) > at {
                break;
            }
            self.ended.pop_front();
            self.retire(key);
        }
    }

    fn is_later(&self, key: Key, id: &ExecId) -> bool {
        self.runs.get(&key).is_some_and(|run| (run.id.start, run.id.exec) > (id.start, id.exec))
    }

    fn retire(&mut self, key: Key) {
        match self.runs.get_mut(&key) {
            Some(run) if run.children > 0 => run.overdue = true,
            Some(_) => self.forget(key),
            None => {}
        }
    }

    fn forget(&mut self, key: Key) {
        let Some(run) = self.runs.remove(&key) else { return };
        if self.by_id.get(&run.id) == Some(&key) {
            self.by_id.remove(&run.id);
        }
        if self.current.get(&run.id.pid) == Some(&key) {
            self.current.remove(&run.id.pid);
        }
        self.release(run.parent);
    }

    /// One child more.
    fn adopt(&mut self, parent: Parent) {
        if let Parent::Run(key) = parent
            && let Some(parent) = self.runs.get_mut(&key)
        {
            parent.children += 1;
        }
    }

    /// One child less; the last one takes overdue ancestors with it.
    fn release(&mut self, mut parent: Parent) {
        while let Parent::Run(key) = parent {
            let Some(run) = self.runs.get_mut(&key) else { return };
            run.children = run.children.saturating_sub(1);
            if run.children > 0 || !run.overdue {
                return;
            }
            parent = run.parent;
            let id = run.id;
            self.runs.remove(&key);
            if self.by_id.get(&id) == Some(&key) {
                self.by_id.remove(&id);
            }
            if self.current.get(&id.pid) == Some(&key) {
                self.current.remove(&id.pid);
            }
        }
    }

    fn make_room(&mut self, at: u64) {
        if self.runs.len() < self.bound {
            return;
        }
        self.expire(at);
        while self.runs.len() >= self.bound {
            match self.ended.pop_front() {
                Some((_, key)) if self.runs.contains_key(&key) => {
                    self.evicted_early += 1;
                    self.forget(key);
                }
                Some(_) => {}
                None => return self.evict_oldest(),
            }
        }
    }

    /// Ended ancestors whose time is over first, then whoever has been here longest.
    fn evict_oldest(&mut self) {
        let mut keys = self.runs.iter().map(|(key, run)| (run.ended.is_none(), *key)).collect::<Vec<_>>();
        let batch = BATCH.min(self.bound.div_ceil(16)).min(keys.len());
        if batch < keys.len() {
            keys.select_nth_unstable(batch);
        }
        for (live, key) in keys.into_iter().take(batch) {
            if live {
                self.evicted_live += 1;
            } else {
                self.evicted_early += 1;
            }
            self.forget(key);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn id(pid: u32, start: u64, exec: u32) -> ExecId {
        ExecId { pid, start, exec }
    }

    fn first(table: &mut Table, pid: u32) -> Key {
        table.add(Run::new(id(pid, 1, 0), Parent::Kernel), 1)
    }

    fn chain(table: &Table, key: Key) -> Vec<u32> {
        table.ancestors(key, 32).0.iter().map(|run| run.id.pid).collect()
    }

    #[test]
    fn a_double_fork_keeps_the_chain_as_it_was_made() {
        let mut table = Table::default();
        let init = first(&mut table, 1);
        let shell = table.fork(init, id(10, 5, 1), 5);
        let middle = table.fork(shell, id(11, 6, 1), 6);
        let daemon = table.fork(middle, id(12, 7, 1), 7);
        table.end(middle, 8);
        table.end(shell, 9);
        table.expire(9 + 3 * KEPT);
        assert_eq!(chain(&table, daemon), [11, 10, 1], "ancestors of the living stay");
        assert!(table.ancestors(daemon, 32).1);
        table.end(daemon, 10 + 3 * KEPT);
        table.expire(20 + 4 * KEPT);
        assert_eq!(table.len(), 1, "the last child takes overdue ancestors with it");
    }

    #[test]
    fn an_exec_of_the_parent_does_not_change_what_its_child_came_from() {
        let mut table = Table::default();
        let init = first(&mut table, 1);
        let before = table.fork(init, id(10, 5, 1), 5);
        let child = table.fork(before, id(11, 6, 1), 6);
        table.add(Run::new(id(10, 5, 2), Parent::Run(init)), 7);
        let (ancestors, _) = table.ancestors(child, 32);
        assert_eq!(ancestors[0].id, id(10, 5, 1));
    }

    #[test]
    fn a_pid_that_is_used_again_is_another_process() {
        let mut table = Table::default();
        let init = first(&mut table, 1);
        let old = table.fork(init, id(10, 5, 1), 5);
        let child = table.fork(old, id(20, 6, 1), 6);
        table.end(old, 7);
        let new = table.fork(init, id(10, 8, 1), 8);
        assert_eq!(table.find(&id(10, 5, 1)), Some(old));
        assert_eq!(table.find(&id(10, 8, 1)), Some(new));
        assert_eq!(chain(&table, child), [10, 1]);
        assert_eq!(table.ancestors(child, 32).0[0].id.start, 5);
    }

    #[test]
    fn a_seed_is_taken_over_by_the_first_exact_id_of_its_tick_only() {
        let mut table = Table::default();
        let seed = table.add(Run::seeded(7, 100), 0);
        assert_eq!(table.find(&id(7, 101 * TICK + 3, 4)), None);
        assert_eq!(table.find(&id(7, 100 * TICK + 999, 4)), Some(seed));
        assert_eq!(table.run(seed).unwrap().id, id(7, 100 * TICK + 999, 4));
        assert_eq!(table.find(&id(7, 100 * TICK + 998, 4)), None, "it is exact now");
    }

    #[test]
    fn a_late_word_of_an_earlier_run_does_not_end_the_present_one() {
        let mut table = Table::default();
        let now = table.add(Run::new(id(9, 5, 3), Parent::Kernel), 5);
        table.add(Run::new(id(9, 5, 2), Parent::Kernel), 6);
        table.expire(7 + KEPT);
        assert_eq!(table.latest(9), Some(now));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_full_table_lets_the_ended_go_first_and_counts() {
        let mut table = Table::bounded(32);
        let init = first(&mut table, 1);
        for pid in 2..=32 {
            let key = table.fork(init, id(pid, u64::from(pid), 1), 2);
            if pid % 2 == 0 {
                table.end(key, 3);
            }
        }
        for pid in 40..50 {
            table.fork(init, id(pid, 40, 1), 4);
        }
        assert_eq!((table.evicted_early, table.evicted_live), (10, 0));
        for pid in 50..90 {
            table.fork(init, id(pid, 50, 1), 5);
        }
        assert!(table.evicted_live > 0);
        assert!(table.len() <= 32);
    }

    #[test]
    fn a_chain_that_is_too_long_or_broken_says_so() {
        let mut table = Table::default();
        let mut key = first(&mut table, 1);
        for pid in 2..50 {
            key = table.fork(key, id(pid, 2, 1), 2);
        }
        assert_eq!(table.ancestors(key, 32).0.len(), 32);
        assert!(!table.ancestors(key, 32).1);
        let orphan = table.add(Run::new(id(99, 3, 0), Parent::Unknown), 3);
        assert_eq!(table.ancestors(orphan, 32).0.len(), 0);
        assert!(!table.ancestors(orphan, 32).1);
    }

    proptest! {
        #[test]
        fn any_history_stays_within_the_bound_and_leaves_nothing_behind(
            steps in prop::collection::vec((0..4u8, 1..12u32, 1..4u64, 0..3u32), 0..200),
        ) {
            let mut table = Table::bounded(16);
            for (at, (step, pid, start, exec)) in steps.into_iter().enumerate() {
                let at = at as u64 * SECOND * 5;
                let who = id(pid, start, exec);
                match (step, table.find(&who)) {
                    (0, Some(key)) => { table.fork(key, id(pid + 1, start + 1, exec), at); }
                    (1, Some(key)) => table.end(key, at),
                    (2, Some(key)) => {
                        let parent = table.run(key).unwrap().parent;
                        table.add(Run::new(id(pid, start, exec + 1), parent), at);
                    }
                    (_, None) => { table.add(Run::new(who, Parent::Kernel), at); }
                    _ => table.expire(at),
                }
                prop_assert!(table.len() <= 16);
                prop_assert!(table.by_id.len() <= table.runs.len() && table.current.len() <= table.runs.len());
                for (key, run) in &table.runs {
                    let children = table.runs.values().filter(|child| child.parent == Parent::Run(*key)).count();
                    prop_assert_eq!(run.children as usize, children);
                    prop_assert_eq!(table.by_id.get(&run.id), Some(key));
                }
            }
            let keys = table.runs.keys().copied().collect::<Vec<_>>();
            for key in keys { table.end(key, 1); }
            table.expire(u64::MAX);
            prop_assert_eq!(table.len(), 0);
        }
    }
}
