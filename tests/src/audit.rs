//! The kernel's audit by Debian's auditd, with a configuration and a log of its own: another witness of what was
//! done.
//!
//! Always: the kernel's audit state is as it was found when this ends, whatever happens, and a rule keeps audit from
//! processes that are started later: once it was on, they would take a slower way into the kernel until the
//! machine is started anew. Never: anything where audit is in use already.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::calls::{Call, Entry};
use crate::daemon::Daemon;
use crate::wait::until;

/// Records that the kernel holds for the daemon: more than a test makes at once.
const BACKLOG: &str = "16384";
/// The rule that keeps audit from processes started from then on.
const NEVER: [&str; 2] = ["-a", "never,task"];
/// Folders beside PATH where administrators' programs lie.
const SBIN: [&str; 2] = ["/usr/sbin", "/sbin"];
/// AUDIT_ARCH_X86_64, AUDIT_ARCH_I386
const NATIVE: &str = "c000003e";
const COMPAT: &str = "40000003";

/// auditctl, and where the libraries of an unpacked package are.
#[derive(Clone, Debug)]
struct Programs {
    folder: PathBuf,
    libraries: Option<OsString>,
}

/// The daemon, running.
#[derive(Debug)]
pub struct Audit {
    programs: Programs,
    daemon: Option<Daemon>,
    log: PathBuf,
    backlog: String,
}

/// What it saw: one system call.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Whose.
    pub pid: u32,
    /// Of a table; none for another call.
    pub call: Option<Call>,
    /// The first four arguments.
    pub arguments: [u64; 4],
    /// What it answered: an error number below 0.
    pub answer: i64,
    /// Names with what they were: `CREATE`, `DELETE`, `NORMAL`, `PARENT`.
    pub names: Vec<(PathBuf, String)>,
    /// The inodes of those that are no `PARENT`.
    pub inodes: BTreeSet<u64>,
}

impl Programs {
    /// Where `GRAVEN_AUDIT` says, or where such programs lie.
    fn find() -> Option<Self> {
        let told = std::env::var_os("GRAVEN_AUDIT").map(PathBuf::from);
        let libraries = std::env::var_os("GRAVEN_AUDIT_LIBRARIES").filter(|folders| !folders.is_empty());
        let path = std::env::var_os("PATH").unwrap_or_default();
        let usual = std::env::split_paths(&path).chain(SBIN.map(PathBuf::from)).collect::<Vec<_>>();
        let told = told.into_iter().map(|folder| (folder, libraries.clone()));
        let mut places = told.chain(usual.into_iter().map(|folder| (folder, None)));
        let both = |folder: &Path| ["auditd", "auditctl"].iter().all(|name| folder.join(name).is_file());
        places.find(|(folder, _)| both(folder)).map(|(folder, libraries)| Self { folder, libraries })
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.folder.join(name));
        command.stdin(Stdio::null());
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }

    fn control(&self, words: &[&str]) -> Result<String> {
        let output = self.command("auditctl").args(words).output().context("cannot start auditctl")?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        ensure!(output.status.success(), "auditctl {}: {}", words.join(" "), said.trim());
        Ok(said)
    }

    /// A value of `auditctl -s`.
    fn state(&self, name: &str) -> Result<String> {
        let said = self.control(&["-s"])?;
        let mut lines = said.lines().filter_map(|line| line.split_once(' '));
        let value = lines.find_map(|(key, value)| (key == name).then(|| value.trim().to_owned()));
        value.with_context(|| format!("auditctl -s has no {name}: {said}"))
    }

    /// Why audit must be left alone; none if it is free.
    fn in_use(&self) -> Result<Option<&'static str>> {
        let rules = self.control(&["-l"])?;
        let free = ["No rules".to_owned(), NEVER.join(" ")].contains(&rules.trim().to_owned());
        Ok(match (self.state("enabled")?.as_str(), self.state("pid")?.as_str()) {
            ("0", "0") if free => None,
            ("0", "0") => Some("the kernel has audit rules"),
            (_, "0") => Some("audit is enabled"),
            _ => Some("an audit daemon runs"),
        })
    }
}

