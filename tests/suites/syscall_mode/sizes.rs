//! What is in files: their size, what is written, what is mapped.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::path::Path;

use anyhow::{Result, ensure};
use graven_tests::driver::Driver;
use graven_tests::record::{Expected, activity};
use graven_tests::{missing, sight, words};

use crate::{Take, scene};

pub(crate) fn a_truncation_is_recorded_with_the_new_size(take: &mut Take<'_, '_>) -> Result<()> {
    let cut = |path: &Path, size: u64| {
        Expected::new("truncate", activity::UPDATE, path).seen_with("/file/size", size)
    };
    let mut calls = vec![("truncate", "ftruncate", 3)];
    if take.is_compat() {
        // More than 32 bits say.
        calls.push(("truncate64", "ftruncate64", 5_000_000_000));
    }
    for (by_path, by_descriptor, size) in calls {
        let operand = size.to_string();
        let file = take.scene.file(by_path)?;
        take.one(by_path, &words![file, operand], cut(&file, size))?;
        let file = take.scene.file(by_descriptor)?;
        // The actor opens it, and not by the entry under test.
        let opened = Expected::new("open", activity::UPDATE, &file);
        let expected = cut(&file, size).by(take.entry.name(), by_descriptor);
        take.all(by_descriptor, &words![file, operand], vec![opened, expected])?;
    }
    Ok(())
}

pub(crate) fn room_that_is_made_or_taken_is_a_modification(take: &mut Take<'_, '_>) -> Result<()> {
    // FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE
    for (name, mode) in [("made", "0"), ("taken", "3")] {
        let file = take.scene.file(name)?;
        let expected = written(take, &file, "fallocate");
        take.all("fallocate", &words![file, mode, "0", "4096"], expected)?;
    }
    Ok(())
}

/// The actor opens the file; then the one change by that call.
fn written(take: &Take<'_, '_>, file: &Path, call: &str) -> Vec<Expected> {
    let changed = Expected::modify(file).by(take.entry.name(), call);
    vec![Expected::new("open", activity::UPDATE, file), changed]
}

pub(crate) fn what_is_written_is_a_modification_by_that_call(take: &mut Take<'_, '_>) -> Result<()> {
    let file = take.scene.file("write")?;
    take.all("write", &words![file, "after\n"], written(take, &file, "write"))?;
    let file = take.scene.file("pwrite64")?;
    take.all("pwrite64", &words![file, "after\n", "3"], written(take, &file, "pwrite64"))?;
    for call in ["writev", "pwritev", "pwritev2"] {
        let file = take.scene.file(call)?;
        take.all(call, &words![file, "after\n"], written(take, &file, call))?;
    }
    // What only reads is no record.
    let source = take.scene.file("source")?;
    let calls: &[&str] = if take.is_compat() { &["sendfile", "sendfile64"] } else { &["sendfile"] };
    for call in calls {
        let file = take.scene.file(call)?;
        take.all(call, &words![file, source, "0", "7"], written(take, &file, call))?;
    }
    let file = take.scene.file("copy_file_range")?;
    let operands: &[OsString] = &words![source, "0", file, "0", "7", "0"];
    take.all("copy_file_range", operands, written(take, &file, "copy_file_range"))?;
    let file = take.scene.file("splice")?;
    let expected = written(take, &file, "splice");
    take.scene.act(&words!["pipe", "through", "then", "splice", "@1", "0", file, "0", "7", "0"], expected)
}

pub(crate) fn a_mapping_for_writing_is_recorded_and_so_is_the_first_store(
    take: &mut Take<'_, '_>,
) -> Result<()> {
    let call = if take.is_compat() { "mmap2" } else { "mmap" };
    let file = take.scene.file("mapped")?;
    let entry = take.entry.name();
    let expected = vec![
        // O_RDWR
        Expected::new("open", activity::UPDATE, &file).by(entry, "open"),
        Expected::new("mmap", activity::UPDATE, &file)
            .by(if entry == "x32" { "native" } else { entry }, call),
        // The store is no call.
        Expected::modify(&file).with("/unmapped/entry", serde_json::Value::Null).witnessed(),
    ];
    take.scene.act(&words!["open", file, "2", "0", "then", "map", "@1", "then", "store", "65"], expected)?;
    // A mapping that becomes writable later is seen by what is stored there.
    let file = take.scene.file("later")?;
    let expected = vec![
        Expected::new("open", activity::UPDATE, &file).by(entry, "open"),
        Expected::modify(&file).with("/unmapped/entry", serde_json::Value::Null).witnessed(),
    ];
    let words = words![
        "open",
        file,
        "2",
        "0",
        "then",
        "map-to-read",
        "@1",
        "then",
        "make-writable",
        "then",
        "store",
        "65"
    ];
    take.scene.act(&words, expected)
}

