//! What was lost and not yet said in a sealed frame.

use graven_record::frame::{LossKind, Losses};
use graven_record::v1::{self, Decision, Severity, record::Event};

use super::Now;

/// A loss is in a record at most this long after it was counted: long enough that a flood makes one record a
/// second and kind, not a flood of records.
const INTERVAL: u64 = 1_000_000_000;
/// Most lines of (kind, hook) that wait: more than there are hooks. Beyond it a line without hook per kind.
const MAX_LINES: usize = 64;
/// Most characters of a hook's name: the kernel's own names are shorter.
const MAX_HOOK: usize = 64;

/// Counts by kind, and the lines that become records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pending {
    lines: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    kind: LossKind,
    hook: String,
    count: u64,
    since: u64,
}

impl Pending {
    pub(super) fn add(&mut self, kind: LossKind, count: u64, hook: &str, since: u64) {
        if count == 0 {
            return;
        }
        let hook: String = hook.chars().take(MAX_HOOK).collect();
        if let Some(line) = self.lines.iter_mut().find(|l| l.kind == kind && l.hook == hook) {
            line.count = line.count.saturating_add(count);
            line.since = line.since.min(since);
        } else if self.lines.len() < MAX_LINES || hook.is_empty() {
            self.lines.push(Line { kind, hook, count, since });
        } else {
            self.add(kind, count, "", since);
        }
    }

    /// Puts back what a withdrawn frame had said.
    pub(super) fn restore(&mut self, said: Self) {
        for line in said.lines {
            self.add(line.kind, line.count, &line.hook, line.since);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// When it must be said, boot ns.
    pub(super) fn due(&self) -> Option<u64> {
        self.oldest().map(|since| since.saturating_add(INTERVAL))
    }

    /// When the first was counted, boot ns.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.lines.iter().map(|l| l.since).min()
    }

    pub(super) fn counts(&self) -> Losses {
        let mut counts = Losses::default();
        for line in &self.lines {
            let count = &mut counts[line.kind as usize];
            *count = count.saturating_add(line.count);
        }
        counts
    }

    pub(super) fn records(&self, now: Now) -> impl Iterator<Item = v1::Record> {
        self.lines.iter().map(move |line| v1::Record {
            boot_time: now.boot,
            verdict: Some(
                v1::Verdict {
                    decision: Decision::Alert.into(),
                    severity: Severity::Medium.into(),
                    rule: String::new(),
                    reason: format!("{} events were lost: {}", line.count, place(line.kind)),
                }
                .into(),
            ),
            event: Some(Event::Lost(v1::Lost {
                kind: line.kind.name().to_owned(),
                count: line.count,
                hook: line.hook.clone(),
                since: line.since,
                ..v1::Lost::default()
            })),
            ..v1::Record::default()
        })
    }
}

fn place(kind: LossKind) -> &'static str {
    match kind {
        LossKind::Life | LossKind::Protected | LossKind::Activity => "the sensor's ring was full",
        LossKind::Skipped => "the kernel skipped the sensor's program",
        LossKind::Undecodable => "the sensor's bytes were not readable",
        LossKind::Spool => "the spool could not keep them",
        LossKind::State => "a map of the sensor was full",
        LossKind::Queue => "a queue of the agent was full, or it ended before they were on disk",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now { wall: 9, boot: 9 };

    #[test]
    fn lines_of_one_kind_and_hook_are_one() {
        let mut pending = Pending::default();
        pending.add(LossKind::Skipped, 2, "sys_exit", 7);
        pending.add(LossKind::Skipped, 3, "sys_exit", 8);
        pending.add(LossKind::Skipped, 1, "sched_process_exec", 8);
        assert_eq!(pending.records(NOW).count(), 2);
        assert_eq!(pending.counts()[LossKind::Skipped as usize], 6);
        assert_eq!(pending.due(), Some(7 + INTERVAL));
    }

    #[test]
    fn more_hooks_than_lines_still_count() {
        let mut pending = Pending::default();
        for n in 0..1000 {
            pending.add(LossKind::Skipped, 1, &format!("hook {n}"), n);
        }
        assert_eq!(pending.records(NOW).count(), MAX_LINES + 1);
        assert_eq!(pending.counts()[LossKind::Skipped as usize], 1000);
    }

    #[test]
    fn nothing_lost_is_nothing_said() {
        let mut pending = Pending::default();
        pending.add(LossKind::Queue, 0, "", 1);
        assert!(pending.is_empty() && pending.due().is_none());
    }
}
