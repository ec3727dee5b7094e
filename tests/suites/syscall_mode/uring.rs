//! Requests of io_uring: what is asked for is `reported` under the caller's name when it is handed in; what it
//! really changes is told by the inodes, whoever carries it out and whether or not it is completed.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use graven_tests::actor::{Acted, Attempt, operand};
use graven_tests::missing;
use graven_tests::moment::Moment;
use graven_tests::record::{Expected, Record, activity, alike};
use graven_tests::scene::Scene;
use graven_tests::shared::on_stage;
use graven_tests::{sight, words};

use crate::{SUITE, actor, on_each_ground, skipped};

/// O_WRONLY | O_CREAT | O_EXCL
const MAKE: &str = "0301";
/// `struct open_how` with the same, and the mode 0644.
const MAKE_HOW: &str = "0xc100000000000000a4010000000000000000000000000000";
/// No offset of a pipe: -1.
const NOWHERE: &str = "0xffffffffffffffff";

/// Requests made in one way, each by a process of its own, and what must be recorded of each.
struct Requests<'a> {
    scene: Scene<'a>,
    made: Vec<(Acted, Request)>,
}

/// What must be recorded of one request.
struct Request {
    name: &'static str,
    /// Records of calls, and of what was asked for, in this order.
    said: Vec<Expected>,
    /// Inodes that a `modify` must name; others of its directories may be named too.
    changed: Vec<PathBuf>,
}

impl Requests<'_> {
    fn make(&mut self, request: Request, operands: &[OsString]) -> Result<()> {
        self.make_after(&[], request, operands)
    }

    /// `before`: steps of the actor that lead to it.
    fn make_after(&mut self, before: &[OsString], request: Request, operands: &[OsString]) -> Result<()> {
        match self.scene.actor().attempt(&[before, &words![request.name], operands].concat())? {
            Attempt::Made(acted) => self.made.push((acted, request)),
            Attempt::Lacking(why) => lacking(request.name, &why),
        }
        Ok(())
    }

    /// A request about paths.
    fn asked(
        &mut self,
        name: &'static str,
        operands: &[OsString],
        expected: Expected,
        changed: &[&Path],
    ) -> Result<()> {
        let said = vec![expected.reported().by("io_uring", format!("io_uring {name}"))];
        let changed = changed.iter().map(|path| path.to_path_buf()).collect();
        self.make(Request { name, said, changed }, operands)
    }

    /// A request about a descriptor names no path: only what it changes is told.
    fn untold(&mut self, name: &'static str, operands: &[&str]) -> Result<()> {
        let file = self.scene.file(name)?;
        // The actor opens it for writing, by a call; an attribute needs no writing.
        let opened = Expected::new("open", activity::UPDATE, &file);
        let said = if name == "fsetxattr" { Vec::new() } else { vec![opened] };
        let is_done = name != "fsetxattr" || keeps_attributes(&file)?;
        let changed = is_done.then(|| file.clone()).into_iter().collect();
        let operands =
            [&words![file], operands.iter().map(OsString::from).collect::<Vec<_>>().as_slice()].concat();
        self.make(Request { name, said, changed }, &operands)
    }

    fn compare(&self, records: &[Record]) -> Result<()> {
        let compared = self.made.iter().map(|(acted, request)| request.compare(acted, records));
        self.scene.or_lost(missing::all(compared))
    }
}

