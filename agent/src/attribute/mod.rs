//! Who did it, and where on this host.
//!
//! In: [`Observed`] events in the order of kernel time. Out: [`Attributed`] events: subject (process, ancestors,
//! users, cgroup, origin, person), host paths, and arguments without secrets. Forks only feed the process
//! table; exits come out when a kept record referred to the process ([`Attribution::refer`]).
//!
//! Always: what is said of a process was true of that program run. Runs are told apart by pid, start and exec
//! count, so a pid may be used again. Ancestors are parents as they were when they forked. A fact read later
//! from `/proc` is taken only if the process there is still the same one (start tick), and its program only if
//! the inode agrees; else the field stays empty. A person is named with the evidence, or it is said why there
//! is none.
//!
//! Bounded: runs, cgroups, names, look-ups in `/proc` per second; what a bound costs is in [`Counters`].
//!
//! Never: asks a directory service (LDAP, SSSD) for a name, follows a symbolic link to name a path, trusts
//! comm or argv as evidence, lets a secret in argv out (as far as `redact` knows it).
//!
//! Fails: only at start, when `/proc` cannot be read. Later trouble leaves fields empty and is counted or said.
//!
//! The core is I/O-free over [`Host`]; `host.rs` reads the real one.

mod host;
mod cgroup;
mod users;
mod mounts;
mod remounts;
mod table;
mod groups;
mod processes;
mod place;
mod redact;
mod origin;
mod exec;
mod event;
mod logins;
mod links;
mod subject;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use graven_record::frame::LossKind;
use graven_record::shared::Shared;
use graven_record::v1;

pub use host::{Exe, Facts, Host, ThisHost};
use links::Links;
pub use links::{Found, walk};
use logins::{Login, Logins, is_login_program};
use mounts::Mounts;
use processes::Processes;
use redact::{Redactor, TagKey};
use remounts::Remounts;
use users::Users;

use crate::decode::observed::{Cause, Event, Inode, Lost, Observed, Place};

/// ns between looks at `/etc/passwd`, and between reloads of the mount table for an unknown device.
const REFRESH: u64 = 1_000_000_000;

/// Any event that is no start and no end: its process is looked up by its task.
const NO_LIFE: Event = Event::Uncovered { entry: v1::Entry::Unspecified, number: 0 };

/// An event with the process, the person and the host paths that belong to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Attributed {
    /// CLOCK_BOOTTIME in ns when it happened.
    pub at: u64,
    /// Who did it.
    pub subject: Shared<v1::Subject>,
    /// Where in the kernel it came from.
    pub source: v1::Source,
    /// What was done, with host paths.
    pub event: v1::record::Event,
    /// Each change of a protected inode is told, whatever asked for it: a name that only the caller gave is not all there is.
    pub witnessed: bool,
    /// Values for private entries; `subject.process.arguments` is 1 + an index into them.
    pub private: Vec<Bytes>,
}

/// Why attribution cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AttributeError {
    /// The host hides its processes.
    #[error("cannot list /proc; mount it, without hidepid for the agent")]
    Processes(#[source] std::io::Error),
    /// The host hides its mounts.
    #[error("cannot read /proc/self/mountinfo; mount /proc")]
    Mounts(#[source] std::io::Error),
    /// No random bytes for the redaction key.
    #[error("the kernel gave no random bytes: {0}")]
    Random(getrandom::Error),
    /// Our bug: a built-in pattern does not compile.
    #[error("a built-in redaction pattern is wrong")]
    Pattern(#[source] regex::Error),
}

/// What bounds and races cost so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Processes found at start.
    pub seeded: u64,
    /// Program runs in the table.
    pub runs: u64,
    /// Live runs that had to leave the full table.
    pub evicted_live: u64,
    /// Ended runs that had to leave it early.
    pub evicted_early: u64,
    /// Runs first met in an event that was not their fork or exec: a life event was lost.
    pub unannounced: u64,
    /// Look-ups in `/proc` that were not made because of their bound.
    pub lookups_refused: u64,
    /// Runs whose cgroup nobody could tell.
    pub no_cgroup: u64,
    /// Cgroups forgotten because of their bound, to be read again.
    pub cgroups_forgotten: u64,
    /// Lines of the mount table that could not be read.
    pub mounts_unread: u64,
    /// Changes of the mount table that are not told because of their bound.
    pub remounts_untold: u64,
    /// Files with more than one name whose other names are not known, because of their bound.
    pub links_untold: u64,
}

/// The stage.
#[derive(Debug)]
pub struct Attribution<H: Host = ThisHost> {
    host: H,
    processes: Processes,
    users: Users,
    users_at: u64,
    /// As long as the users are as they were.
    last: Option<subject::Last>,
    mounts: Mounts,
    mounts_at: u64,
    /// The table before, while it is to be compared.
    compared: Option<Mounts>,
    remounts: Remounts,
    /// The initial mount namespace.
    initial: u32,
    /// See [`Attributed::witnessed`].
    witnessed: bool,
    logins: Logins,
    /// What the last event brought to light beside itself.
    login: Option<Attributed>,
    links: Links,
}

impl Attribution<ThisHost> {
    /// Reads what runs on this host. The hooks must be attached before, so that nothing falls between.
    pub fn start() -> Result<Self, AttributeError> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(AttributeError::Random)?;
        Self::of(ThisHost::default(), key)
    }
}

