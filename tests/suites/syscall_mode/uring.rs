//! Requests of io_uring: what is asked for is `reported` under the caller's name when it is handed in; what it
//! really changes is told by the inodes, whoever carries it out and whether or not it is completed.

use std::ffi::OsString;
use std::path::Path;

use anyhow::Result;
use graven_tests::record::{Expected, activity};
use graven_tests::scene::Scene;
use graven_tests::words;

use crate::{actor, on_each_ground, skipped};

/// O_WRONLY | O_CREAT | O_EXCL
const MAKE: &str = "0301";

/// What was asked for, by a request of this name.
fn asked(expected: Expected, request: &str) -> Expected {
    expected.reported().by("io_uring", format!("io_uring {request}"))
}

/// What a request of this name changed.
fn changed(path: &Path, request: &str) -> Expected {
    let call = format!("io_uring {request}");
    Expected::modify(path).with("/unmapped/operation", call.as_str()).by("io_uring", call).witnessed()
}

/// Requests made in one way, each by a process of its own.
fn requests(way: &str, test: fn(&mut Requests<'_, '_>) -> Result<()>) -> Result<()> {
    let name = format!("uring-{way}");
    on_each_ground(&name, &actor()?.by_uring(way), |scene| test(&mut Requests { scene }))
}

struct Requests<'s, 'a> {
    scene: &'s mut Scene<'a>,
}

impl Requests<'_, '_> {
    fn one(&mut self, words: &[OsString], expected: Vec<Expected>) -> Result<()> {
        if let Some(why) = self.scene.act_if_there(words, expected)? {
            skipped("io_uring", &why);
        }
        Ok(())
    }
}

fn all(take: &mut Requests<'_, '_>) -> Result<()> {
    paths(take)?;
    names(take)?;
    descriptors(take)
}

fn paths(take: &mut Requests<'_, '_>) -> Result<()> {
    let new = take.scene.path("openat");
    let expected =
        vec![asked(Expected::new("open", activity::CREATE, &new), "openat"), changed(&new, "openat")];
    take.one(&words!["openat", new, MAKE, "0644"], expected)?;
    let gone = take.scene.file("unlinkat")?;
    let expected =
        vec![asked(Expected::new("unlink", activity::DELETE, &gone), "unlinkat"), changed(&gone, "unlinkat")];
    take.one(&words!["unlinkat", gone, "0"], expected)?;
    let gone = take.scene.directory("rmdir")?;
    let expected =
        vec![asked(Expected::new("unlink", activity::DELETE, &gone), "unlinkat"), changed(&gone, "unlinkat")];
    take.one(&words!["unlinkat", gone, "0x200"], expected)?;
    let file = take.scene.file("setxattr")?;
    let attr = Expected::new("attr", activity::ATTRIBUTES, &file)
        .with("/unmapped/requested/kind", "xattr")
        .with("/unmapped/requested/xattr", "user.graven");
    let expected = vec![asked(attr, "setxattr"), changed(&file, "setxattr")];
    take.one(&words!["setxattr", file, "user.graven", "value", "0"], expected)
}

fn names(take: &mut Requests<'_, '_>) -> Result<()> {
    let created = |kind: &str, path: &Path| {
        Expected::new("create", activity::CREATE, path).with("/unmapped/create/kind", kind)
    };
    let new = take.scene.path("mkdirat");
    let expected = vec![asked(created("directory", &new), "mkdirat"), changed(&new, "mkdirat")];
    take.one(&words!["mkdirat", new, "0755"], expected)?;
    let new = take.scene.path("symlinkat");
    let expected = vec![
        asked(created("symlink", &new).with("/unmapped/create/target", "no/where"), "symlinkat"),
        changed(&new, "symlinkat"),
    ];
    take.one(&words!["symlinkat", "no/where", new], expected)?;
    let (old, new) = (take.scene.file("linkat-old")?, take.scene.path("linkat"));
    let from = old.to_string_lossy().into_owned();
    let expected = vec![
        asked(created("link", &new).with("/unmapped/create/from/path", from), "linkat"),
        changed(&new, "linkat"),
    ];
    take.one(&words!["linkat", old, new, "0"], expected)?;
    let (from, to) = (take.scene.file("renameat-from")?, take.scene.path("renameat"));
    let expected = vec![asked(Expected::rename(&from, &to), "renameat"), changed(&to, "renameat")];
    take.one(&words!["renameat", from, to, "0"], expected)
}

/// What is asked of a descriptor names no path: only what it changes is told.
fn descriptors(take: &mut Requests<'_, '_>) -> Result<()> {
    for (request, operands) in [
        ("write", &["after\n", "0"][..]),
        ("fallocate", &["0", "0", "4096"]),
        ("ftruncate", &["3"]),
        ("fsetxattr", &["user.graven", "value", "0"]),
    ] {
        let file = take.scene.file(request)?;
        let mut words = words![request, file].to_vec();
        words.extend(operands.iter().map(OsString::from));
        let mut expected = vec![changed(&file, request)];
        if request != "fsetxattr" {
            // The actor opens it for writing, by a call.
            expected.insert(0, Expected::new("open", activity::UPDATE, &file));
        }
        take.one(&words, expected)?;
    }
    Ok(())
}

#[test]
fn a_request_is_reported_and_what_it_changes_is_a_modification() -> Result<()> {
    requests("plain", all)
}

#[test]
fn what_a_worker_thread_changes_is_its_processs() -> Result<()> {
    requests("worker", all)
}

#[test]
fn a_request_that_is_never_completed_is_recorded_as_any_other() -> Result<()> {
    requests("silent", all)
}

#[test]
fn a_request_that_needs_no_system_call_is_recorded_as_any_other() -> Result<()> {
    requests("polled", all)
}

#[test]
fn a_request_that_nobody_sees_in_any_way_is_recorded() -> Result<()> {
    requests("polled+silent+worker", all)
}

#[test]
fn an_io_uring_that_changes_nothing_is_no_record() -> Result<()> {
    on_each_ground("uring-nothing", &actor()?, |scene| scene.act(&words!["uring-nothing", "3"], Vec::new()))
}
