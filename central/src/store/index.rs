//! What of a record is indexed: a pure function from the record to its row.

use graven_record::event;
use graven_record::v1::{ExecId, Record};

use crate::query::Kind;

/// One row beside a frame: enough to choose records without reading their frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Position in the frame.
    pub place: u32,
    /// Wall clock, ns.
    pub time: i64,
    /// Since boot, ns.
    pub boot_time: i64,
    /// What it is.
    pub kind: Kind,
    /// `v1::Decision`.
    pub decision: i32,
    /// `v1::Severity`.
    pub severity: i32,
    /// Name of the policy entry.
    pub rule: String,
    /// What the user may be asked for by: the name, if it has one, and the uid, a line each.
    pub user: String,
    /// The same of the login user; empty = none.
    pub login_user: String,
    /// The program run.
    pub process: Option<ExecId>,
    /// Its parent's.
    pub parent: Option<ExecId>,
    /// The program.
    pub exe: Vec<u8>,
    /// What was changed, or the program that was started.
    pub path: Vec<u8>,
    /// Where a rename went.
    pub path2: Vec<u8>,
}

/// A host's clock may say anything: times beyond 2262 sort last instead of first.
pub fn clamp(nanoseconds: u64) -> i64 {
    i64::try_from(nanoseconds).unwrap_or(i64::MAX)
}

impl Entry {
    /// The row of the record at `place` of its frame.
    pub fn of(record: &Record, place: u32) -> Self {
        let subject = record.subject.as_ref();
        let process = subject.and_then(|s| s.process.as_ref());
        let verdict = record.verdict.as_ref();
        let (path, path2) = paths(record);
        Self {
            place,
            time: clamp(record.time),
            boot_time: clamp(record.boot_time),
            kind: Kind::of(record),
            decision: verdict.map_or(0, |v| v.decision),
            severity: verdict.map_or(0, |v| v.severity),
            rule: verdict.map(|v| v.rule.clone()).unwrap_or_default(),
            user: subject.map(|s| name_and_number(&s.user, s.uid)).unwrap_or_default(),
            login_user: subject
                .and_then(|s| s.loginuid.map(|uid| name_and_number(&s.login_user, uid)))
                .unwrap_or_default(),
            process: process.and_then(|p| p.id),
            parent: subject.and_then(|s| s.ancestors.first()).and_then(|p| p.id),
            exe: process.map(|p| p.exe.to_vec()).unwrap_or_default(),
            path,
            path2,
        }
    }
}

fn name_and_number(name: &str, uid: u32) -> String {
    if name.is_empty() { uid.to_string() } else { format!("{}\n{uid}", name.replace('\n', " ")) }
}

/// A rename has two, and so have a hard link, a bind mount and the start of a script; no record has more.
fn paths(record: &Record) -> (Vec<u8>, Vec<u8>) {
    let mut paths = event::paths(record).into_iter().map(<[u8]>::to_vec);
    (paths.next().unwrap_or_default(), paths.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use graven_record::v1::record::Event;
    use graven_record::v1::{Create, Exec, Lost, Mount, Process, Rename, Subject};

    use super::*;
    use crate::fixture::file;

    #[test]
    fn a_rename_is_found_by_both_its_paths() {
        let event = Rename { from: Some(file("/a")), to: Some(file("/b")), ..Rename::default() };
        let record = Record { event: Some(Event::Rename(event)), ..Record::default() };
        let entry = Entry::of(&record, 0);
        assert_eq!((entry.path.as_slice(), entry.path2.as_slice()), (&b"/a"[..], &b"/b"[..]));
    }

    #[test]
    fn what_reaches_a_file_by_another_name_is_found_by_both() {
        let paths_of = |event| paths(&Record { event: Some(event), ..Record::default() });
        let both = (b"/new".to_vec(), b"/old".to_vec());
        let link = Create { file: Some(file("/new")), from: Some(file("/old")), ..Create::default() };
        assert_eq!(paths_of(Event::Create(link)), both);
        let bind = Mount { target: Some(file("/new")), source: b"/old".to_vec(), ..Mount::default() };
        assert_eq!(paths_of(Event::Mount(bind)), both);
        let tmpfs = Mount { target: Some(file("/new")), source: b"tmpfs".to_vec(), ..Mount::default() };
        assert_eq!(paths_of(Event::Mount(tmpfs)), (b"/new".to_vec(), Vec::new()));
        let script = Exec { file: Some(file("/new")), script: b"/old".to_vec(), ..Exec::default() };
        assert_eq!(paths_of(Event::Exec(script)), both);
        let loaded = Exec { file: Some(file("/new")), loaded: b"/old".to_vec(), ..Exec::default() };
        assert_eq!(paths_of(Event::Exec(loaded)), both);
        let lost = Lost { directory: b"/new".to_vec(), ..Lost::default() };
        assert_eq!(paths_of(Event::Lost(lost)), (b"/new".to_vec(), Vec::new()));
    }

    #[test]
    fn a_user_without_a_name_is_found_by_number_and_no_login_is_empty() {
        let process = Process { exe: b"/bin/sh".to_vec().into(), ..Process::default() };
        let subject = Subject { uid: 4711, process: Some(process), ..Subject::default() };
        let entry = Entry::of(&Record { subject: Some(subject.into()), ..Record::default() }, 0);
        assert_eq!((entry.user.as_str(), entry.login_user.as_str()), ("4711", ""));
        assert_eq!(entry.exe, b"/bin/sh");
    }

    #[test]
    fn a_time_beyond_the_calendar_sorts_last() {
        let record = Record { time: u64::MAX, ..Record::default() };
        assert_eq!(Entry::of(&record, 0).time, i64::MAX);
    }
}
