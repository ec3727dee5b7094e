//! Every call that changes files, by every way to name a file.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::Result;
use graven_tests::actor::{Actor, NOBODY};
use graven_tests::record::{Expected, activity};
use graven_tests::scene::Scene;

use crate::scene;

/// How a change names its file.
struct Way {
    actor: Actor,
    /// What stands before the name.
    before: PathBuf,
    /// Only calls that take a directory's descriptor.
    below: bool,
}

impl Way {
    fn word(&self, name: &str) -> OsString {
        self.before.join(name).into()
    }

    fn takes(&self, call: &str) -> bool {
        // openat, renameat2, fchmodat2, …
        !self.below || (call.contains("at") && call != "creat")
    }
}

/// Each call that changes files, once, and what it must be recorded as.
fn all_calls(scene: &mut Scene<'_>, way: &Way) -> Result<()> {
    opens(scene, way)?;
    names(scene, way)?;
    renames(scene, way)?;
    attributes(scene, way)
}

fn opens(scene: &mut Scene<'_>, way: &Way) -> Result<()> {
    // O_WRONLY | O_CREAT | O_EXCL
    for (call, words) in [
        ("open", &["0301", "0644"][..]),
        ("openat", &["0301", "0644"]),
        ("openat2", &["0301", "0644"]),
        ("creat", &["0644"]),
    ] {
        let new = scene.path(&format!("{call}-new"));
        one(scene, way, call, &format!("{call}-new"), words, Expected::new("open", activity::CREATE, new))?;
    }
    for (call, words) in [("open", &["1", "0"][..]), ("openat", &["02", "0"]), ("openat2", &["02001", "0"])] {
        let there = scene.file(&format!("{call}-there"))?;
        one(
            scene,
            way,
            call,
            &format!("{call}-there"),
            words,
            Expected::new("open", activity::UPDATE, there),
        )?;
    }
    let truncated = scene.file("creat-there")?;
    one(scene, way, "creat", "creat-there", &["0600"], Expected::new("open", activity::UPDATE, truncated))
}

fn names(scene: &mut Scene<'_>, way: &Way) -> Result<()> {
    for (call, words) in [
        ("mkdir", &["0755"][..]),
        ("mkdirat", &["0755"]),
        ("mknod", &["010644", "0"]),
        ("mknodat", &["010644", "0"]),
    ] {
        let new = scene.path(call);
        one(scene, way, call, call, words, Expected::new("create", activity::CREATE, new))?;
    }
    for (call, words) in [("rmdir", &[][..]), ("unlinkat", &["512"])] {
        let name = format!("{call}-directory");
        let gone = scene.directory(&name)?;
        one(scene, way, call, &name, words, Expected::new("unlink", activity::DELETE, gone))?;
    }
    for (call, words) in [("unlink", &[][..]), ("unlinkat", &["0"])] {
        let name = format!("{call}-file");
        let gone = scene.file(&name)?;
        one(scene, way, call, &name, words, Expected::new("unlink", activity::DELETE, gone))?;
    }
    for call in ["symlink", "symlinkat"].into_iter().filter(|call| way.takes(call)) {
        let acted = way.actor.act(&[OsStr::new(call), OsStr::new("/nowhere"), &way.word(call)])?;
        scene.expect(acted, vec![Expected::new("create", activity::CREATE, scene.path(call))]);
    }
    Ok(())
}

fn renames(scene: &mut Scene<'_>, way: &Way) -> Result<()> {
    for (call, more) in [("rename", &[][..]), ("renameat", &[]), ("renameat2", &["0"])] {
        if !way.takes(call) {
            continue;
        }
        let (from, to) = (scene.file(&format!("{call}-from"))?, scene.path(&format!("{call}-to")));
        let mut words = vec![call.into(), way.word(&format!("{call}-from")), way.word(&format!("{call}-to"))];
        words.extend(more.iter().map(OsString::from));
        let acted = way.actor.act(&words)?;
        scene.expect(acted, vec![Expected::rename(from, to)]);
    }
    for (call, more) in [("link", &[][..]), ("linkat", &["0"])] {
        if !way.takes(call) {
            continue;
        }
        let (old, new) = (format!("{call}-old"), format!("{call}-new"));
        scene.file(&old)?;
        let mut words = vec![call.into(), way.word(&old), way.word(&new)];
        words.extend(more.iter().map(OsString::from));
        let acted = way.actor.act(&words)?;
        scene.expect(acted, vec![Expected::new("create", activity::CREATE, scene.path(&new))]);
    }
    Ok(())
}

