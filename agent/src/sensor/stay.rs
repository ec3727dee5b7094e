//! The sensor outlives the agent, if it is to: it is kept, looked after, and left.

use std::path::Path;

use aya::Ebpf;
use graven_abi::told;

use super::pins::{self, Counted, Pins};
use super::{Mended, Sensor, SensorError, attach, frozen, links, map_error};

impl Sensor {
    /// From here on the programs stay on their hooks, and the rings are there, when this process ends. Once everything is
    /// attached. If that fails they end with it.
    pub fn stay(&mut self, pins: &Pins) -> Result<(), SensorError> {
        let folder = pins.begin();
        self.held = Some(pins::hold(&folder)?);
        let kept = pins::keep(&folder, &self.lasting)
            .and_then(|()| self.links.iter_mut().try_for_each(|link| link.keep(&folder)));
        match kept {
            Ok(()) => self.kept = Some(folder),
            Err(_) => {
                self.links.iter_mut().for_each(links::Link::keep_no_more);
                forget(&folder);
                self.held = None;
            }
        }
        kept
    }

    /// This process ends, and the programs stay if they were to.
    pub fn leave(&mut self) {
        self.kept = None;
    }

    /// Will the programs stay?
    pub fn stays(&self) -> bool {
        self.kept.is_some()
    }

    /// This sensor's records are to be told from this moment on: an earlier one tells what was before. CLOCK_BOOTTIME, ns.
    pub fn begin_at(&mut self, moment: u64) -> Result<(), SensorError> {
        self.from = moment;
        self.told.set(told::FROM, moment, 0).map_err(|source| map_error("TOLD", source))
    }

    /// So much is on disk: what a successor need not tell.
    pub fn tell(&mut self, counted: Counted) -> Result<(), SensorError> {
        self.on_disk = counted;
        let mut numbers = counted.numbers().into_iter();
        let written = numbers.try_for_each(|(index, number)| self.told.set(index, number, 0));
        written.map_err(|source| map_error("TOLD", source))
    }

    /// What is held may be a folder that was removed.
    fn hold(&mut self, folder: &Path) -> Result<(), SensorError> {
        if !self.held.as_ref().is_some_and(|lock| lock.is_of(folder)) {
            self.held = Some(pins::hold(folder)?);
        }
        Ok(())
    }

    /// What outlives the agent, if any of it is gone or is not as it was written.
    pub(super) fn mend_kept(&mut self) -> Option<Mended> {
        let folder = self.kept.clone()?;
        let gone =
            pins::missing(&folder, &self.lasting) + self.links.iter().map(links::Link::unkept).sum::<usize>();
        let mut numbers = self.on_disk.numbers().into_iter().chain([(told::FROM, self.from)]);
        let is_altered =
            numbers.any(|(index, number)| self.told.get(&index, 0).map_or(true, |found| found != number));
        let change = match (gone, is_altered) {
            (0, false) => return None,
            (0, true) => "what a successor is told of this run was altered".to_owned(),
            (gone, _) => format!("{gone} of the maps and links that outlive the agent were removed"),
        };
        let kept = self
            .hold(&folder)
            .and_then(|()| pins::keep(&folder, &self.lasting))
            .and_then(|()| self.links.iter_mut().try_for_each(|link| link.keep(&folder)))
            .and_then(|()| self.tell(self.on_disk))
            .and_then(|()| self.begin_at(self.from));
        Some(Mended { map: "TOLD", change, written: kept.map_err(|error| attach::reason(&error)) })
    }
}

/// A start that fails leaves nothing; a process that dies leaves what it was to leave.
impl Drop for Sensor {
    fn drop(&mut self) {
        if self.kept.is_some() && !std::thread::panicking() {
            self.detach();
        }
    }
}

/// Maps that outlive the agent, by the kernel's numbers.
pub(super) fn lasting(ebpf: &Ebpf) -> Result<Vec<(&'static str, u32)>, SensorError> {
    let number = |name: &'static str| {
        let map = ebpf.map(name).and_then(frozen::data).ok_or(SensorError::Missing(name))?;
        Ok((name, map.info().map_err(|source| map_error(name, source))?.id()))
    };
    pins::LASTING.into_iter().map(number).collect()
}

pub(super) fn forget(folder: &Path) {
    match pins::forget(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!("{} stays: {error}", folder.display());
        }
        _ => {}
    }
}