impl Audit {
    /// Starts it with these rules. The words say why it cannot be had.
    pub fn start(folder: &Path, rules: &[Vec<String>]) -> Result<Result<Self, String>> {
        let Some(programs) = Programs::find() else { return Ok(Err("auditd is not installed".to_owned())) };
        match programs.in_use() {
            Ok(None) => {}
            Ok(Some(why)) => return Ok(Err(why.to_owned())),
            // No kernel with audit, or not for this process.
            Err(error) => return Ok(Err(format!("{error:#}"))),
        }
        std::fs::create_dir_all(folder.join("plugins.d"))?;
        std::fs::write(folder.join("auditd.conf"), configuration(folder))?;
        let backlog = programs.state("backlog_limit")?;
        let mut audit = Self { programs, daemon: None, log: folder.join("audit.log"), backlog };
        let mut command = audit.programs.command("auditd");
        command.args(["-n", "-s", "nochange", "-c"]).arg(folder);
        let daemon = Daemon::start("auditd", command, &folder.join("auditd.out"))?;
        let pid = daemon.pid().to_string();
        audit.daemon = Some(daemon);
        until("an audit daemon that the kernel knows", || {
            Ok((audit.programs.state("pid")? == pid).then_some(()))
        })?;
        audit.programs.control(&["-b", BACKLOG])?;
        audit.programs.control(&["-D"])?;
        for rule in rules {
            audit.programs.control(&rule.iter().map(String::as_str).collect::<Vec<_>>())?;
        }
        audit.programs.control(&["-e", "1"])?;
        Ok(Ok(audit))
    }

    /// What the kernel could not hand over.
    pub fn lost(&self) -> Result<u64> {
        Ok(self.programs.state("lost")?.parse()?)
    }

    /// All it saw so far, in order.
    pub fn seen(&self) -> Result<Vec<Seen>> {
        let bytes = std::fs::read(&self.log).with_context(|| format!("no {}", self.log.display()))?;
        Ok(read(&String::from_utf8_lossy(&bytes)))
    }

    fn restore(&mut self) -> Result<()> {
        self.programs.control(&["-e", "0"])?;
        self.programs.control(&["-D"])?;
        self.programs.control(&["-b", &self.backlog])?;
        self.programs.control(&NEVER)?;
        self.daemon.take().map_or(Ok(()), Daemon::terminate)
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        if let Err(error) = self.restore() {
            eprintln!("audit may still be on: {error:#}; `auditctl -e 0` and `auditctl -D` end it");
        }
    }
}

/// Are its programs here?
pub fn is_there() -> bool {
    Programs::find().is_some()
}

/// A rule for calls of this process's children, by one entry.
pub fn rule(entry: Entry, calls: &[&str]) -> Vec<String> {
    let bits = if entry == Entry::Compat { "arch=b32" } else { "arch=b64" };
    let parent = format!("ppid={}", std::process::id());
    let words = ["-a", "always,exit", "-F", bits, "-S", &calls.join(","), "-F", &parent];
    words.map(str::to_owned).to_vec()
}

/// With a log that is neither rotated nor ever full, and no plug-ins.
fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "local_events = yes\nwrite_logs = yes\nlog_file = {folder}/audit.log\nlog_group = root\nlog_format = RAW\n\
         flush = NONE\nmax_log_file = 1024\nnum_logs = 0\nmax_log_file_action = IGNORE\nspace_left = 75\n\
         space_left_action = IGNORE\nadmin_space_left = 50\nadmin_space_left_action = IGNORE\n\
         disk_full_action = IGNORE\ndisk_error_action = IGNORE\npriority_boost = 4\nname_format = NONE\n\
         q_depth = 20000\noverflow_action = IGNORE\nplugin_dir = {folder}/plugins.d\n"
    )
}

