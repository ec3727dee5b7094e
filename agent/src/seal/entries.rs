//! The private part of one frame: gathers the values of its records and rebases their indexes.

use std::collections::HashMap;

use bytes::Bytes;
use graven_record::private::SALT_LEN;
use graven_record::shared::Shared;
use graven_record::v1::{ExecId, PrivateEntry, Process, Record, Subject};

use super::SealError;

/// Most bytes of private values of one record: far more than the argument strings that attribution keeps.
pub(super) const MAX_PRIVATE: usize = 256 << 10;
/// Most bytes of a record without its ancestors' help: paths of 4 KiB and 32 ancestors fit several times.
pub(super) const MAX_RECORD: usize = 256 << 10;

/// The values so far. The argument strings of one program run are one entry, however many records name it.
#[derive(Default)]
pub(super) struct Entries {
    values: Vec<Bytes>,
    known: HashMap<(Option<ExecId>, Bytes), u32>,
    /// The run whose value was asked for last, and its index.
    last: Option<(Option<ExecId>, u32)>,
    /// Subjects whose indexes had to change, before and after: no more than records.
    rebased: Vec<(Shared<Subject>, Shared<Subject>)>,
}

impl Entries {
    /// Moves a record's values in and points its processes at them.
    pub(super) fn take(&mut self, record: &mut Record, private: &[Bytes]) {
        let Some(subject) = &mut record.subject else { return };
        if self.is_rebased(subject, subject, private) {
            return;
        }
        let known = self.rebased.iter().find(|(before, _)| before.is(subject));
        if let Some(rebased) = known.map(|(_, rebased)| rebased.clone())
            && self.is_rebased(subject, &rebased, private)
        {
            *subject = rebased;
            return;
        }
        let before = subject.clone();
        for process in processes(subject) {
            (process.arguments, process.arguments_cut) = self.place(process, private);
        }
        self.rebased.push((before, subject.clone()));
    }

    /// Does `rebased` point at the values of `subject` here?
    fn is_rebased(&mut self, subject: &Subject, rebased: &Subject, private: &[Bytes]) -> bool {
        let mut pairs = all(subject).zip(all(rebased));
        pairs.all(|(from, to)| self.place(from, private) == (to.arguments, to.arguments_cut))
    }

    /// The index of a process's arguments here, and whether they are cut.
    fn place(&mut self, process: &Process, private: &[Bytes]) -> (u32, bool) {
        match value(process, private) {
            Some(value) => (self.index(process.id, value), process.arguments_cut),
            None => (0, process.arguments_cut || process.arguments != 0),
        }
    }

    fn index(&mut self, id: Option<ExecId>, value: &Bytes) -> u32 {
        let values = &mut self.values;
        if let Some((last, index)) = self.last
            && last == id
            && values.get(index as usize - 1).is_some_and(|known| known == value)
        {
            return index;
        }
        let index = *self.known.entry((id, value.clone())).or_insert_with(|| {
            values.push(value.clone());
            u32::try_from(values.len()).unwrap_or(u32::MAX)
        });
        self.last = Some((id, index));
        index
    }

    /// Each value with a salt of its own, so that nobody can test a guess against the root.
    pub(super) fn salted(self, entropy: Entropy) -> Result<Vec<PrivateEntry>, SealError> {
        let mut salts = vec![0; self.values.len() * SALT_LEN];
        entropy(&mut salts).map_err(SealError::Entropy)?;
        let salts = salts.chunks_exact(SALT_LEN);
        Ok(self
            .values
            .into_iter()
            .zip(salts)
            .map(|(value, salt)| PrivateEntry { salt: salt.to_vec(), value: value.into() })
            .collect())
    }
}

/// Where salts come from.
pub(super) type Entropy = fn(&mut [u8]) -> Result<(), getrandom::Error>;

/// Cuts what is too large for a frame and marks the cut; `None` when the record alone is still too large.
pub(super) fn fit(record: &mut Record, private: &mut [Bytes]) -> Option<usize> {
    let mut hidden: usize = private.iter().map(Bytes::len).sum();
    if hidden > MAX_PRIVATE {
        let share = MAX_PRIVATE / private.len();
        for process in record.subject.iter_mut().flat_map(processes) {
            process.arguments_cut |= value(process, private).is_some_and(|v| v.len() > share);
        }
        private.iter_mut().for_each(|value| value.truncate(share));
        hidden = private.iter().map(Bytes::len).sum();
    }
    let mut plain = prost::Message::encoded_len(record);
    if plain > MAX_RECORD
        && let Some(subject) = &mut record.subject
    {
        subject.ancestors.clear();
        subject.ancestors_cut = true;
        plain = prost::Message::encoded_len(record);
    }
    (plain <= MAX_RECORD).then_some(plain + hidden)
}