impl<H: Host> Attribution<H> {
    /// The same for any host, with the key for redaction tags.
    pub fn of(mut host: H, key: [u8; 32]) -> Result<Self, AttributeError> {
        let redactor = Redactor::new(TagKey(key)).map_err(AttributeError::Pattern)?;
        let mounts = Mounts::parse(&host.mountinfo().map_err(AttributeError::Mounts)?);
        let users = host.passwd().map(|text| Users::parse(&text)).unwrap_or_default();
        let mut processes = Processes::new(redactor);
        processes.seed(&host, &mounts).map_err(AttributeError::Processes)?;
        let initial = host.mount_namespace();
        Ok(Self {
            host,
            processes,
            users,
            users_at: 0,
            last: None,
            mounts,
            mounts_at: 0,
            compared: None,
            remounts: Remounts::default(),
            initial,
            witnessed: false,
            logins: Logins::default(),
            login: None,
            links: Links::default(),
        })
    }

    /// See [`Attributed::witnessed`].
    pub fn witness(&mut self, witnessed: bool) {
        self.witnessed = witnessed;
    }

    /// Says who did it and where.
    pub fn attribute(&mut self, seen: &Observed) -> Option<Attributed> {
        self.keep_fresh(seen);
        if let Some(login) = self.logins.follow(seen) {
            self.login = Some(self.logged_in(seen, login));
        }
        let followed = self.processes.follow(&self.host, &self.mounts, seen)?;
        let mut event = event::event(&self.mounts, self.initial, seen)?;
        self.links.complete(&mut event);
        let key = followed.key;
        let (subject, private) =
            subject::Last::told(&mut self.last, &self.processes, &self.users, followed, seen);
        if let Event::Exit { .. } = seen.event {
            self.processes.end(key, seen.at);
        }
        let source = v1::Source {
            cpu: seen.cpu,
            ring: seen.ring.into(),
            ring_sequence: seen.sequence,
            entry: seen.cause.entry.into(),
            call: call(&seen.cause),
            error: seen.cause.error,
        };
        let attributed =
            Attributed { at: seen.at, subject, source, event, witnessed: self.witnessed, private };
        self.remounts.saw(&attributed);
        Some(attributed)
    }

    /// What the mount table says has changed and no call named, since it was asked for last. `now`: CLOCK_BOOTTIME, ns.
    pub fn remounted(&mut self, now: u64) -> Vec<Attributed> {
        self.remounts.take(now)
    }

    /// A login user that was set, if the last event told of one. It comes before that event.
    pub fn login(&mut self) -> Option<Attributed> {
        self.login.take()
    }

    fn logged_in(&mut self, seen: &Observed, login: Login) -> Attributed {
        let asked = Observed { event: NO_LIFE, ..seen.clone() };
        let followed = self.processes.follow(&self.host, &self.mounts, &asked);
        let subject =
            followed.map(|followed| subject::subject(&self.processes, &self.users, followed, &asked));
        let (subject, private) = subject.unwrap_or_default();
        let exe = subject.process.as_ref().map_or(&[][..], |process| &process.exe);
        let event = v1::record::Event::Login(v1::Login {
            before: login.before,
            loginuid: login.after.unwrap_or(u32::MAX),
            user: login.after.map_or("", |uid| self.users.name(uid)).to_owned(),
            session: seen.task.session.unwrap_or(u32::MAX),
            forgeable: !is_login_program(exe),
        });
        let source = v1::Source {
            cpu: seen.cpu,
            ring: seen.ring.into(),
            ring_sequence: seen.sequence,
            ..v1::Source::default()
        };
        Attributed { at: seen.at, subject, source, event, witnessed: self.witnessed, private }
    }

    /// A file below a protected root has more than one name, and this is one of them.
    pub fn link(&mut self, (inode, path): Found) {
        let path = path.as_os_str().as_bytes();
        if let Some(device) = self.mounts.device_of(path) {
            self.links.learn(device, inode, path.to_vec());
        }
    }

