//! From records to trees: nodes first, then the links between them, then the trees.

use std::collections::BTreeMap;

use graven_record::v1::record::Event;
use graven_record::v1::{self, ExecId};

use super::is_change;
use super::process::{Exited, Item, Process, Program};
use crate::query::Found;

/// Deepest tree: real ones have ten levels; a made-up one must not exhaust the stack of what prints it.
const MAX_DEPTH: usize = 64;
/// Ancestors looked at before a link is refused as endless.
const MAX_WALK: usize = 4_096;

/// `/proc` tells when a process started in ticks of 10 ms (USER_HZ), the kernel's events to the nanosecond. A
/// process that was there before the agent is known by both; no pid is used twice within a tick.
const TICK: u64 = 10_000_000;

/// A process, whichever program it runs: pid and tick of its start.
type Key = (u32, u64);

/// A node while the forest is planted.
#[derive(Default)]
struct Node<'a> {
    process: Process<'a>,
    parent: Option<Key>,
    /// When it is put among its parent's items: its first record's or its start.
    at: Option<u64>,
    changes: Vec<&'a Found>,
}

/// All processes of one boot.
#[derive(Default)]
pub(super) struct Forest<'a> {
    nodes: BTreeMap<Key, Node<'a>>,
}

fn key(id: &ExecId) -> Key {
    (id.pid, id.start / TICK)
}

impl<'a> Forest<'a> {
    /// Adds a record; false if it is of no process. Records come in order.
    pub(super) fn add(&mut self, found: &'a Found) -> bool {
        let Some(subject) = &found.record.subject else { return false };
        let Some((process, id)) = subject.process.as_ref().and_then(|p| Some((p, p.id.as_ref()?))) else {
            return false;
        };
        self.chain(process, &subject.ancestors, found);
        let node = self.nodes.entry(key(id)).or_default();
        node.process.own.get_or_insert(found);
        node.at.get_or_insert(found.record.boot_time);
        node.process.started = node.process.started.or_else(|| started(found, id));
        if let Some(Event::Exit(exit)) = &found.record.event {
            node.process.exited = Some(Exited { time: found.record.time, status: exit.status });
        }
        if is_change(found) {
            node.changes.push(found);
        }
        true
    }

    /// Enters a process and its ancestors, and links each to the next. The first record that names a parent
    /// is believed: later ones name who adopted the process.
    fn chain(&mut self, process: &'a v1::Process, ancestors: &'a [v1::Process], found: &'a Found) {
        let mut below: Option<Key> = None;
        for one in std::iter::once(process).chain(ancestors) {
            let Some(id) = &one.id else { return };
            let node = self.nodes.entry(key(id)).or_default();
            node.process.pid = id.pid;
            // The exact start is the later one of the same tick.
            node.process.start = node.process.start.max(id.start);
            learn(&mut node.process.programs, id.exec, one, found);
            if let Some(below) = below {
                self.link(below, key(id));
            }
            below = Some(key(id));
        }
    }

    fn link(&mut self, child: Key, parent: Key) {
        if self.nodes.get(&child).is_none_or(|node| node.parent.is_some()) {
            return;
        }
        let mut above = Some(parent);
        for _ in 0..MAX_WALK {
            match above {
                Some(key) if key == child => return,
                Some(key) => above = self.nodes.get(&key).and_then(|node| node.parent),
                None => {
                    if let Some(node) = self.nodes.get_mut(&child) {
                        node.parent = Some(parent);
                    }
                    return;
                }
            }
        }
    }

    /// Puts every process below its parent.
    pub(super) fn grow(mut self) -> Vec<Process<'a>> {
        let order = self.deepest_first();
        let mut items: BTreeMap<Key, Vec<(u64, Item<'a>)>> = BTreeMap::new();
        let mut roots = Vec::new();
        for (depth, key) in order {
            let Some(node) = self.nodes.remove(&key) else { continue };
            let at = node
                .at
                .or_else(|| items.get(&key)?.iter().map(|(at, _)| *at).min())
                .unwrap_or(node.process.start);
            let cut = node.parent.is_some() && depth == 0;
            let grown = finish(node.process, node.changes, items.remove(&key).unwrap_or_default(), cut);
            match node.parent.filter(|_| !cut) {
                Some(parent) => items.entry(parent).or_default().push((at, Item::Child(grown))),
                None => roots.push((at, grown)),
            }
        }
        roots.sort_by_key(|(at, root)| (*at, root.pid, root.start));
        roots.into_iter().map(|(_, root)| root).collect()
    }

    /// All nodes with their depth, children before parents. A node too deep begins again at depth 0.
    fn deepest_first(&self) -> Vec<(usize, Key)> {
        let mut children: BTreeMap<Key, Vec<Key>> = BTreeMap::new();
        let mut todo: Vec<(usize, Key)> = Vec::new();
        for (key, node) in &self.nodes {
            match node.parent {
                Some(parent) => children.entry(parent).or_default().push(*key),
                None => todo.push((0, *key)),
            }
        }
        let mut order = Vec::with_capacity(self.nodes.len());
        while let Some((depth, key)) = todo.pop() {
            order.push((depth, key));
            let below = if depth + 1 < MAX_DEPTH { depth + 1 } else { 0 };
            todo.extend(children.remove(&key).unwrap_or_default().into_iter().map(|child| (below, child)));
        }
        order.reverse();
        order
    }
}

/// Keeps the program of each exec once; a later record may know more of it.
fn learn<'a>(programs: &mut Vec<Program<'a>>, exec: u32, process: &'a v1::Process, found: &'a Found) {
    let arguments = found.arguments(process.arguments);
    let new = Program { exec, process, arguments };
    match programs.iter_mut().find(|known| known.exec == exec) {
        None => {
            programs.push(new);
            programs.sort_by_key(|program| program.exec);
        }
        Some(known) => {
            if known.process.exe.is_empty() && !process.exe.is_empty() {
                known.process = process;
            }
            known.arguments = known.arguments.or(arguments);
        }
    }
}

/// A program seen in `/proc` has no count of execs; when the kernel's events know the same one, that is it.
fn forget_uncounted(programs: &mut Vec<Program<'_>>) {
    if let [seen, counted, ..] = programs.as_slice()
        && seen.exec == 0
        && (seen.process.exe.is_empty() || seen.process.exe == counted.process.exe)
    {
        programs.remove(0);
    }
}

fn started(found: &Found, id: &ExecId) -> Option<u64> {
    let before = found.record.boot_time.checked_sub(id.start).filter(|_| id.start != 0)?;
    found.record.time.checked_sub(before)
}

/// A process with its changes and children in one order. A change comes before a child of the same instant.
fn finish<'a>(
    mut process: Process<'a>,
    changes: Vec<&'a Found>,
    mut items: Vec<(u64, Item<'a>)>,
    cut: bool,
) -> Process<'a> {
    items.extend(changes.into_iter().map(|found| (found.record.boot_time, Item::Change(found))));
    items.sort_by_key(|(at, item)| match item {
        Item::Change(found) => (*at, 0, u64::from(found.lane.number()), found.record.sequence),
        Item::Child(child) => (*at, 1, u64::from(child.pid), child.start),
    });
    forget_uncounted(&mut process.programs);
    process.items = items.into_iter().map(|(_, item)| item).collect();
    process.cut = cut;
    process
}