fn all(subject: &Subject) -> impl Iterator<Item = &Process> {
    subject.process.iter().chain(&subject.ancestors)
}

fn processes(subject: &mut Shared<Subject>) -> impl Iterator<Item = &mut Process> {
    let subject = &mut **subject;
    subject.process.iter_mut().chain(&mut subject.ancestors)
}

fn value<'a>(process: &Process, private: &'a [Bytes]) -> Option<&'a Bytes> {
    private.get(usize::try_from(process.arguments).ok()?.checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    fn record(pid: u32, arguments: u32) -> Record {
        let process =
            Process { id: Some(ExecId { pid, start: 1, exec: 1 }), arguments, ..Process::default() };
        Record {
            subject: Some(Subject { process: Some(process), ..Subject::default() }.into()),
            ..Record::default()
        }
    }

    fn arguments(record: &Record) -> (u32, bool) {
        let process = record.subject.as_ref().unwrap().process.as_ref().unwrap();
        (process.arguments, process.arguments_cut)
    }

    #[test]
    fn indexes_are_rebased_and_one_run_has_one_entry() {
        let mut entries = Entries::default();
        let mut all = [record(1, 1), record(2, 2), record(1, 1), record(3, 9), record(4, 0)];
        let private = [b"ls\0-l"[..].into(), b"rm"[..].into()];
        all.iter_mut().for_each(|r| entries.take(r, &private));
        let found: Vec<_> = all.iter().map(arguments).collect();
        assert_eq!(found, [(1, false), (2, false), (1, false), (0, true), (0, false)]);
        let salted = entries.salted(getrandom::fill).unwrap();
        assert_eq!(salted.iter().map(|e| e.value.as_slice()).collect::<Vec<_>>(), [&b"ls\0-l"[..], b"rm"]);
        assert_ne!(salted[0].salt, salted[1].salt);
        assert!(salted.iter().all(|e| e.salt.len() == SALT_LEN));
    }

    #[test]
    fn what_is_rebased_once_is_shared_by_its_other_records_and_changes_no_other_frame() {
        let mut entries = Entries::default();
        let private = [b"vi"[..].into()];
        let (mut first, second) = (record(1, 1), record(2, 1));
        entries.take(&mut first, &private);
        let mut all = [second.clone(), second.clone()];
        all.iter_mut().for_each(|record| entries.take(record, &private));
        assert_eq!(all.each_ref().map(arguments), [(2, false); 2]);
        let [one, other] = all.map(|record| record.subject.unwrap());
        assert!(one.is(&other));
        assert_eq!(arguments(&second), (1, false));
    }

    #[test]
    fn equal_arguments_of_two_runs_are_two_entries() {
        let mut entries = Entries::default();
        let private = [b"same"[..].into()];
        let (mut one, mut two) = (record(1, 1), record(2, 1));
        entries.take(&mut one, &private);
        entries.take(&mut two, &private);
        assert_eq!((arguments(&one).0, arguments(&two).0), (1, 2));
    }

    #[test]
    fn huge_arguments_are_cut_and_marked() {
        let mut huge = record(1, 1);
        let mut private = [vec![b'x'; 5 << 20].into(), vec![b'y'; 10].into()];
        assert!(fit(&mut huge, &mut private).is_some());
        assert!(private.iter().map(Bytes::len).sum::<usize>() <= MAX_PRIVATE);
        assert_eq!(arguments(&huge), (1, true));
    }

    #[test]
    fn huge_ancestors_are_cut_and_marked_and_a_huge_rest_is_refused() {
        let ancestor = Process { exe: vec![b'/'; 100 << 10].into(), ..Process::default() };
        let mut huge = record(1, 0);
        huge.subject.as_mut().unwrap().ancestors = vec![ancestor; 32];
        assert!(fit(&mut huge, &mut []).is_some());
        let subject = huge.subject.as_mut().unwrap();
        assert!(subject.ancestors.is_empty() && subject.ancestors_cut);
        subject.cgroup = "c".repeat(1 << 20);
        assert!(fit(&mut huge, &mut []).is_none());
    }
}
