//! What keeps the programs on their hooks.
//!
//! A link is a descriptor of this process and ends with it, unless it is kept: who holds the process by ptrace(2) can close it, and another
//! file may have its number then, which must not be closed in its stead.

use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use aya::Ebpf;
use aya::programs::links::{FdLink, LinkInfo, PinnedLink};
use aya::programs::{
    BtfTracePoint, FEntry, FExit, ProgramError, ProgramFd, TracePoint, loaded_links, loaded_programs,
};

use super::SensorError;
use super::attach::{program, program_error};
use super::pins::kept;
use super::runs;
use super::wanted::On;
use crate::sys;

/// How the names of links begin where they are kept; the kernel allows no dot in them.
pub(super) const LINK: &str = "link-";

/// One hook's.
pub(super) struct Link {
    /// See [`super::Hook::name`].
    pub(super) hook: &'static str,
    /// The program, and what it hangs on: to attach it again.
    pub(super) program: &'static str,
    on: On,
    /// Let go in this order; none = it is off.
    parts: Vec<Part>,
    /// The folder in which they are kept beyond this process's end.
    folder: Option<PathBuf>,
}

/// Programs of one hook: at the beginning of a function and at its end.
const MOST: usize = 2;

/// Where a link is kept.
fn path(folder: &Path, hook: &str, index: usize) -> PathBuf {
    folder.join(format!("{LINK}{hook}-{index}"))
}

/// One program's.
struct Part {
    link: Option<FdLink>,
    /// The kernel's number of it; none where the kernel does not say.
    id: Option<u32>,
}

impl Link {
    /// Attaches a loaded program.
    pub(super) fn new(
        ebpf: &mut Ebpf,
        hook: &'static str,
        program: &'static str,
        on: On,
    ) -> Result<Self, SensorError> {
        Ok(Self { hook, program, on, parts: parts(ebpf, program, on)?, folder: None })
    }

    /// Does it still keep its programs on the hook, as far as this process's descriptors go?
    pub(super) fn is_held(&self) -> bool {
        !self.parts.is_empty() && self.parts.iter().all(Part::is_held)
    }

    /// Keeps the programs on the hook beyond this process's end, those that are not kept yet.
    pub(super) fn keep(&mut self, folder: &Path) -> Result<(), SensorError> {
        self.folder = Some(folder.to_owned());
        let hook = self.hook;
        let mut parts = self.parts.iter().zip(0..).map(|(part, index)| (part, path(folder, hook, index)));
        parts.try_for_each(|(part, path)| if part.is_kept(&path) { Ok(()) } else { part.keep(&path) })
    }

    /// How many of them should be kept and are not.
    pub(super) fn unkept(&self) -> usize {
        let Some(folder) = &self.folder else { return 0 };
        let missing = |(index, part): &(usize, &Part)| !part.is_kept(&path(folder, self.hook, *index));
        self.parts.iter().enumerate().filter(missing).count()
    }

    /// They end with this process: what was kept of them is removed by others.
    pub(super) fn keep_no_more(&mut self) {
        self.folder = None;
    }

    /// Takes the programs off.
    pub(super) fn release(&mut self) {
        // The descriptors last: with the last one that holds it a link ends at once, without its file a while later.
        if let Some(folder) = &self.folder {
            for index in 0..MOST {
                // One that is not there was not kept, or somebody has removed it.
                let _removed = std::fs::remove_file(path(folder, self.hook, index));
            }
        }
        let ids: Vec<u32> = self.parts.iter().filter_map(|part| part.id).collect();
        self.parts.clear();
        if self.folder.is_some() {
            await_end(&ids);
        }
    }

    /// Puts them on again. A program that is kept is still on its hook, whoever closed this process's descriptor.
    pub(super) fn renew(&mut self, ebpf: &mut Ebpf) -> Result<(), SensorError> {
        let (folder, hook) = (self.folder.clone(), self.hook);
        if let Some(folder) = &folder {
            let parts = self.parts.iter_mut().zip(0..);
            parts.for_each(|(part, index)| part.hold_again(&path(folder, hook, index)));
        }
        if self.is_held() {
            return Ok(());
        }
        self.release();
        let begin = Instant::now();
        self.parts = loop {
            match parts(ebpf, self.program, self.on) {
                // The one that was kept may not be off yet, and there is place for one.
                Err(_) if folder.is_some() && begin.elapsed() < ENDING => sleep(A_WHILE),
                made => break made?,
            }
        };
        folder.map_or(Ok(()), |folder| self.keep(&folder))
    }
}

/// For so long the kernel may go on with programs that were taken off: several grace periods.
const ENDING: Duration = Duration::from_millis(500);
const A_WHILE: Duration = Duration::from_millis(5);

