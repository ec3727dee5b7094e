//! On the real kernel, with the real agent and central log: every kind of change of a protected place is a
//! violation with the real path, the process, its ancestors, its user and the policy's entry, exactly once;
//! what changes nothing is no record; what the sensor cannot decode is said.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use graven_tests::actor::{Acted, Actor, NOBODY};
use graven_tests::daemon::Daemon;
use graven_tests::programs::{self, AGENT, CENTRAL};
use graven_tests::record::{Expected, FILE, PROCESS, Record, activity};
use graven_tests::shared::on_stage;
use graven_tests::stage::{Scene, Stage};
use graven_tests::wait::until;
use graven_tests::{agent, place::Place, skip};
use rustix::process::Signal;
use serde_json::Value;

const SUITE: &str = "first_light";

fn actor() -> Result<Actor> {
    Actor::new(env!("CARGO_BIN_EXE_graven-actor"))
}

/// A test in a directory of its own; what it expects is compared at the end.
fn scene(name: &str, test: impl FnOnce(&mut Scene<'_>) -> Result<()>) -> Result<()> {
    on_stage(SUITE, |stage| {
        let mut scene = Scene::new(stage, name, &actor()?)?;
        test(&mut scene)?;
        scene.check()
    })
}

/// How a change names its file.
struct Way {
    actor: Actor,
    /// What stands before the name.
    before: PathBuf,
    /// Calls with a directory's descriptor, or calls without.
    only: Option<bool>,
}

impl Way {
    fn word(&self, name: &str) -> OsString {
        self.before.join(name).into()
    }

    fn takes(&self, call: &str) -> bool {
        // openat, renameat2, fchmodat2, …
        self.only.is_none_or(|at| call.contains("at") && !call.starts_with("creat") == at)
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
        let way = Way { actor: scene.actor().clone(), before: scene.folder().to_owned(), only: None };
        all_calls(scene, &way)
    })
}

#[test]
fn every_call_on_a_relative_path_is_one_record_with_the_whole_path() -> Result<()> {
    scene("relative", |scene| {
        let way = Way { actor: scene.actor().within(scene.folder()), before: PathBuf::new(), only: None };
        all_calls(scene, &way)
    })
}

#[test]
fn every_call_below_a_descriptor_is_one_record_with_the_whole_path() -> Result<()> {
    scene("descriptor", |scene| {
        let way = Way { actor: scene.actor().at(scene.folder()), before: PathBuf::new(), only: Some(true) };
        all_calls(scene, &way)
    })
}

#[test]
fn every_call_through_a_symbolic_link_that_lies_outside_is_one_record_with_the_real_path() -> Result<()> {
    scene("linked", |scene| {
        let link = scene.stage().outside("links")?.join("harmless");
        std::os::unix::fs::symlink(scene.folder(), &link)?;
        let way = Way { actor: scene.actor().clone(), before: link, only: None };
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
        let way = Way { actor: nobody.clone(), before: scene.folder().to_owned(), only: None };
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

#[test]
fn a_shell_that_writes_is_seen_opening_and_writing() -> Result<()> {
    scene("shell", |scene| {
        let motd = scene.path("motd");
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "> motd"]).current_dir(scene.folder());
        let acted = scene.actor().run(shell)?;
        scene.expect(acted, vec![Expected::new("open", activity::CREATE, &motd)]);
        // As in `Scene::file`.
        motd.metadata()?;
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "echo x >> motd"]).current_dir(scene.folder());
        let acted = scene.actor().run(shell)?;
        let opened = Expected::new("open", activity::UPDATE, &motd);
        scene.expect(acted, vec![opened, Expected::new("modify", activity::UPDATE, &motd)]);
        Ok(())
    })
}

#[test]
fn the_writer_through_an_inherited_descriptor_is_named() -> Result<()> {
    scene("inherited", |scene| {
        let file = scene.file("log")?;
        let open = std::fs::OpenOptions::new().append(true).open(&file)?;
        let acted = scene.actor().act_on(Stdio::from(open), &["print", "more"])?;
        scene.expect(acted, vec![Expected::new("modify", activity::UPDATE, file)]);
        Ok(())
    })
}

