//! Answers that are not the kernel's: a filter of seccomp says 0, and nothing was done.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use graven_tests::calls::Entry;
use graven_tests::record::{Expected, activity};
use graven_tests::words;

use crate::scene;

#[test]
fn a_success_that_a_filter_made_up_is_reported_and_not_believed() -> Result<()> {
    scene("claimed", |scene| {
        let file = scene.file("file")?;
        let (new, other) = (scene.path("new"), scene.path("other"));
        let before = file.metadata()?;
        let create = |path: &Path| Expected::new("create", activity::CREATE, path);
        let attr = |activity| Expected::new("attr", activity, &file);
        let claims = [
            (words!["unlink", file].to_vec(), Expected::new("unlink", activity::DELETE, &file)),
            (words!["unlinkat", file, "0"].to_vec(), Expected::new("unlink", activity::DELETE, &file)),
            (words!["rename", file, other].to_vec(), Expected::rename(&file, &other)),
            (words!["mkdir", new, "0755"].to_vec(), create(&new)),
            (words!["symlink", "text", new].to_vec(), create(&new)),
            (words!["link", file, new].to_vec(), create(&new)),
            (words!["chmod", file, "0777"].to_vec(), attr(activity::SECURITY)),
            (words!["chown", file, "1", "1"].to_vec(), attr(activity::SECURITY)),
            (words!["utimes", file, "0"].to_vec(), attr(activity::ATTRIBUTES)),
            (words!["setxattr", file, "user.graven", "value", "0"].to_vec(), attr(activity::ATTRIBUTES)),
            (words!["truncate", file, "0"].to_vec(), Expected::new("truncate", activity::UPDATE, &file)),
            // The answer 0 is the standard input, which is no file for writing.
            (words!["open", file, "1", "0"].to_vec(), Expected::new("open", activity::UPDATE, &file)),
        ];
        for (words, expected) in claims {
            let call = words.first().context("no call")?.to_string_lossy().into_owned();
            let words = [words!["faked"].to_vec(), words].concat();
            scene.act(&words, vec![expected.reported().by("native", call)])?;
        }
        let after = file.metadata()?;
        ensure!(after.len() == before.len() && after.permissions() == before.permissions());
        ensure!(!new.exists() && !other.exists());
        Ok(())
    })
}

#[test]
fn a_write_that_a_filter_made_up_is_reported_and_by_a_descriptor_for_reading_nobody_writes() -> Result<()> {
    scene("written", |scene| {
        let file = scene.file("file")?;
        let faked = |flags| {
            words!["open", file, flags, "0", "then", "faked", "fallocate", "@1", "0", "0", "4096"].to_vec()
        };
        let opened = Expected::new("open", activity::UPDATE, &file).by("native", "open");
        let written = Expected::modify(&file).reported().by("native", "fallocate");
        scene.act(&faked("1"), vec![opened, written])?;
        scene.act(&faked("0"), vec![])?;
        ensure!(file.metadata()?.len() == 7, "it was done");
        Ok(())
    })
}

#[test]
fn a_success_that_a_filter_made_up_for_the_32_bit_entry_is_not_believed() -> Result<()> {
    scene("claimed-compat", |scene| {
        let file = scene.file("file")?;
        let actor = scene.actor().by(Entry::Compat);
        let words = words!["faked", "unlink", file];
        let expected = Expected::new("unlink", activity::DELETE, &file).reported().by("compat", "unlink");
        match actor.attempt(&words)? {
            graven_tests::actor::Attempt::Made(acted) => scene.expect(acted, vec![expected]),
            graven_tests::actor::Attempt::Lacking(why) => crate::skipped("compat", &why),
        }
        ensure!(file.exists());
        Ok(())
    })
}

#[test]
fn a_claim_about_the_32_bit_calls_number_is_no_claim_about_the_64_bit_call() -> Result<()> {
    scene("numbers", |scene| {
        let (gone, kept) = (scene.file("gone")?, scene.file("kept")?);
        let actor = scene.actor().by(Entry::Compat);
        // 10 is unlink by one entry and mprotect by the other; 87 is unlink there and swapon here.
        let words =
            words!["unlink", gone, "then", "--by", "native", "--error", "2", "unlink", scene.path("nothing")];
        let expected = Expected::new("unlink", activity::DELETE, &gone).by("compat", "unlink");
        match actor.attempt(&words)? {
            graven_tests::actor::Attempt::Made(acted) => scene.expect(acted, vec![expected]),
            graven_tests::actor::Attempt::Lacking(why) => crate::skipped("compat", &why),
        }
        ensure!(kept.exists());
        Ok(())
    })
}

#[test]
fn a_descriptor_with_bits_that_the_kernel_does_not_look_at_is_the_same() -> Result<()> {
    scene("wide", |scene| {
        let file = scene.file("file")?;
        let expected = vec![
            Expected::new("open", activity::UPDATE, &file).by("native", "open"),
            Expected::new("mmap", activity::UPDATE, &file).by("native", "mmap"),
        ];
        scene.act(&words!["open", file, "2", "0", "then", "map-wide", "@1"], expected)
    })
}