    /// Says who lost records, and where.
    pub fn attribute_lost(&mut self, lost: Lost) -> (Shared<v1::Subject>, v1::Lost) {
        let kind = match lost.ring {
            v1::Ring::Life => LossKind::Life,
            v1::Ring::Protected => LossKind::Protected,
            _ => LossKind::Activity,
        };
        let directory = lost.directory.as_ref().map(|path| self.mounts.resolve(path).path);
        let seen = Observed {
            at: lost.last,
            cpu: 0,
            ring: lost.ring,
            sequence: 0,
            cause: Cause::default(),
            task: lost.task,
            event: NO_LIFE,
        };
        let followed = self.processes.follow(&self.host, &self.mounts, &seen);
        let subject =
            followed.map(|followed| subject::subject(&self.processes, &self.users, followed, &seen).0);
        let lost = v1::Lost {
            kind: kind.name().to_owned(),
            count: lost.count,
            since: lost.first,
            directory: directory.unwrap_or_default(),
            first: lost.first,
            last: lost.last,
            event: lost.event.to_owned(),
            ..v1::Lost::default()
        };
        // The command line would need a private part of its own.
        let mut subject = subject.unwrap_or_default();
        if let Some(process) = &mut subject.process {
            process.arguments = 0;
        }
        (subject, lost)
    }

    /// A record of this process was kept: its exit will be worth a record too, and those of its ancestors.
    pub fn refer(&mut self, id: &v1::ExecId) {
        self.processes.refer(&event::observed_id(id));
    }

    /// Reads the mount table again: call it when something was mounted or unmounted. `now`: CLOCK_BOOTTIME, ns; `matters`: is
    /// a mount at this path worth a word?
    pub fn refresh(&mut self, now: u64, matters: impl Fn(&[u8]) -> bool) {
        self.read_mounts();
        if let Some(before) = self.compared.take() {
            self.remounts.compare((&before, &self.mounts), matters, self.initial, now);
        }
    }

    fn read_mounts(&mut self) {
        match self.host.mountinfo() {
            Ok(text) => {
                let before = std::mem::replace(&mut self.mounts, Mounts::parse(&text));
                // That of an earlier reading, if that was not compared yet.
                self.compared.get_or_insert(before);
            }
            Err(error) => tracing::warn!("the mount table cannot be read, so the old one stays: {error}"),
        }
    }

    /// What bounds and races cost so far.
    pub fn counters(&self) -> Counters {
        Counters {
            mounts_unread: self.mounts.unread,
            remounts_untold: self.remounts.untold,
            links_untold: self.links.untold,
            ..self.processes.counters()
        }
    }

    fn keep_fresh(&mut self, seen: &Observed) {
        if seen.at >= self.users_at.saturating_add(REFRESH) {
            self.users_at = seen.at;
            if let Some(text) = self.host.passwd() {
                self.users = Users::parse(&text);
                self.last = None;
            }
        }
        let unknown =
            files(&seen.event).into_iter().flatten().any(|file| !self.mounts.knows(place::device(file)));
        if unknown && seen.at >= self.mounts_at.saturating_add(REFRESH) {
            self.mounts_at = seen.at;
            self.read_mounts();
        }
    }
}

/// The name of a call, or of a request of io_uring.
fn call(cause: &Cause) -> String {
    match (cause.entry, cause.name) {
        (v1::Entry::IoUring, name) if !name.is_empty() => format!("io_uring {name}"),
        (_, name) => name.to_owned(),
    }
}

/// The mount points that can be seen, from the text of a `mountinfo` file.
pub fn mount_points(mountinfo: &[u8]) -> BTreeSet<PathBuf> {
    let path = |point: &[u8]| PathBuf::from(OsStr::from_bytes(point));
    Mounts::parse(mountinfo).points().map(path).collect()
}

/// Tells whether what a path leads to is seen at another path too (a bind mount): then what a policy says of
/// the one place need not hold for the other.
pub fn seen_twice(mountinfo: &[u8]) -> impl Fn(&Path) -> bool {
    let mounts = Mounts::parse(mountinfo);
    move |path| mounts.is_elsewhere(path.as_os_str().as_bytes())
}

/// The files of an event that the kernel's own objects name.
fn files(event: &Event) -> [Option<&Inode>; 3] {
    let named = |file| Some(file).filter(|file: &&Inode| matches!(file.place, Place::Dentry { .. }));
    match event {
        Event::Open { file, .. }
        | Event::Modify { file, .. }
        | Event::Unlink { file, .. }
        | Event::Attr { file, .. }
        | Event::Truncate { file, .. }
        | Event::Mmap { file, .. }
        | Event::Exec { file, .. } => [named(file), None, None],
        Event::Create { file, from, .. } => [named(file), from.as_ref().and_then(named), None],
        Event::Module { file, .. } => [file.as_ref().and_then(named), None, None],
        Event::Mount { target, .. } => [target.as_ref().and_then(named), None, None],
        Event::Rename { from, to, replaced, .. } => {
            [named(from), named(to), replaced.as_ref().and_then(named)]
        }
        Event::Fork { .. }
        | Event::Exit { .. }
        | Event::Uncovered { .. }
        | Event::Bpf { .. }
        | Event::Tamper { .. } => [None; 3],
    }
}

#[cfg(test)]
mod tests;