#[test]
fn an_open_that_only_truncates_is_a_change() -> Result<()> {
    scene("truncated", |scene| {
        let file = scene.file("file")?;
        // O_RDONLY | O_TRUNC
        let acted = scene.actor().act(&[
            OsStr::new("open"),
            file.as_os_str(),
            OsStr::new("01000"),
            OsStr::new("0"),
        ])?;
        scene.expect(acted.clone(), vec![Expected::new("open", activity::UPDATE, &file)]);
        scene.stage().fence()?;
        let records = scene.stage().records(&file)?;
        let own = records.iter().find(|record| record.pid() == Some(acted.pid.into()));
        ensure!(own.is_some_and(|record| record.0["unmapped"]["truncated"] == true), "{records:#?}");
        Ok(())
    })
}

#[test]
fn calls_without_a_kind_of_their_own_are_modifications() -> Result<()> {
    scene("others", |scene| {
        for (call, words) in
            [("truncate", &["1"][..]), ("ftruncate", &["2"]), ("utime", &["0"]), ("utimensat", &["0", "0"])]
        {
            let file = scene.file(call)?;
            let mut arguments = vec![OsStr::new(call), file.as_os_str()];
            arguments.extend(words.iter().map(OsStr::new));
            let acted = scene.actor().act(&arguments)?;
            let mut expected = vec![Expected::new("modify", activity::UPDATE, &file)];
            if call == "ftruncate" {
                expected.insert(0, Expected::new("open", activity::UPDATE, &file));
            }
            scene.expect(acted, expected);
        }
        Ok(())
    })
}

#[test]
fn a_rename_into_and_out_of_the_protected_place_has_both_paths() -> Result<()> {
    scene("moved", |scene| {
        let outside = scene.stage().outside("moves")?;
        let actor = scene.actor().clone();
        let rename =
            |from: &Path, to: &Path| actor.act(&[OsStr::new("rename"), from.as_os_str(), to.as_os_str()]);
        std::fs::write(outside.join("comes"), "x")?;
        std::fs::create_dir_all(outside.join("tree/of/folders"))?;
        scene.file("goes")?;
        scene.directory("branch")?;
        for (from, to) in [
            (outside.join("comes"), scene.path("came")),
            (scene.path("goes"), outside.join("gone")),
            (outside.join("tree"), scene.path("tree")),
            (scene.path("branch"), outside.join("branch")),
        ] {
            let acted = rename(&from, &to)?;
            scene.expect(acted, vec![Expected::rename(from, to)]);
        }
        // What came with its directory is protected now, and what went is not.
        let inner = scene.path("tree/of/folders/new");
        let acted = actor.act(&[OsStr::new("mkdir"), inner.as_os_str(), OsStr::new("0755")])?;
        scene.expect(acted, vec![Expected::new("create", activity::CREATE, inner)]);
        let acted =
            actor.act(&[OsStr::new("mkdir"), outside.join("branch/new").as_os_str(), OsStr::new("0755")])?;
        scene.expect(acted, Vec::new());
        Ok(())
    })
}

#[test]
fn a_rename_over_a_file_names_what_was_there() -> Result<()> {
    scene("replaced", |scene| {
        let (from, to) = (scene.file("from")?, scene.file("to")?);
        let acted = scene.actor().act(&[OsStr::new("rename"), from.as_os_str(), to.as_os_str()])?;
        scene.expect(acted.clone(), vec![Expected::rename(&from, &to)]);
        scene.stage().fence()?;
        let records = scene.stage().records(&to)?;
        let own =
            records.iter().find(|record| record.pid() == Some(acted.pid.into())).context("no record")?;
        ensure!(Path::new(own.text("/unmapped/replaced/path")) == to, "{:#}", own.0);
        let inode = |place: &str| own.number(&format!("/unmapped/{place}/inode"));
        ensure!(inode("replaced").is_some() && inode("replaced") != inode("file"), "{:#}", own.0);
        Ok(())
    })
}

#[test]
fn an_exchange_of_two_files_is_one_record_with_both() -> Result<()> {
    scene("exchanged", |scene| {
        let (from, to) = (scene.file("one")?, scene.file("other")?);
        // RENAME_EXCHANGE
        let acted = scene.actor().act(&[
            OsStr::new("renameat2"),
            from.as_os_str(),
            to.as_os_str(),
            OsStr::new("2"),
        ])?;
        scene.stage().fence()?;
        let records = scene.stage().records(scene.folder())?;
        let own: Vec<&Record> =
            records.iter().filter(|record| record.pid() == Some(acted.pid.into())).collect();
        ensure!(own.len() == 1 && own[0].kind() == "rename", "{own:#?}");
        own[0].is_violation_by(&acted, "watched")?;
        ensure!(own[0].0["unmapped"]["exchange"] == true, "{:#}", own[0].0);
        let mut paths = [own[0].path(), own[0].result()];
        paths.sort();
        ensure!(paths == [from, to], "{:#}", own[0].0);
        Ok(())
    })
}