impl Request {
    fn compare(&self, acted: &Acted, records: &[Record]) -> Result<()> {
        if !sight::of_requests()? {
            return self.is_said(acted, records);
        }
        let of_process = |record: &&Record| {
            record.pid() == Some(acted.pid.into()) && !["exec", "exit"].contains(&record.kind())
        };
        let own: Vec<&Record> = records.iter().filter(of_process).collect();
        let (changes, said): (Vec<&Record>, Vec<&Record>) =
            own.iter().partition(|record| record.kind() == "modify");
        let shown = || own.iter().map(|record| format!("{:#}", record.0)).collect::<Vec<_>>().join("\n");
        let said = alike(&said, acted, &self.said.iter().collect::<Vec<_>>());
        if !sight::of_changes() {
            return said;
        }
        let call = format!("io_uring {}", self.name);
        // All that write are one family.
        let family = if self.name.starts_with("write") { "io_uring write" } else { &call };
        let changed = missing::all(changes.iter().map(|record| {
            Expected::modify(record.path())
                .with("/unmapped/operation", family)
                .by("io_uring", call.as_str())
                .is(record, acted)
        }));
        let named: BTreeSet<PathBuf> = changes.iter().map(|record| record.path()).collect();
        let beside = |path: &&PathBuf| {
            !self.changed.iter().any(|changed| *path == changed || changed.parent() == Some(path.as_path()))
        };
        let surplus: Vec<&PathBuf> = named.iter().filter(beside).collect();
        ensure!(surplus.is_empty(), "{}: a change of {surplus:?}:\n{}", acted.said, shown());
        let unnamed = self.changed.iter().filter(|path| !named.contains(*path));
        let what = format!("{}: changes, of {}", acted.said, shown());
        missing::all([said, changed, missing::none(&what, unnamed)])
    }
}

impl Request {
    /// Of a kernel that does not tell what a request is about it is said that there was one, by whatever thread of the
    /// kernel's took it.
    fn is_said(&self, acted: &Acted, records: &[Record]) -> Result<()> {
        let call = format!("io_uring {}", self.name);
        let said = records
            .iter()
            .any(|record| record.kind() == "uncovered" && record.text("/unmapped/call") == call);
        ensure!(said, "{}: nothing says that there was {call}", acted.said);
        Ok(())
    }
}

fn requests(way: &str) -> Result<()> {
    on_stage(SUITE, |stage| {
        let (begin, mut all) = (Moment::now(), Vec::new());
        for (_, folder) in stage.grounds() {
            let scene = Scene::below(stage, folder, &format!("uring-{way}"), &actor()?.by_uring(way))?;
            let mut requests = Requests { scene, made: Vec::new() };
            files(&mut requests)?;
            names(&mut requests)?;
            sockets(&mut requests)?;
            contents(&mut requests)?;
            all.push(requests);
        }
        stage.fence()?;
        let records = stage.since(begin, &[])?;
        all.iter().try_for_each(|requests| requests.compare(&records))
    })
}

fn files(requests: &mut Requests<'_>) -> Result<()> {
    let folder = requests.scene.folder().to_owned();
    let new = requests.scene.path("openat");
    // With O_CREAT | O_EXCL it makes the file or fails.
    let expected = Expected::new("open", activity::CREATE, &new);
    requests.asked("openat", &words![new, MAKE, "0644"], expected, &[&folder])?;
    let new = requests.scene.path("openat2");
    let expected = Expected::new("open", activity::CREATE, &new);
    requests.asked("openat2", &words![new, MAKE_HOW], expected, &[&folder])?;
    let gone = requests.scene.file("unlinkat")?;
    let expected = Expected::new("unlink", activity::DELETE, &gone);
    requests.asked("unlinkat", &words![gone, "0"], expected, &[&gone])?;
    let gone = requests.scene.directory("rmdir")?;
    let expected = Expected::new("unlink", activity::DELETE, &gone);
    requests.asked("unlinkat", &words![gone, "0x200"], expected, &[&gone])?;
    let file = requests.scene.file("setxattr")?;
    let changed: &[&Path] = if keeps_attributes(&file)? { &[&file] } else { &[] };
    let expected =
        Expected::new("attr", activity::ATTRIBUTES, &file).with("/unmapped/requested/kind", "xattr");
    requests.asked("setxattr", &words![file, "user.graven", "value", "0"], expected, changed)
}

