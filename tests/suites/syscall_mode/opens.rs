//! Opening for writing, truncating, making.

use std::path::Path;

use anyhow::Result;
use graven_tests::calls::Entry;
use graven_tests::place::Ground;
use graven_tests::record::{Expected, Record, activity};
use graven_tests::shared::on_stage;
use graven_tests::wait::until;
use graven_tests::{missing, words};

use crate::{SUITE, Take, actor, lacks, skipped};

/// O_WRONLY | O_CREAT | O_EXCL, and `struct open_how` with these and mode 0644.
const MAKE: &str = "0301";
const MAKE_HOW: &str = "0xc100000000000000a4010000000000000000000000000000";
/// O_TMPFILE | O_WRONLY
const TEMPORARY: &str = "020200001";
/// O_WRONLY alone.
const WRITE_HOW: &str = "0x010000000000000000000000000000000000000000000000";

pub(crate) fn an_open_that_makes_a_file_is_a_creation(take: &mut Take<'_, '_>) -> Result<()> {
    for call in ["open", "openat"] {
        let new = take.scene.path(call);
        take.one(call, &words![new, MAKE, "0644"], made(&new))?;
    }
    let new = take.scene.path("creat");
    take.one("creat", &words![new, "0644"], made(&new))?;
    let new = take.scene.path("openat2");
    take.newer("openat2", &words![new, MAKE_HOW], made(&new))
}

fn made(path: &Path) -> Expected {
    Expected::new("open", activity::CREATE, path).with("/unmapped/created", true)
}

pub(crate) fn an_open_for_writing_is_an_update(take: &mut Take<'_, '_>) -> Result<()> {
    let update = |path: &Path| Expected::new("open", activity::UPDATE, path).with("/unmapped/writable", true);
    // O_WRONLY, O_RDWR | O_APPEND
    for (call, flags) in [("open", "1"), ("openat", "02002")] {
        let there = take.scene.file(call)?;
        take.one(call, &words![there, flags, "0"], update(&there))?;
    }
    let there = take.scene.file("openat2")?;
    take.newer("openat2", &words![there, WRITE_HOW], update(&there))
}

pub(crate) fn an_open_that_only_truncates_is_an_update(take: &mut Take<'_, '_>) -> Result<()> {
    // O_RDONLY | O_TRUNC
    for call in ["open", "openat"] {
        let there = take.scene.file(call)?;
        let expected = Expected::new("open", activity::UPDATE, &there).with("/unmapped/truncated", true);
        take.one(call, &words![there, "01000", "0"], expected)?;
    }
    let there = take.scene.file("creat")?;
    let expected = Expected::new("open", activity::UPDATE, &there).with("/unmapped/truncated", true);
    take.one("creat", &words![there, "0600"], expected)
}

pub(crate) fn a_file_without_a_name_that_gets_one_is_a_creation(take: &mut Take<'_, '_>) -> Result<()> {
    if take.scene.ground() == Ground::Other {
        skipped("tmpfile", "this file system may make no files without a name");
        return Ok(());
    }
    let folder = take.scene.folder().to_owned();
    let entry = take.entry.name();
    // The first descriptor is the third.
    for (name, from, flags) in [("by-descriptor", "", "0x1000"), ("by-link", "/proc/self/fd/3", "0x400")] {
        let new = take.scene.path(name);
        let opened = Expected::somewhere("open", activity::UPDATE).by(entry, "open");
        let named = Expected::new("create", activity::CREATE, &new)
            .seen_with("/unmapped/create/kind", "file")
            .by(entry, "linkat");
        take.scene.act(
            &words!["open", folder, TEMPORARY, "0600", "then", "--at", "@1", "linkat", from, new, flags],
            vec![opened, named],
        )?;
    }
    Ok(())
}

/// A message queue lies in no directory, unless their file system is mounted somewhere: then as that place is.
#[test]
fn a_message_queue_that_is_made_and_removed_is_recorded() -> Result<()> {
    let table = std::fs::read_to_string("/proc/1/mountinfo")?;
    if table.lines().any(|line| line.contains(" - mqueue ")) {
        skipped("mqueue", "message queues are mounted here, in a place that is mutable for the tests");
        return Ok(());
    }
    for entry in [Entry::Native, Entry::Compat] {
        let actor = actor()?.by(entry);
        if let Some(why) = lacks(entry, &actor)? {
            skipped(entry.name(), why);
            continue;
        }
        on_stage(SUITE, |stage| {
            let begin = stage.begin()?;
            let name = format!("graven-{}-{entry}", std::process::id());
            // O_RDWR | O_CREAT
            let acted =
                actor.act(&words!["mq_open", name, "0102", "0600", "0", "then", "mq_unlink", name])?;
            let told = until("the records of a message queue", || {
                let mut records = stage.since(begin.moment, &[])?;
                records.retain(|record| record.pid() == Some(acted.pid.into()));
                let by = |kind: &str, call: &str| {
                    let is_it = |record: &&Record| {
                        record.kind() == kind
                            && record.text("/unmapped/call") == call
                            && record.text("/unmapped/entry") == entry.name()
                            && record.text("/file/path").ends_with(&name)
                    };
                    records.iter().filter(is_it).count()
                };
                let (opened, removed) = (by("open", "mq_open"), by("unlink", "mq_unlink"));
                Ok((opened > 0 && removed > 0).then_some((opened, removed)))
            });
            let told = told
                .map_err(|error| missing::none::<&str>("records", [name.as_str()]).err().unwrap_or(error));
            stage.or_lost(begin, told.map(drop))
        })?;
    }
    Ok(())
}