#[test]
fn the_name_by_which_a_linked_file_is_changed_is_the_one_in_the_record() -> Result<()> {
    scene("hard-links", |scene| {
        let (first, second) = (scene.file("first")?, scene.path("second"));
        std::fs::hard_link(&first, &second)?;
        let acted =
            scene.actor().act(&[OsStr::new("open"), second.as_os_str(), OsStr::new("1"), OsStr::new("0")])?;
        scene.expect(acted, vec![Expected::new("open", activity::UPDATE, &second)]);
        // A file from outside, by its name in the protected place.
        let outside = scene.stage().outside("hard-links")?.join("theirs");
        std::fs::write(&outside, "x")?;
        let inside = scene.path("inside");
        std::fs::hard_link(&outside, &inside)?;
        let acted =
            scene.actor().act(&[OsStr::new("open"), inside.as_os_str(), OsStr::new("1"), OsStr::new("0")])?;
        scene.expect(acted, vec![Expected::new("open", activity::UPDATE, &inside)]);
        Ok(())
    })
}

/// A file has one inode and many names. Which of the others is protected is not known where the filter decides.
#[test]
fn that_a_name_outside_may_be_of_a_protected_file_is_said_at_the_start() -> Result<()> {
    on_stage(SUITE, |stage| {
        stage.fence()?;
        let starts = stage.central.events(&["--kind", "start"])?;
        let said = starts.iter().flat_map(|record| record.list("/unmapped/uncovered"));
        let said: Vec<&str> = said.filter_map(Value::as_str).collect();
        ensure!(said.iter().any(|line| line.contains("hard link of a protected one")), "{said:#?}");
        Ok(())
    })
}

#[test]
fn what_only_reads_makes_no_record() -> Result<()> {
    scene("read", |scene| {
        let file = scene.file("file")?;
        let acted = scene.actor().act(&[OsStr::new("read"), file.as_os_str()])?;
        let listed = scene.actor().run({
            let mut list = Command::new("/bin/ls");
            list.arg("-laR").arg(scene.folder()).stdout(Stdio::null());
            list
        })?;
        // A change after them: when it is there, they would be.
        let after =
            scene.actor().act(&[OsStr::new("mkdir"), scene.path("after").as_os_str(), OsStr::new("0755")])?;
        scene.expect(after.clone(), vec![Expected::new("create", activity::CREATE, scene.path("after"))]);
        scene.stage().fence()?;
        let records = scene.stage().central.events::<&str>(&[])?;
        let of = |acted: &Acted| {
            let pid = acted.pid;
            records
                .iter()
                .filter(move |record| record.class() == FILE && record.pid() == Some(pid.into()))
                .count()
        };
        ensure!(
            (of(&acted), of(&listed), of(&after)) == (0, 0, 1),
            "{} {} {}",
            of(&acted),
            of(&listed),
            of(&after)
        );
        // The fence's own directory is the test's; of this process there are the changes it made itself only.
        let opened = records.iter().filter(|record| record.kind() == "open" && record.path() == file);
        ensure!(opened.count() == 1, "only making the file opened it for writing");
        Ok(())
    })
}

#[test]
fn a_program_in_the_protected_place_that_runs_is_a_violation() -> Result<()> {
    scene("program", |scene| {
        let program = scene.path("true");
        std::fs::copy("/bin/true", &program)?;
        let mut run = Command::new(&program);
        run.args(["--first", "a b"]);
        let acted = scene.actor().run(run)?;
        let nobody = scene.actor().as_user(NOBODY).run(Command::new(&program))?;
        scene.stage().fence()?;
        for acted in [acted, nobody] {
            let record = launch(scene.stage(), &acted)?;
            ensure!(record.path() == program, "{:#}", record.0);
            let rule = format!("exec.deny_from \"{}\"", scene.stage().watched().display());
            record.is_violation_by(&acted, &rule)?;
        }
        Ok(())
    })
}