fn names(requests: &mut Requests<'_>) -> Result<()> {
    let created = |kind: &str, path: &Path| {
        Expected::new("create", activity::CREATE, path).with("/unmapped/create/kind", kind)
    };
    let folder = requests.scene.folder().to_owned();
    let new = requests.scene.path("mkdirat");
    requests.asked("mkdirat", &words![new, "0755"], created("directory", &new), &[&folder])?;
    let new = requests.scene.path("symlinkat");
    let expected = created("symlink", &new).with("/unmapped/create/target", "no/where");
    requests.asked("symlinkat", &words!["no/where", new], expected, &[&folder])?;
    let (old, new) = (requests.scene.file("linkat-old")?, requests.scene.path("linkat"));
    let from = old.to_string_lossy().into_owned();
    let expected = created("link", &new).with("/unmapped/create/from/path", from);
    requests.asked("linkat", &words![old, new, "0"], expected, &[&old])?;
    let (from, to) = (requests.scene.file("renameat-from")?, requests.scene.path("renameat"));
    requests.asked("renameat", &words![from, to, "0"], Expected::rename(&from, &to), &[&from])
}

/// A socket gets its name by a request that is told by the directory alone.
fn sockets(requests: &mut Requests<'_>) -> Result<()> {
    let (folder, path) = (requests.scene.folder().to_owned(), requests.scene.path("bind"));
    // `struct sockaddr_un` of AF_UNIX.
    let address = [&[1, 0], path.as_os_str().as_bytes(), &[0]].concat();
    let (address, length) = (operand(&address), address.len().to_string());
    let request = Request { name: "bind", said: Vec::new(), changed: vec![folder] };
    // Of AF_UNIX, for streams.
    requests.make_after(&words!["socket", "1", "1", "0", "then"], request, &words!["@1", address, length])
}

fn contents(requests: &mut Requests<'_>) -> Result<()> {
    requests.untold("write", &["after\n", "0"])?;
    requests.untold("writev", &["after\n", "0"])?;
    requests.untold("write_fixed", &["after\n", "0"])?;
    requests.untold("writev_fixed", &["after\n", "0"])?;
    let file = requests.scene.file("splice")?;
    let opened = Expected::new("open", activity::UPDATE, &file);
    let request = Request { name: "splice", said: vec![opened], changed: vec![file.clone()] };
    let operands = words!["@1", NOWHERE, file, "0", "7", "0"];
    requests.make_after(&words!["pipe", "through", "then"], request, &operands)?;
    requests.untold("fallocate", &["0", "0", "4096"])?;
    requests.untold("ftruncate", &["3"])?;
    requests.untold("fsetxattr", &["user.graven", "value", "0"])
}

/// Else a request for one changes nothing, which it does not say when it is never completed.
fn keeps_attributes(path: &Path) -> Result<bool> {
    match rustix::fs::getxattr(path, "user.graven", &mut [0u8; 16][..]) {
        Err(rustix::io::Errno::OPNOTSUPP) => Ok(false),
        Ok(_) | Err(rustix::io::Errno::NODATA) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// From 6.11 on a kernel has all requests but the newest: there one is missed by its name.
pub(crate) fn lacking(request: &str, why: &str) {
    match sight::of_most_requests() {
        Ok(false) => skipped("io_uring", why),
        Ok(true) => skipped(&format!("io_uring {request}"), why),
        Err(error) => skipped(&format!("io_uring {request}"), &format!("{why}; {error:#}")),
    }
}

#[test]
fn a_request_is_reported_and_what_it_changes_is_a_modification() -> Result<()> {
    requests("plain")
}

#[test]
fn what_a_worker_thread_changes_is_its_processs() -> Result<()> {
    requests("worker")
}

#[test]
fn a_request_that_is_never_completed_is_recorded_as_any_other() -> Result<()> {
    requests("silent")
}

#[test]
fn a_request_that_needs_no_system_call_is_recorded_as_any_other() -> Result<()> {
    requests("polled")
}

#[test]
fn a_request_that_nobody_sees_in_any_way_is_recorded() -> Result<()> {
    requests("polled+silent+worker")
}

#[test]
fn an_io_uring_that_changes_nothing_is_no_record() -> Result<()> {
    on_each_ground("uring-nothing", &actor()?, |scene| scene.act(&words!["uring-nothing", "3"], Vec::new()))
}
