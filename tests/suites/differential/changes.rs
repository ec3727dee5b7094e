//! Changes by chance, by root and by nobody, by both entries.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use graven_tests::actor::{Actor, NOBODY};
use graven_tests::calls::Entry;
use graven_tests::chance::Chance;
use graven_tests::driver::Driver;
use graven_tests::stage::Stage;
use graven_tests::words;
use rustix::time::{ClockId, clock_gettime};

/// All calls that are made, by entry: these audit is told to look for.
pub(crate) const CALLS: [(Entry, &str); 44] = [
    (Entry::Native, "getpgid"),
    (Entry::Native, "write"),
    (Entry::Native, "open"),
    (Entry::Native, "openat"),
    (Entry::Native, "creat"),
    (Entry::Native, "truncate"),
    (Entry::Native, "ftruncate"),
    (Entry::Native, "rename"),
    (Entry::Native, "renameat2"),
    (Entry::Native, "mkdir"),
    (Entry::Native, "mkdirat"),
    (Entry::Native, "rmdir"),
    (Entry::Native, "link"),
    (Entry::Native, "linkat"),
    (Entry::Native, "unlink"),
    (Entry::Native, "unlinkat"),
    (Entry::Native, "symlink"),
    (Entry::Native, "symlinkat"),
    (Entry::Native, "mknod"),
    (Entry::Native, "chmod"),
    (Entry::Native, "fchmod"),
    (Entry::Native, "fchmodat"),
    (Entry::Native, "chown"),
    (Entry::Native, "lchown"),
    (Entry::Native, "fchownat"),
    (Entry::Native, "utimensat"),
    (Entry::Native, "setxattr"),
    (Entry::Native, "removexattr"),
    (Entry::Compat, "open"),
    (Entry::Compat, "creat"),
    (Entry::Compat, "truncate"),
    (Entry::Compat, "rename"),
    (Entry::Compat, "mkdir"),
    (Entry::Compat, "rmdir"),
    (Entry::Compat, "link"),
    (Entry::Compat, "unlink"),
    (Entry::Compat, "unlinkat"),
    (Entry::Compat, "symlink"),
    (Entry::Compat, "chmod"),
    (Entry::Compat, "chown32"),
    (Entry::Compat, "utimensat"),
    (Entry::Compat, "setxattr"),
    (Entry::Compat, "removexattr"),
    (Entry::Compat, "mknod"),
];

/// No process has such a number: asked for its group, the kernel says so, and audit tells which change follows.
pub(crate) const MARK: usize = 10_000_000;
/// ESRCH
const NO_PROCESS: &str = "3";

/// One change, or the attempt.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) pid: u32,
    pub(crate) words: Vec<OsString>,
    /// What the kernel said, if it did not do it.
    pub(crate) error: Option<i32>,
    /// Nanoseconds since boot, before and after.
    pub(crate) when: (u64, u64),
}

impl Made {
    /// For messages.
    pub(crate) fn said(&self) -> String {
        let words = self.words.join(" ".as_ref());
        format!("{} by {}: error {:?}", words.to_string_lossy(), self.pid, self.error)
    }

    /// The names of the folders that it is about.
    pub(crate) fn folders(&self) -> BTreeSet<&OsStr> {
        let folders = self.words.iter().filter_map(|word| Path::new(word).parent()?.file_name());
        folders.map(|name| if name == ALIAS { FIRST.as_ref() } else { name }).collect()
    }
}

pub(crate) struct Changes {
    chance: Chance,
    /// Protected; the last one is closed to nobody.
    folders: Vec<PathBuf>,
    /// A symbolic link outside that leads to the first.
    alias: PathBuf,
    /// By root and by nobody; each by both entries.
    drivers: [Driver; 4],
}

/// Where the symbolic links lead: a name in the same folder, which is none of the others.
pub(crate) const TEXT: &str = "text";
/// The symbolic link by which the first folder is reached from outside.
pub(crate) const ALIAS: &str = "way";

/// And where that leads.
pub(crate) const FIRST: &str = "open";

/// Names in each folder: few, so that they meet.
const NAMES: usize = 24;

impl Changes {
    pub(crate) fn new(stage: &Stage, actor: &Actor, seed: u64) -> Result<Self> {
        let root = stage.watched().join("differential");
        std::fs::create_dir(&root)?;
        let mut folders = Vec::new();
        for (name, mode) in [(FIRST, 0o777), ("sticky", 0o1777), ("closed", 0o755)] {
            let folder = root.join(name);
            std::fs::create_dir(&folder)?;
            std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
            // Something to begin with.
            for number in 0..NAMES / 2 {
                let file = folder.join(format!("n{number}"));
                std::fs::write(&file, "before\n")?;
                std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
            }
            folders.push(folder);
        }
        let alias = stage.outside("alias")?.join(ALIAS);
        std::os::unix::fs::symlink(&folders[0], &alias)?;
        let nobody = actor.as_user(NOBODY);
        let actors = [actor.clone(), actor.by(Entry::Compat), nobody.clone(), nobody.by(Entry::Compat)];
        let drivers = actors.iter().map(Driver::start).collect::<Result<Vec<_>>>()?;
        let drivers = drivers.try_into().map_err(|_| anyhow::anyhow!("four drivers"))?;
        Ok(Self { chance: Chance::of(seed), folders, alias, drivers })
    }