/// Waits until the kernel knows none of these links any more, or for [`ENDING`]. Its programs may run once more even then.
pub(super) fn await_end(ids: &[u32]) {
    let begin = Instant::now();
    let are_there = || loaded_links().flatten().any(|link| ids.contains(&link.id()));
    while !ids.is_empty() && begin.elapsed() < ENDING && are_there() {
        sleep(A_WHILE);
    }
}

impl Part {
    fn new(link: FdLink) -> Self {
        let id = link.info().ok().map(|info| info.id());
        Self { link: Some(link), id }
    }

    /// What cannot be kept is held all the same.
    fn keep(&self, path: &Path) -> Result<(), SensorError> {
        let id = self.id.ok_or_else(|| kept(path, "the kernel gives the link no number"))?;
        // Something else may stand there.
        let _removed = std::fs::remove_file(path).or_else(|_| std::fs::remove_dir_all(path));
        sys::keep_link(id, path).map_err(|error| kept(path, error))
    }

    fn is_kept(&self, path: &Path) -> bool {
        self.id.is_some() && kept_at(path).map(|link| link.id()) == self.id
    }

    /// Holds what is kept at a path, if that is the same link.
    fn hold_again(&mut self, path: &Path) {
        if !self.is_held()
            && self.is_kept(path)
            && let Ok(link) = PinnedLink::from_pin(path)
        {
            // The number that it had is another file's, or nobody's.
            std::mem::forget(self.link.replace(link.into()));
        }
    }

    fn is_held(&self) -> bool {
        let now = self.link.as_ref().and_then(|link| link.info().ok()).map(|info| info.id());
        self.id.is_none() || now == self.id
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.is_held() {
            // Its number is another file's, or nobody's.
            std::mem::forget(self.link.take());
        }
    }
}

fn parts(ebpf: &mut Ebpf, name: &'static str, on: On) -> Result<Vec<Part>, SensorError> {
    match on {
        On::Btf => {
            let program: &mut BtfTracePoint = program(ebpf, name)?;
            let link = program.attach().and_then(|link| program.take_link(link));
            part(name, link.map(FdLink::from))
        }
        On::Classic(category, tracepoint) => {
            let program: &mut TracePoint = program(ebpf, name)?;
            let link = program.attach(category, tracepoint).and_then(|link| program.take_link(link));
            // A tracepoint of perf's has had a link since 5.15, and is used from 7.0 on.
            part(name, link.and_then(|link| FdLink::try_from(link).map_err(|_| ProgramError::NotAttached)))
        }
        On::Begin(_) => begin(ebpf, name),
        On::End(_) => end(ebpf, name),
        On::Around(_, its_end) => {
            // What the beginning notes the end may have to take back.
            let end = end(ebpf, its_end)?;
            Ok(begin(ebpf, name)?.into_iter().chain(end).collect())
        }
    }
}

fn begin(ebpf: &mut Ebpf, name: &'static str) -> Result<Vec<Part>, SensorError> {
    let program: &mut FEntry = program(ebpf, name)?;
    let link = program.attach().and_then(|link| program.take_link(link));
    part(name, link.map(FdLink::from))
}

fn end(ebpf: &mut Ebpf, name: &'static str) -> Result<Vec<Part>, SensorError> {
    let program: &mut FExit = program(ebpf, name)?;
    let link = program.attach().and_then(|link| program.take_link(link));
    part(name, link.map(FdLink::from))
}

fn part(name: &'static str, link: Result<FdLink, ProgramError>) -> Result<Vec<Part>, SensorError> {
    link.map(|link| vec![Part::new(link)]).map_err(|source| program_error(name, source))
}

/// A program that an earlier run has left on its hook.
pub(super) struct Program(ProgramFd);

impl Program {
    /// How often the kernel skipped it; 0 where it does not say.
    pub(super) fn skipped(&self) -> u64 {
        runs::text(self.0.as_fd().as_raw_fd()).map_or(0, |text| runs::skipped(&text))
    }
}

/// What the kernel says of the link that is kept at a path.
fn kept_at(path: &Path) -> Option<LinkInfo> {
    FdLink::from(PinnedLink::from_pin(path).ok()?).info().ok()
}

/// The kernel's numbers of the links in a folder, and their programs. One that cannot be asked for says nothing.
pub(super) fn kept_in(folder: &Path) -> (Vec<u32>, Vec<Program>) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let links = entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(LINK)));
    let links = links.filter_map(|entry| kept_at(&entry.path()));
    let (ids, wanted): (Vec<u32>, Vec<u32>) = links.map(|link| (link.id(), link.program_id())).unzip();
    let loaded = loaded_programs().flatten().filter(|program| wanted.contains(&program.id()));
    (ids, loaded.filter_map(|program| program.fd().ok()).map(Program).collect())
}