/// The one launch by a process.
fn launch(stage: &Stage, acted: &Acted) -> Result<Record> {
    let mut own = stage.central.violations(&["--kind", "exec"])?;
    own.retain(|record| record.pid() == Some(acted.pid.into()));
    ensure!(own.len() == 1, "{}: {} launches: {own:#?}", acted.said, own.len());
    let record = own.remove(0);
    ensure!(record.class() == PROCESS && record.number("/activity_id") == Some(1), "{:#}", record.0);
    Ok(record)
}

#[test]
fn a_script_in_the_protected_place_that_runs_is_a_violation() -> Result<()> {
    scene("script", |scene| {
        let script = scene.path("script");
        std::fs::write(&script, "#!/bin/sh\nexit 0\n")?;
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
        let acted = scene.actor().run(Command::new(&script))?;
        scene.stage().fence()?;
        let record = launch(scene.stage(), &acted)?;
        let said = record.0.to_string();
        ensure!(said.contains(&*script.to_string_lossy()), "the script is not named: {:#}", record.0);
        Ok(())
    })
}

#[test]
fn a_program_without_a_name_that_runs_is_a_violation() -> Result<()> {
    scene("nameless", |scene| {
        let content = std::fs::read("/bin/true")?;
        // Not the last descriptor for writing: such a file cannot be run.
        let memory = rustix::fs::memfd_create("hidden", rustix::fs::MemfdFlags::empty())?;
        rustix::io::write(&memory, &content)?;
        let deleted = scene.stage().outside("nameless")?.join("true");
        std::fs::write(&deleted, &content)?;
        std::fs::set_permissions(&deleted, std::fs::Permissions::from_mode(0o755))?;
        let open = std::fs::File::open(&deleted)?;
        std::fs::remove_file(&deleted)?;
        for (number, what) in [(memory.as_raw_fd(), "memfd"), (open.as_raw_fd(), "deleted")] {
            let program = format!("/proc/{}/fd/{number}", std::process::id());
            let acted = scene.actor().run(Command::new(program))?;
            scene.stage().fence()?;
            let record = launch(scene.stage(), &acted)?;
            ensure!(
                record.text("/unmapped/verdict/rule") == format!("exec.deny_from \"{what}\""),
                "{:#}",
                record.0
            );
            ensure!(record.0["unmapped"][what] == true, "{:#}", record.0);
        }
        Ok(())
    })
}

#[test]
fn a_secret_in_the_arguments_is_not_in_the_record() -> Result<()> {
    scene("secret", |scene| {
        let program = scene.path("true");
        std::fs::copy("/bin/true", &program)?;
        let mut run = Command::new(&program);
        run.args(["--user=alice", "--password=correct-horse-battery"]);
        let acted = scene.actor().run(run)?;
        scene.stage().fence()?;
        let record = launch(scene.stage(), &acted)?;
        let line = record.text("/process/cmd_line");
        ensure!(line.contains("--user=alice") && line.contains("--password"), "{line}");
        ensure!(!record.0.to_string().contains("correct-horse"), "{:#}", record.0);
        Ok(())
    })
}

/// Of a process that used an entry which is not decoded: one record that says so, and the changes by inode.
fn uncovered(scene: &Scene<'_>, acted: &Acted, entry: &str, changed: &[PathBuf]) -> Result<()> {
    scene.stage().fence()?;
    let mut records = scene.stage().central.events::<&str>(&[])?;
    records.retain(|record| record.pid() == Some(acted.pid.into()));
    let said: Vec<&Record> = records.iter().filter(|record| record.kind() == "uncovered").collect();
    ensure!(said.len() == 1, "{}: {} uncovered records: {said:#?}", acted.said, said.len());
    ensure!(said[0].text("/unmapped/entry") == entry, "{:#}", said[0].0);
    said[0].is_by(acted)?;
    for path in changed {
        let of_path: Vec<&Record> =
            records.iter().filter(|record| record.class() == FILE && record.path() == *path).collect();
        ensure!(of_path.len() == 1, "{} records of {}: {of_path:#?}", of_path.len(), path.display());
        Expected::new("modify", activity::UPDATE, path).is(of_path[0], acted)?;
    }
    Ok(())
}

