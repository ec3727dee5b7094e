//! Refused attempts, folded: a program that tries again and again in one directory makes a record at first and one
//! more when the window is over, with the number of those between.

use std::collections::HashMap;

use graven_record::v1::record::Event;
use graven_record::v1::{self, File, Outcome};

use super::Judged;

/// So long are repetitions folded, ns.
const WINDOW: u64 = 10_000_000_000;
/// Windows that are open at once, and those that are over and wait for [`Refusals::due`]; beyond it every refusal is a
/// record.
const WINDOWS: usize = 1024;

/// A program run, a directory, and the word of the kind.
type Key = (Option<v1::ExecId>, Vec<u8>, &'static str);

/// The open windows.
#[derive(Debug, Default)]
pub struct Refusals {
    open: HashMap<Key, Window>,
    /// The last ones of windows that another has followed.
    over: Vec<Judged>,
}

#[derive(Debug)]
struct Window {
    until: u64,
    folded: u32,
    last: Option<Judged>,
}

impl Window {
    fn from(judged: &Judged) -> Self {
        Self { until: judged.record.boot_time.saturating_add(WINDOW), folded: 0, last: None }
    }

    /// The last one, with the number of those that it stands for.
    fn end(&mut self) -> Option<Judged> {
        let mut last = self.last.take()?;
        stands_for(&mut last, self.folded.saturating_sub(1));
        Some(last)
    }
}

impl Refusals {
    /// Hands on what is a record of its own.
    pub fn take(&mut self, judged: Judged) -> Option<Judged> {
        let Some(key) = key(&judged) else { return Some(judged) };
        let is_full = self.open.len() >= WINDOWS;
        match self.open.get_mut(&key) {
            Some(window) if window.until > judged.record.boot_time => {
                window.folded = window.folded.saturating_add(1);
                window.last = Some(judged);
                return None;
            }
            // By its own time it is over, though nobody has asked for what is due.
            Some(window) => {
                if self.over.len() == WINDOWS {
                    return Some(judged);
                }
                self.over.extend(window.end());
                *window = Window::from(&judged);
            }
            None if is_full => {}
            None => drop(self.open.insert(key, Window::from(&judged))),
        }
        Some(judged)
    }

    /// The last ones of the windows that are over, with the number of those that they stand for.
    pub fn due(&mut self, now: u64) -> Vec<Judged> {
        let mut due = std::mem::take(&mut self.over);
        self.open.retain(|_, window| {
            if window.until > now {
                return true;
            }
            due.extend(window.end());
            false
        });
        due
    }
}

fn key(judged: &Judged) -> Option<Key> {
    let event = judged.record.event.as_ref()?;
    let (outcome, file, word) = match event {
        Event::Open(open) => (open.outcome(), &open.file, "open"),
        Event::Create(create) => (create.outcome(), &create.file, "create"),
        Event::Unlink(unlink) => (unlink.outcome(), &unlink.file, "unlink"),
        Event::Rename(rename) => (rename.outcome(), &rename.from, "rename"),
        Event::Attr(attr) => (attr.outcome(), &attr.file, "attr"),
        Event::Truncate(truncate) => (truncate.outcome(), &truncate.file, "truncate"),
        _ => return None,
    };
    let process = judged.record.subject.as_ref()?.process.as_ref()?;
    (outcome == Outcome::Refused).then(|| (process.id, directory(file.as_ref()), word))
}

fn directory(file: Option<&File>) -> Vec<u8> {
    let path = file.map_or(&[][..], |file| &file.path);
    let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    path[..end].to_vec()
}

fn stands_for(judged: &mut Judged, folded: u32) {
    match &mut judged.record.event {
        Some(Event::Open(open)) => open.folded = folded,
        Some(Event::Create(create)) => create.folded = folded,
        Some(Event::Unlink(unlink)) => unlink.folded = folded,
        Some(Event::Rename(rename)) => rename.folded = folded,
        Some(Event::Attr(attr)) => attr.folded = folded,
        Some(Event::Truncate(truncate)) => truncate.folded = folded,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use graven_record::id::Lane;

    use super::*;

    fn refused(path: &str, at: u64) -> Judged {
        let file = Some(File { path: path.into(), ..File::default() });
        let event = v1::Unlink { file, outcome: Outcome::Refused.into(), folded: 0 };
        let process =
            Some(v1::Process { id: Some(v1::ExecId { pid: 7, start: 1, exec: 1 }), ..Default::default() });
        let subject = Some(v1::Subject { process, ..v1::Subject::default() }.into());
        let event = Some(Event::Unlink(event));
        let record = Box::new(v1::Record { boot_time: at, subject, event, ..v1::Record::default() });
        Judged { record, lane: Lane::Protected, private: Vec::new() }
    }

    fn folded(judged: &Judged) -> Option<u32> {
        match &judged.record.event {
            Some(Event::Unlink(unlink)) => Some(unlink.folded),
            _ => None,
        }
    }

    #[test]
    fn the_first_and_the_last_are_records_and_the_last_counts_those_between() {
        let mut refusals = Refusals::default();
        assert!(refusals.take(refused("/usr/a", 1)).is_some());
        for n in 0..5 {
            assert!(refusals.take(refused(&format!("/usr/{n}"), 2 + n)).is_none());
        }
        assert!(refusals.take(refused("/etc/a", 3)).is_some(), "another directory");
        assert!(refusals.due(WINDOW).is_empty());
        let due = refusals.due(1 + WINDOW);
        assert_eq!(due.iter().map(folded).collect::<Vec<_>>(), [Some(4)]);
        assert!(refusals.due(u64::MAX).is_empty(), "a single one has been told");
        assert!(refusals.take(refused("/usr/a", 9)).is_some(), "a new window");
    }

    #[test]
    fn a_window_ends_by_the_time_of_what_happens_and_not_of_who_asks() {
        let mut refusals = Refusals::default();
        assert!(refusals.take(refused("/usr/a", 1)).is_some());
        assert!(
            refusals.take(refused("/usr/b", 2)).is_none() && refusals.take(refused("/usr/c", 3)).is_none()
        );
        assert!(refusals.take(refused("/usr/d", 1 + WINDOW)).is_some());
        assert!(refusals.take(refused("/usr/e", 2 + WINDOW)).is_none());
        assert_eq!(refusals.due(2 + WINDOW).iter().map(folded).collect::<Vec<_>>(), [Some(1)]);
        assert_eq!(refusals.due(1 + 2 * WINDOW).iter().map(folded).collect::<Vec<_>>(), [Some(0)]);
    }

    #[test]
    fn successes_and_more_windows_than_fit_are_handed_on() {
        let mut refusals = Refusals::default();
        let mut done = refused("/usr/a", 1);
        if let Some(Event::Unlink(unlink)) = &mut done.record.event {
            unlink.outcome = Outcome::Success.into();
        }
        assert!(refusals.take(done.clone()).is_some() && refusals.take(done).is_some());
        for n in 0..WINDOWS + 10 {
            assert!(refusals.take(refused(&format!("/{n}/x"), 1)).is_some());
        }
        assert!(refusals.take(refused(&format!("/{}/x", WINDOWS + 5), 1)).is_some());
    }
}