    /// So many, or one more.
    pub(crate) fn make(mut self, count: usize) -> Result<Vec<Made>> {
        let mut made = Vec::new();
        while made.len() < count {
            // Mostly root by the 64-bit entry.
            let who = *self.chance.one(&[0, 0, 0, 0, 1, 1, 2, 2, 2, 3]).context("nobody")?;
            let words = self.change(who % 2 == 1);
            // At once, however slow the machine is.
            let again = words[0] == "write" && self.chance.percent(50);
            for _ in 0..=usize::from(again) {
                made.push(self.make_one(who, made.len(), words.clone())?);
            }
        }
        // Behind the last one: what audit has of it, it has of all.
        let mark = mark(made.len());
        self.drivers[0].tell(&mark)?;
        self.drivers.into_iter().try_for_each(Driver::end)?;
        Ok(made)
    }

    fn make_one(&mut self, who: usize, number: usize, words: Vec<OsString>) -> Result<Made> {
        let entry = if who % 2 == 1 { "compat" } else { "native" };
        let driver = &mut self.drivers[who];
        driver.tell(&mark(number))?;
        let begin = boot_time();
        let error = driver.try_to(&[words!["--by", entry].to_vec(), words.clone()].concat())?;
        Ok(Made { pid: driver.pid(), words, error, when: (begin, boot_time()) })
    }

    fn path(&mut self) -> PathBuf {
        let name = format!("n{}", self.chance.below(NAMES));
        // Sometimes by a way that leads there.
        if self.chance.percent(10) {
            return self.alias.join(name);
        }
        let folder = self.chance.below(self.folders.len());
        self.folders[folder].join(name)
    }

    fn change(&mut self, compat: bool) -> Vec<OsString> {
        let (one, other) = (self.path(), self.path());
        let calls = if compat { 14 } else { 26 };
        match self.chance.below(calls) {
            0 | 14 => self.open(&one),
            1 => words!["creat", one, "0644"].to_vec(),
            2 => words!["mkdir", one, "0755"].to_vec(),
            3 => words!["unlink", one].to_vec(),
            4 => words!["rmdir", one].to_vec(),
            5 => words!["rename", one, other].to_vec(),
            6 => words!["link", one, other].to_vec(),
            7 => words!["symlink", TEXT, one].to_vec(),
            8 => words!["chmod", one, "0640"].to_vec(),
            9 => words!["truncate", one, "7"].to_vec(),
            10 => words!["utimensat", one, "0", "0"].to_vec(),
            11 => words!["setxattr", one, "user.graven", "value", "0"].to_vec(),
            12 => words!["removexattr", one, "user.graven"].to_vec(),
            13 if compat => words!["chown32", one, "65534", "65534"].to_vec(),
            13 => words!["chown", one, "65534", "65534"].to_vec(),
            15 => words!["openat", one, "0102", "0644"].to_vec(),
            16 => words!["mkdirat", one, "0755"].to_vec(),
            17 => words!["unlinkat", one, "0"].to_vec(),
            18 => words!["linkat", one, other, "0"].to_vec(),
            19 => words!["symlinkat", TEXT, one].to_vec(),
            // S_IFREG
            20 => words!["mknod", one, "0100644", "0"].to_vec(),
            21 => words!["fchmodat", one, "0600"].to_vec(),
            22 => words!["write", one, "more"].to_vec(),
            23 => words!["ftruncate", one, "3"].to_vec(),
            24 => words!["fchmod", one, "0666"].to_vec(),
            _ => self.exchange(&one, &other),
        }
    }

    fn open(&mut self, path: &Path) -> Vec<OsString> {
        // O_RDONLY, O_WRONLY, O_RDWR, with O_CREAT, O_EXCL, O_TRUNC
        let flags = ["0", "1", "2", "0101", "0301", "01001", "01000", "0100"];
        let flags = self.chance.one(&flags).copied().unwrap_or("0");
        words!["open", path, flags, "0644"].to_vec()
    }

    fn exchange(&mut self, one: &Path, other: &Path) -> Vec<OsString> {
        // Replace, not replace, exchange.
        let flags = self.chance.one(&["0", "1", "2"]).copied().unwrap_or("0");
        words!["renameat2", one, other, flags].to_vec()
    }
}

fn boot_time() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec)
}

/// Says in audit's log which change comes next.
fn mark(number: usize) -> Vec<OsString> {
    words!["--error", NO_PROCESS, "--by", "native", "getpgid", (MARK + number).to_string()].to_vec()
}