#[test]
fn a_process_that_uses_the_32_bit_entry_is_said_once_and_its_changes_are_records() -> Result<()> {
    scene("compat", |scene| {
        let files = [scene.file("one")?, scene.file("two")?];
        let words = [OsStr::new("compat-unlink"), files[0].as_os_str(), files[1].as_os_str()];
        let acted = match scene.actor().act(&words) {
            Err(error) if format!("{error:#}").contains("SIG") => {
                skip::say("first_light::compat", "the kernel has no 32-bit entry");
                return Ok(());
            }
            acted => acted?,
        };
        uncovered(scene, &acted, "compat", &files)?;
        let idle = scene.actor().act(&["compat-pid", "5"])?;
        uncovered(scene, &idle, "compat", &[])
    })
}

#[test]
fn a_process_that_uses_io_uring_is_said_once_and_its_changes_are_records() -> Result<()> {
    scene("uring", |scene| {
        let files = [scene.file("one")?, scene.file("two")?];
        let words = [OsStr::new("uring-unlink"), files[0].as_os_str(), files[1].as_os_str()];
        let acted = scene.actor().act(&words)?;
        ensure!(!files[0].exists() && !files[1].exists());
        uncovered(scene, &acted, "io-uring", &files)?;
        let idle = scene.actor().act(&["uring-nothing", "3"])?;
        uncovered(scene, &idle, "io-uring", &[])
    })
}

#[test]
fn a_call_that_a_filter_answers_in_the_kernels_place_is_reported_and_not_a_success() -> Result<()> {
    scene("faked", |scene| {
        let file = scene.file("file")?;
        let acted = scene.actor().act(&[OsStr::new("faked-unlink"), file.as_os_str()])?;
        ensure!(file.exists());
        scene.stage().fence()?;
        let mut records = scene.stage().records(&file)?;
        records.retain(|record| record.pid() == Some(acted.pid.into()));
        ensure!(records.len() == 1 && records[0].kind() == "unlink", "{records:#?}");
        ensure!(records[0].text("/unmapped/outcome") == "reported", "{:#}", records[0].0);
        ensure!(records[0].number("/status_id") == Some(99), "{:#}", records[0].0);
        ensure!(records[0].text("/unmapped/file/path_source") == "argument", "{:#}", records[0].0);
        records[0].is_violation_by(&acted, "watched")
    })
}

#[test]
fn hostile_names_are_exact_in_json_and_harmless_in_text() -> Result<()> {
    scene("hostile", |scene| {
        let nested = vec!["d"; 40].join("/");
        let mut parents = scene.folder().to_owned();
        for _ in 1..40 {
            parents.push("d");
            std::fs::create_dir(&parents)?;
        }
        let names: [&[u8]; 10] = [
            b"new\nline",
            b"\x1b[31mred\x1b]0;title\x07",
            b"not \xff\xfe UTF-8\x80",
            b"back\\slash \\x41 \\n",
            b"quote\" 'and' space",
            "bidi\u{202e}txt.exe\u{9b}31m".as_bytes(),
            &[b'n'; 255],
            nested.as_bytes(),
            b"*[a-z]{x,y}?",
            b"-rf",
        ];
        for name in names {
            let path = scene.folder().join(OsStr::from_bytes(name));
            let acted = scene.actor().act(&[OsStr::new("mkdir"), path.as_os_str(), OsStr::new("0755")])?;
            scene.expect(acted, vec![Expected::new("create", activity::CREATE, path)]);
        }
        scene.stage().fence()?;
        let folder = scene.folder().as_os_str();
        let shown =
            scene.stage().central.graven("violations", &[OsStr::new("--path"), folder])?.succeeded()?;
        let text = shown.text()?;
        let harmful = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}' || c == '\u{9b}';
        ensure!(!text.contains(harmful), "{text:?}");
        let records = scene.stage().records(scene.folder())?;
        ensure!(
            text.lines().count() == records.len(),
            "{} lines of {} records",
            text.lines().count(),
            records.len()
        );
        ensure!(text.contains(r"\x1b[31mred") && text.contains(r"not \xff\xfe UTF-8\x80"), "{text}");
        let json = scene
            .stage()
            .central
            .graven("violations", &[OsStr::new("--json"), OsStr::new("--path"), folder])?;
        ensure!(!json.succeeded()?.text()?.contains(harmful), "JSON that acts on a terminal");
        Ok(())
    })
}