/// The lines of a raw log: several of one event have one serial number.
fn read(text: &str) -> Vec<Seen> {
    let mut events = BTreeMap::<u64, Seen>::new();
    for line in text.lines() {
        let Some((kind, serial, fields)) = parts(line) else { continue };
        match kind {
            "SYSCALL" => {
                if let Some(seen) = seen(&fields) {
                    events.insert(serial, seen);
                }
            }
            "PATH" => {
                let name = (field(&fields, "name"), field(&fields, "nametype"));
                if let ((Some(name), Some(kind)), Some(event)) = (name, events.get_mut(&serial)) {
                    let inode = field(&fields, "inode").filter(|_| kind != "PARENT");
                    event.inodes.extend(inode.and_then(|number| number.parse::<u64>().ok()));
                    event.names.push((unquoted(name), kind.to_owned()));
                }
            }
            _ => {}
        }
    }
    events.into_values().collect()
}

/// `key=value`, in the order of the line.
type Fields<'a> = Vec<(&'a str, &'a str)>;

/// `type=SYSCALL msg=audit(1700000000.123:45): arch=…`
fn parts(line: &str) -> Option<(&str, u64, Fields<'_>)> {
    let (kind, rest) = line.strip_prefix("type=")?.split_once(" msg=audit(")?;
    let (stamp, rest) = rest.split_once("): ")?;
    let serial = stamp.split_once(':')?.1.parse().ok()?;
    let fields = rest.split_ascii_whitespace().filter_map(|word| word.split_once('='));
    Some((kind, serial, fields.collect()))
}

fn field<'a>(fields: &[(&str, &'a str)], key: &str) -> Option<&'a str> {
    fields.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
}

fn seen(fields: &[(&str, &str)]) -> Option<Seen> {
    let number = field(fields, "syscall")?.parse().ok()?;
    let entry = match field(fields, "arch")? {
        NATIVE => Entry::Native,
        COMPAT => Entry::Compat,
        _ => return None,
    };
    let argument = |key| field(fields, key).and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0);
    Some(Seen {
        pid: field(fields, "pid")?.parse().ok()?,
        call: Call::numbered(entry, number),
        arguments: ["a0", "a1", "a2", "a3"].map(argument),
        answer: field(fields, "exit")?.parse().ok()?,
        names: Vec::new(),
        inodes: BTreeSet::new(),
    })
}

/// In quotes, or hexadecimal when it has bytes that would mislead; `(null)` is none.
fn unquoted(value: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    if let Some(name) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        return name.into();
    }
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = value.as_bytes().chunks(2).map(byte).collect();
    bytes.map_or_else(PathBuf::new, |bytes| OsString::from_vec(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_one_event_are_one_call() -> Result<()> {
        let text = "type=SYSCALL msg=audit(1.234:7): arch=40000003 syscall=10 success=no exit=-13 a0=ff a1=0 a2=0 \
                    a3=0 items=2 ppid=1 pid=42 comm=\"x\"\ntype=CWD msg=audit(1.234:7): cwd=\"/\"\n\
                    type=PATH msg=audit(1.234:7): item=0 name=\"/tmp/a\" inode=5 nametype=DELETE\n\
                    type=PATH msg=audit(1.234:7): item=1 name=2F74206D inode=6 nametype=PARENT\n\
                    type=PATH msg=audit(1.234:7): item=2 name=(null) nametype=NORMAL\n";
        let seen = read(text);
        ensure!(seen.len() == 1);
        ensure!(seen[0].call.is_some_and(|call| call.name() == "unlink" && call.entry() == Entry::Compat));
        ensure!((seen[0].pid, seen[0].answer, seen[0].arguments[0]) == (42, -13, 255));
        ensure!(seen[0].inodes == BTreeSet::from([5]), "{:?}", seen[0].inodes);
        let names: Vec<&Path> = seen[0].names.iter().map(|(name, _)| name.as_path()).collect();
        ensure!(names == [Path::new("/tmp/a"), Path::new("/t m"), Path::new("")], "{names:?}");
        Ok(())
    }
}
