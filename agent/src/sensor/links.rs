//! What keeps the programs on their hooks.
//!
//! A link is a descriptor of this process and ends with it: who holds the process by ptrace(2) can close it, and another
//! file may have its number then, which must not be closed in its stead.

use aya::Ebpf;
use aya::programs::links::FdLink;
use aya::programs::{BtfTracePoint, FEntry, FExit, ProgramError, TracePoint};

use super::SensorError;
use super::attach::{program, program_error};
use super::wanted::On;

/// One hook's.
pub(super) struct Link {
    /// See [`super::Hook::name`].
    pub(super) hook: &'static str,
    /// The program, and what it hangs on: to attach it again.
    pub(super) program: &'static str,
    on: On,
    /// Let go in this order; none = it is off.
    parts: Vec<Part>,
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
        Ok(Self { hook, program, on, parts: parts(ebpf, program, on)? })
    }

    /// Does it still keep its programs on the hook, as far as this process's descriptors go?
    pub(super) fn is_held(&self) -> bool {
        !self.parts.is_empty() && self.parts.iter().all(Part::is_held)
    }

    /// Takes the programs off.
    pub(super) fn release(&mut self) {
        self.parts.clear();
    }

    /// Puts them on again.
    pub(super) fn renew(&mut self, ebpf: &mut Ebpf) -> Result<(), SensorError> {
        self.release();
        self.parts = parts(ebpf, self.program, self.on)?;
        Ok(())
    }
}

impl Part {
    fn new(link: FdLink) -> Self {
        let id = link.info().ok().map(|info| info.id());
        Self { link: Some(link), id }
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