#[test]
fn a_path_deeper_than_the_sensors_bound_is_marked_as_cut_and_alerted() -> Result<()> {
    scene("deep", |scene| {
        let mut deep = scene.folder().to_owned();
        deep.extend(vec!["d"; 80]);
        std::fs::create_dir_all(&deep)?;
        let acted =
            scene.actor().act(&[OsStr::new("mkdir"), deep.join("end").as_os_str(), OsStr::new("0755")])?;
        scene.stage().fence()?;
        let mut records = scene.stage().central.violations::<&str>(&[])?;
        records.retain(|record| record.pid() == Some(acted.pid.into()) && record.class() == FILE);
        ensure!(records.len() == 1, "{records:#?}");
        ensure!(records[0].path().ends_with("d/d/d/end"), "{:#}", records[0].0);
        ensure!(records[0].0["unmapped"]["file"]["path_cut"] == true, "{:#}", records[0].0);
        ensure!(records[0].0["is_alert"] == true, "{:#}", records[0].0);
        Ok(())
    })
}

#[test]
fn a_violation_is_shown_live() -> Result<()> {
    on_stage(SUITE, |stage| {
        let log = stage.outside("tail")?.join("tail.json");
        let mut command = programs::command(CENTRAL)?;
        command.args(["tail", "--violations", "--json", "--data"]).arg(stage.central.data());
        let mut tail = Daemon::start("graven tail", command, &log)?;
        // The tail begins at what is there when it starts: changes are made until it shows one.
        let mut made = 0;
        until("a violation in the tail", || {
            made += 1;
            std::fs::create_dir(stage.watched().join(format!("live-{made}")))?;
            Ok(tail.said()?.lines().any(|line| line.contains("/live-")).then_some(()))
        })?;
        let line = tail.line("a whole line", |line| line.contains("/live-").then(|| line.to_owned()))?;
        ensure!(Record::parse(&line)?.kind() == "create", "{line}");
        tail.signal(Signal::INT)?;
        ensure!(tail.ended()?.success());
        Ok(())
    })
}

#[test]
fn a_replay_shows_the_process_tree_in_order() -> Result<()> {
    scene("replayed", |scene| {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "mkdir a && mkdir b && rmdir a; exit"]).current_dir(scene.folder());
        let acted = scene.actor().run(shell)?;
        scene.stage().fence()?;
        let host = scene.stage().central.host()?;
        let host = host["host"].as_str().context("no host id")?;
        let replay =
            scene.stage().central.graven("replay", &[host, "--since", "5m", "--json"])?.succeeded()?;
        let tree: Value = serde_json::from_str(replay.text()?.trim())?;
        let mut changes = Vec::new();
        for boot in tree["boots"].as_array().context("no boots")? {
            let roots = boot["processes"].as_array().context("no processes")?;
            roots.iter().for_each(|process| collect(process, &mut Vec::new(), &mut changes));
        }
        changes.retain(|(pids, change)| {
            change.path().starts_with(scene.folder()) && pids.contains(&acted.pid.into())
        });
        for (pids, _) in &changes {
            let chain = pids.iter().rev().take(3).copied().collect::<Vec<_>>();
            let above = [u64::from(acted.pid), u64::from(std::process::id())];
            ensure!(chain.ends_with(&above), "not by a child of the shell of this test: {pids:?}");
        }
        let told: Vec<(&str, PathBuf)> =
            changes.iter().map(|(_, change)| (change.kind(), change.path())).collect();
        let (a, b) = (scene.path("a"), scene.path("b"));
        ensure!(told == [("create", a.clone()), ("create", b.clone()), ("unlink", a)], "{told:#?}");
        let people = scene.stage().central.graven("replay", &[host, "--since", "5m"])?.succeeded()?;
        ensure!(people.text()?.contains(&*b.to_string_lossy()), "{}", people.text()?);
        Ok(())
    })
}

/// The changes of a tree with the pids from its root down, in the tree's order.
fn collect(process: &Value, above: &mut Vec<u64>, found: &mut Vec<(Vec<u64>, Record)>) {
    above.push(process["pid"].as_u64().unwrap_or(0));
    for item in process["items"].as_array().into_iter().flatten() {
        match item.get("child") {
            Some(child) => collect(child, above, found),
            None => found.push((above.clone(), Record(item["change"].clone()))),
        }
    }
    above.pop();
}

