//! How many of its repeated parts a protobuf may hold, counted before any is allocated.
//!
//! Two bytes on the wire can announce a message that takes hundreds in memory: 4 MiB of them would take
//! gigabytes. So the bytes are walked first, by the table below, and refused when they hold more of something
//! than a frame may. Fields that the table does not name are passed over: a newer release may have more.

use crate::batch::{BatchError, MAX_RECORDS};

/// Most ancestors of one record.
pub(crate) const MAX_ANCESTORS: usize = 32;
/// Most other paths of one record's files: more mounts of one directory than a host has.
pub(crate) const MAX_ALIASES: usize = 192;
/// Most hooks, and lines of what is uncovered, in one frame: ten times what the sensor has.
const MAX_LINES: usize = 1024;
/// Most private entries of one frame: arguments of each record's process and of all its ancestors.
const MAX_ENTRIES: usize = MAX_RECORDS * (1 + MAX_ANCESTORS);

/// A field that repeats or holds one that does.
struct Field {
    number: u64,
    /// Name, and how many one frame may hold; none for a field that does not repeat.
    most: Option<(&'static str, usize)>,
    inside: &'static [Field],
}

const fn holds(number: u64, inside: &'static [Field]) -> Field {
    Field { number, most: None, inside }
}

const fn repeats(number: u64, name: &'static str, most: usize, inside: &'static [Field]) -> Field {
    Field { number, most: Some((name, most)), inside }
}

const FILE: &[Field] = &[repeats(11, "aliases", MAX_RECORDS * MAX_ALIASES, &[])];
const ONE_FILE: &[Field] = &[holds(1, FILE)];
const CREATE: &[Field] = &[holds(1, FILE), holds(4, FILE)];
const MOUNT: &[Field] = &[holds(3, FILE)];
const MODULE: &[Field] = &[holds(3, FILE)];
const RENAME: &[Field] = &[holds(1, FILE), holds(2, FILE), holds(3, FILE)];
const SUBJECT: &[Field] = &[repeats(3, "ancestors", MAX_RECORDS * MAX_ANCESTORS, &[])];
const START: &[Field] = &[repeats(1, "hooks", MAX_LINES, &[]), repeats(2, "uncovered lines", MAX_LINES, &[])];
const RECORD: &[Field] = &[
    holds(4, SUBJECT),
    holds(16, ONE_FILE), // open
    holds(17, ONE_FILE), // modify
    holds(18, CREATE),
    holds(19, ONE_FILE), // unlink
    holds(20, RENAME),
    holds(21, ONE_FILE), // attr
    holds(22, ONE_FILE), // exec
    holds(27, START),
    holds(31, ONE_FILE), // truncate
    holds(32, ONE_FILE), // mmap
    holds(33, MOUNT),
    holds(35, MODULE),
];

/// A message whose parts are counted.
pub(crate) struct Shape(&'static [Field]);

/// `v1::Batch`.
pub(crate) const BATCH: Shape = Shape(&[repeats(2, "records", MAX_RECORDS, RECORD)]);
/// `v1::PrivatePart`.
pub(crate) const PRIVATE: Shape = Shape(&[repeats(1, "private entries", MAX_ENTRIES, &[])]);

impl Shape {
    /// Is there no more of anything than a frame may hold?
    pub(crate) fn check(&self, bytes: &[u8]) -> Result<(), BatchError> {
        walk(bytes, self.0, &mut Vec::new())
    }
}

/// Counts by field name: all that the table names, so it stays short.
type Counts = Vec<(&'static str, usize)>;

/// Recursion is as deep as the table.
fn walk(mut bytes: &[u8], fields: &[Field], counts: &mut Counts) -> Result<(), BatchError> {
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let skipped = match key & 7 {
            0 => {
                varint(&mut bytes)?;
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut bytes)?).map_err(|_| BatchError::Wire)?,
            5 => 4,
            // Groups: the schema never had any.
            _ => return Err(BatchError::Wire),
        };
        let (content, rest) = bytes.split_at_checked(skipped).ok_or(BatchError::Wire)?;
        bytes = rest;
        let field = fields.iter().find(|field| key == field.number << 3 | 2);
        if let Some(field) = field {
            count(field, counts)?;
            if !field.inside.is_empty() {
                walk(content, field.inside, counts)?;
            }
        }
    }
    Ok(())
}

fn count(field: &Field, counts: &mut Counts) -> Result<(), BatchError> {
    let Some((what, most)) = field.most else {
        return Ok(());
    };
    let at = counts.iter().position(|(name, _)| *name == what).unwrap_or_else(|| {
        counts.push((what, 0));
        counts.len() - 1
    });
    counts[at].1 += 1;
    if counts[at].1 > most { Err(BatchError::TooMany { what, most }) } else { Ok(()) }
}

/// Reads a varint as prost does: at most ten bytes, the tenth at most 1.
fn varint(bytes: &mut &[u8]) -> Result<u64, BatchError> {
    let mut value = 0;
    for place in 0..10 {
        let (&byte, rest) = bytes.split_first().ok_or(BatchError::Wire)?;
        *bytes = rest;
        if place == 9 && byte > 1 {
            return Err(BatchError::Wire);
        }
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(BatchError::Wire)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::v1::{self, record::Event};

    fn batch(record: v1::Record) -> Vec<u8> {
        v1::Batch { context: None, records: vec![record] }.encode_to_vec()
    }

    fn refused(bytes: &[u8], expected: &str) {
        let Err(BatchError::TooMany { what, .. }) = BATCH.check(bytes) else {
            unreachable!("too many {expected} were not refused")
        };
        assert_eq!(what, expected);
    }

    #[test]
    fn a_million_empty_messages_are_refused_wherever_they_repeat() {
        let subject =
            |n| v1::Subject { ancestors: vec![v1::Process::default(); n], ..v1::Subject::default() };
        let of = |n| batch(v1::Record { subject: Some(subject(n).into()), ..v1::Record::default() });
        assert!(BATCH.check(&of(MAX_RECORDS * MAX_ANCESTORS)).is_ok());
        refused(&of(MAX_RECORDS * MAX_ANCESTORS + 1), "ancestors");
        refused(&[0x12, 0].repeat(MAX_RECORDS + 1), "records");
        let hooks = v1::Start { hooks: vec![v1::Hook::default(); MAX_LINES + 1], ..v1::Start::default() };
        refused(&batch(v1::Record { event: Some(Event::Start(hooks)), ..v1::Record::default() }), "hooks");
        let lines = v1::Start { uncovered: vec![String::new(); MAX_LINES + 1], ..v1::Start::default() };
        refused(
            &batch(v1::Record { event: Some(Event::Start(lines)), ..v1::Record::default() }),
            "uncovered lines",
        );
    }

    #[test]
    fn the_table_knows_every_place_where_a_file_stands() {
        let most = MAX_RECORDS * MAX_ALIASES;
        let file = Some(v1::File { aliases: vec![Vec::new(); most + 1], ..v1::File::default() });
        let rename = v1::Rename::default();
        let events = [
            Event::Open(v1::Open { file: file.clone(), ..v1::Open::default() }),
            Event::Modify(v1::Modify { file: file.clone(), ..v1::Modify::default() }),
            Event::Create(v1::Create { file: file.clone(), ..v1::Create::default() }),
            Event::Unlink(v1::Unlink { file: file.clone(), ..v1::Unlink::default() }),
            Event::Rename(v1::Rename { from: file.clone(), ..rename.clone() }),
            Event::Rename(v1::Rename { to: file.clone(), ..rename.clone() }),
            Event::Rename(v1::Rename { replaced: file.clone(), ..rename }),
            Event::Attr(v1::Attr { file: file.clone(), ..v1::Attr::default() }),
            Event::Exec(v1::Exec { file: file.clone(), ..v1::Exec::default() }),
            Event::Create(v1::Create { from: file.clone(), ..v1::Create::default() }),
            Event::Truncate(v1::Truncate { file: file.clone(), ..v1::Truncate::default() }),
            Event::Mmap(v1::Mmap { file: file.clone(), ..v1::Mmap::default() }),
            Event::Mount(v1::Mount { target: file.clone(), ..v1::Mount::default() }),
            Event::Module(v1::Module { file, ..v1::Module::default() }),
        ];
        for event in events {
            refused(&batch(v1::Record { event: Some(event), ..v1::Record::default() }), "aliases");
        }
    }

    #[test]
    fn entries_of_the_private_part_are_counted() {
        assert!(PRIVATE.check(&[0x0a, 0].repeat(MAX_ENTRIES)).is_ok());
        assert!(matches!(PRIVATE.check(&[0x0a, 0].repeat(MAX_ENTRIES + 1)), Err(BatchError::TooMany { .. })));
    }

    #[test]
    fn fields_of_a_newer_release_are_passed_over() {
        // Field 1000 of each wire type.
        let newer =
            [0xc0, 0x3e, 5, 0xc1, 0x3e, 1, 2, 3, 4, 5, 6, 7, 8, 0xc2, 0x3e, 2, 9, 9, 0xc5, 0x3e, 1, 2, 3, 4];
        assert!(BATCH.check(&newer).is_ok());
        assert_eq!(v1::Batch::decode(&newer[..]).unwrap(), v1::Batch::default());
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic_and_never_pass_with_too_much(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            if BATCH.check(&bytes).is_ok() && let Ok(batch) = v1::Batch::decode(bytes.as_slice()) {
                prop_assert!(batch.records.len() <= MAX_RECORDS);
            }
        }
    }
}
