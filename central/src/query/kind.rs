//! The kinds of records, by the word people use and the number of the schema.

use graven_record::event;
use graven_record::v1::Record;

/// One kind of record. The number is the field's in the schema, so it never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind(u8);

const KINDS: [(&str, u8); 25] = [
    ("open", 16),
    ("modify", 17),
    ("create", 18),
    ("unlink", 19),
    ("rename", 20),
    ("attr", 21),
    ("exec", 22),
    ("exit", 23),
    ("uncovered", 24),
    ("lost", 25),
    ("epoch_start", 26),
    ("start", 27),
    ("stop", 28),
    ("clock", 29),
    ("policy_change", 30),
    ("truncate", 31),
    ("mmap", 32),
    ("mount", 33),
    ("login", 34),
    ("module", 35),
    ("bpf", 36),
    ("tamper", 37),
    ("probe_silent", 38),
    ("map_changed", 39),
    ("paused", 40),
];

impl Kind {
    /// Of a record without an event, or with one of a newer schema.
    pub const UNKNOWN: Self = Self(0);

    /// What a record is.
    pub fn of(record: &Record) -> Self {
        Self::named(event::word(record)).unwrap_or(Self::UNKNOWN)
    }

    /// By the word.
    pub fn named(word: &str) -> Option<Self> {
        KINDS.iter().find(|(name, _)| *name == word).map(|&(_, number)| Self(number))
    }

    /// By the stored number.
    pub fn numbered(number: u8) -> Self {
        Self(number)
    }

    /// The word.
    pub fn name(self) -> &'static str {
        KINDS.iter().find(|&&(_, number)| number == self.0).map_or("unknown", |(name, _)| name)
    }

    /// The number that is stored.
    pub fn number(self) -> u8 {
        self.0
    }

    /// All words, for a message.
    pub fn words() -> String {
        KINDS.map(|(name, _)| name).join(", ")
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    #[test]
    fn every_word_names_one_number_and_back() {
        for (name, number) in KINDS {
            assert_eq!(Kind::named(name).unwrap().number(), number);
            assert_eq!(Kind::numbered(number).name(), name);
        }
        assert_eq!(Kind::named("opened"), None);
    }

    #[test]
    fn words_and_numbers_are_those_of_the_schema() {
        let schema = include_str!("../../../record/proto/record.proto");
        let kinds = schema.split("oneof event {").nth(1).and_then(|rest| rest.split('}').next()).unwrap();
        let kinds = kinds.lines().filter_map(|line| {
            let (field, number) = line.trim().strip_suffix(';')?.split_once(" = ")?;
            Some((field.split_once(' ')?.1, number.parse().ok()?))
        });
        assert_eq!(kinds.collect::<Vec<_>>(), KINDS);
    }

    #[test]
    fn a_record_is_of_the_kind_of_its_event() {
        assert_eq!(Kind::of(&crate::fixture::modify("/a")).name(), "modify");
        assert_eq!(Kind::of(&Record::default()), Kind::UNKNOWN);
    }
}