/// No table lists it, since what it may do lies in memory: the inode tells of it.
#[test]
fn what_is_handed_to_the_kernel_to_be_written_is_recorded() -> Result<()> {
    scene("submitted", |scene| {
        let file = scene.file("file")?;
        let opened = Expected::new("open", activity::UPDATE, &file);
        let written = Expected::modify(&file).with("/unmapped/operation", "io_submit").witnessed();
        scene.act(&words!["io_submit", file, "after\n"], vec![opened, written])
    })
}

/// Descriptors come without an open: inherited, passed, or taken.
#[test]
fn who_writes_by_a_descriptor_that_another_process_opened_is_named() -> Result<()> {
    scene("stolen", |scene| {
        let path = scene.file("stolen")?;
        let file = OpenOptions::new().write(true).open(&path)?;
        let (pid, descriptor) = (std::process::id().to_string(), file.as_raw_fd().to_string());
        let written = Expected::modify(&path).by("native", "write");
        scene.act(&words!["steal", pid, descriptor, "then", "write", "@1", "after\n"], vec![written])
    })
}

/// The kernel sets no time anew for the second.
#[test]
fn who_writes_within_a_clock_tick_of_another_is_recorded() -> Result<()> {
    const FILES: usize = 10;
    scene("tick", |scene| {
        let source = scene.file("source")?;
        let mut drivers = [Driver::start(scene.actor())?, Driver::start(scene.actor())?];
        let mut made = BTreeSet::new();
        for number in 0..FILES {
            let file = |call: &str| scene.file(&format!("{call}-{number}"));
            let (write, allocate, copy) = (file("write")?, file("fallocate")?, file("copy_file_range")?);
            for words in [
                words!["write", write, "x"].to_vec(),
                words!["fallocate", allocate, "0", "0", "4096"].to_vec(),
                words!["copy_file_range", source, "0", copy, "0", "7", "0"].to_vec(),
            ] {
                drivers.iter_mut().try_for_each(|driver| driver.tell(&words))?;
            }
            made.extend([(write, "write"), (allocate, "fallocate"), (copy, "copy_file_range")]);
        }
        let pids = drivers.each_ref().map(Driver::pid);
        drivers.into_iter().try_for_each(Driver::end)?;
        scene.stage().fence()?;
        let records = scene.records(&words!["--kind", "modify"])?;
        let compared = pids.map(|pid| {
            let own = || records.iter().filter(|record| record.pid() == Some(pid.into()));
            let told: BTreeSet<_> =
                own().map(|record| (record.path(), record.text("/unmapped/call"))).collect();
            ensure!(own().count() == told.len(), "a write is told twice by {pid}");
            let false_ones: Vec<_> = told.difference(&made).take(3).collect();
            ensure!(false_ones.is_empty(), "told by {pid} and not done: {false_ones:?}");
            missing::none(&format!("written by {pid}"), made.difference(&told))
        });
        let reported = records.iter().filter(|record| record.text("/unmapped/outcome") == "reported").count();
        println!("{reported} of {} told by their calls alone", records.len());
        // In an emulated machine a step may take longer than a tick.
        let is_tried = sight::of_changes() && !sight::is_emulated();
        ensure!(!is_tried || reported > 0, "no two writes fell into one tick");
        missing::all(compared)
    })
}

/// Written twice at once by one process it is one record.
#[test]
fn what_one_process_writes_again_and_again_is_one_record_a_second() -> Result<()> {
    scene("again", |scene| {
        let file = scene.file("file")?;
        let opened = Expected::new("open", activity::UPDATE, &file).by("native", "open");
        let write = words!["then", "write", "@1", "x"];
        let words = [&words!["open", file, "1", "0"][..], &write, &write, &write].concat();
        scene.act(&words, vec![opened, Expected::modify(&file).by("native", "write")])
    })
}