fn attributes(scene: &mut Scene<'_>, way: &Way) -> Result<()> {
    let own = rustix::process::getuid().as_raw().to_string();
    let owner = [own.as_str(), own.as_str()];
    let modes = [
        ("chmod", &["0640"][..]),
        ("fchmod", &["0640"]),
        ("fchmodat", &["0640"]),
        ("fchmodat2", &["0640", "0"]),
    ];
    let owners =
        [("chown", &owner[..]), ("fchown", &owner), ("lchown", &owner), ("fchownat", &[&own, &own, "0"])];
    for (call, words) in modes.into_iter().chain(owners) {
        let file = scene.file(call)?;
        one(scene, way, call, call, words, Expected::new("attr", activity::SECURITY, file))?;
    }
    Ok(())
}

/// One call on one name.
fn one(
    scene: &mut Scene<'_>,
    way: &Way,
    call: &str,
    name: &str,
    more: &[&str],
    expected: Expected,
) -> Result<()> {
    if way.takes(call) {
        let mut words: Vec<OsString> = vec![call.into(), way.word(name)];
        words.extend(more.iter().map(OsString::from));
        scene.expect(way.actor.act(&words)?, vec![expected]);
    }
    Ok(())
}

#[test]
fn every_call_on_an_absolute_path_is_one_record() -> Result<()> {
    scene("absolute", |scene| {
        let way = Way { actor: scene.actor().clone(), before: scene.folder().to_owned(), below: false };
        all_calls(scene, &way)
    })
}

#[test]
fn every_call_on_a_relative_path_is_one_record_with_the_whole_path() -> Result<()> {
    scene("relative", |scene| {
        let way = Way { actor: scene.actor().within(scene.folder()), before: PathBuf::new(), below: false };
        all_calls(scene, &way)
    })
}

#[test]
fn every_call_below_a_descriptor_is_one_record_with_the_whole_path() -> Result<()> {
    scene("descriptor", |scene| {
        let way = Way { actor: scene.actor().at(scene.folder()), before: PathBuf::new(), below: true };
        all_calls(scene, &way)
    })
}

#[test]
fn every_call_through_a_symbolic_link_that_lies_outside_is_one_record_with_the_real_path() -> Result<()> {
    scene("linked", |scene| {
        let link = scene.stage().outside("links")?.join("harmless");
        std::os::unix::fs::symlink(scene.folder(), &link)?;
        let way = Way { actor: scene.actor().clone(), before: link, below: false };
        all_calls(scene, &way)
    })
}

#[test]
fn dots_and_slashes_in_an_argument_do_not_hide_the_real_path() -> Result<()> {
    scene("dots", |scene| {
        let outside = scene.stage().outside("dots")?;
        let back = Path::new("..").join("watched").join("dots");
        for name in ["a", "b/", ".//c", "x/../d"] {
            scene.directory("x").or_else(|_| anyhow::Ok(PathBuf::new()))?;
            let actor = scene.actor().within(&outside);
            let acted = actor.act(&[OsStr::new("mkdir"), back.join(name).as_os_str(), OsStr::new("0755")])?;
            let bare = name.rsplit('/').find(|part| !part.is_empty()).unwrap_or(name);
            scene.expect(acted, vec![Expected::new("create", activity::CREATE, scene.path(bare))]);
        }
        Ok(())
    })
}

#[test]
fn another_user_is_named_in_the_record() -> Result<()> {
    scene("nobody", |scene| {
        let nobody = scene.actor().as_user(NOBODY);
        let way = Way { actor: nobody.clone(), before: scene.folder().to_owned(), below: false };
        names(scene, &way)?;
        renames(scene, &way)?;
        let new = scene.path("theirs");
        let acted = nobody.act(&[OsStr::new("creat"), new.as_os_str(), OsStr::new("0600")])?;
        scene.expect(acted, vec![Expected::new("open", activity::CREATE, &new)]);
        let acted = nobody.act(&[OsStr::new("chmod"), new.as_os_str(), OsStr::new("0644")])?;
        scene.expect(acted, vec![Expected::new("attr", activity::SECURITY, &new)]);
        Ok(())
    })
}

#[test]
fn a_file_opened_by_its_handle_has_its_path() -> Result<()> {
    scene("handle", |scene| {
        let file = scene.file("file")?;
        let acted =
            scene.actor().act(&[OsStr::new("open_by_handle_at"), file.as_os_str(), OsStr::new("1")])?;
        scene.expect(acted, vec![Expected::new("open", activity::UPDATE, file)]);
        Ok(())
    })
}