#[test]
fn observe_prints_one_object_a_line_without_a_central_log() -> Result<()> {
    if skip::needs_root(SUITE) {
        return Ok(());
    }
    let mut place = Place::new("observe")?;
    let watched = place.folder("watched")?;
    let policy = place.join("policy.toml");
    std::fs::write(&policy, agent::policy(&watched))?;
    let mut command = programs::command(AGENT)?;
    command.arg("observe").arg("--policy").arg(&policy);
    let mut observe = Daemon::start("graven-agent observe", command, &place.join("observe.log"))?;
    observe.line("the line `ready`", |line| (line == "ready").then_some(()))?;
    let file = watched.join("file");
    let acted = actor()?.act(&[OsStr::new("creat"), file.as_os_str(), OsStr::new("0600")])?;
    let name = file.to_str().context("not text")?;
    let line = observe.line("the record", |line| {
        let of_file = line.contains(name) && line.contains("\"kind\":\"open\"");
        of_file.then(|| line.to_owned())
    })?;
    let record = Record::parse(&line)?;
    Expected::new("open", activity::CREATE, &file).is(&record, &acted)?;
    observe.signal(Signal::INT)?;
    ensure!(observe.ended()?.success(), "{}", observe.said()?);
    place.done();
    Ok(())
}

#[test]
fn what_happened_right_before_a_stop_arrives_after_the_next_start() -> Result<()> {
    const CHANGES: usize = 200;
    if skip::needs_root(SUITE) {
        return Ok(());
    }
    let mut stage = match Stage::start("stop") {
        Err(error) if skip::is_refused(SUITE, &error) => return Ok(()),
        stage => stage?,
    };
    let folder = stage.watched().join("storm");
    std::fs::create_dir(&folder)?;
    stage.central.stop()?;
    let count = CHANGES.to_string();
    let storm = actor()?.act_on(
        Stdio::null(),
        &[OsStr::new("storm"), folder.as_os_str(), OsStr::new(&count), OsStr::new("100000")],
    )?;
    stage.agent.stop()?;
    stage.central.restart()?;
    stage.agent.run()?;
    stage.fence()?;
    let mut records = stage.records(&folder)?;
    records.retain(|record| record.pid() == Some(storm.pid.into()));
    let mut seen: Vec<(PathBuf, String)> =
        records.iter().map(|record| (record.path(), record.kind().to_owned())).collect();
    seen.sort();
    let mut wanted: Vec<(PathBuf, String)> = (0..CHANGES / 2)
        .flat_map(|n| ["create", "unlink"].map(|kind| (folder.join(n.to_string()), kind.to_owned())))
        .collect();
    wanted.sort();
    ensure!(seen == wanted, "{} records of {CHANGES} changes", seen.len());
    let stops = stage.central.events(&["--kind", "stop"])?;
    ensure!(stops.len() == 1, "{stops:#?}");
    ensure!(stops[0].number("/unmapped/counters/lost") == Some(0), "{:#}", stops[0].0);
    ensure!(stage.central.events(&["--kind", "start"])?.len() == 2);
    ensure!(stage.central.events(&["--kind", "lost"])?.is_empty());
    ensure!(
        stage.central.host()?["findings"].as_array().is_some_and(Vec::is_empty),
        "{:#}",
        stage.central.host()?
    );
    stage.finish()
}

#[test]
fn doctor_says_what_this_kernel_lets_the_sensor_see() -> Result<()> {
    if skip::needs_root(SUITE) {
        return Ok(());
    }
    let ended = programs::run(AGENT, ["doctor", "--json"])?.succeeded()?;
    let report: Value = serde_json::from_str(ended.text()?)?;
    ensure!(report.is_object(), "{report}");
    let people = programs::run(AGENT, ["doctor"])?.succeeded()?;
    ensure!(!people.text()?.is_empty());
    Ok(())
}

/// Names that are not text survive the way into a record and out of it.
#[test]
fn the_tests_own_reading_of_escaped_paths_is_right() -> Result<()> {
    let line = r#"{"class_uid":1001,"file":{"path":"/a\\xff\\\\b"},"unmapped":{"escaped":["file.path"]}}"#;
    let bytes = Record::parse(line)?.path().into_os_string().into_vec();
    ensure!(bytes == b"/a\xff\\b", "{bytes:?}");
    Ok(())
}
