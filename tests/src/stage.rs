//! A central log and an agent that watches one directory, and questions about what they recorded.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, ensure};

use crate::actor::{Acted, Actor};
use crate::agent::{self, Agent};
use crate::central::Central;
use crate::place::Place;
use crate::record::{Expected, FILE, Record};
use crate::wait::until;

/// Both, running.
#[derive(Debug)]
pub struct Stage {
    /// The central log.
    pub central: Central,
    /// The agent.
    pub agent: Agent,
    watched: PathBuf,
    fences: AtomicU64,
    place: Place,
}

impl Stage {
    /// Starts both. The directory `watched` is protected, everything else is mutable.
    pub fn start(name: &str) -> Result<Self> {
        let place = Place::new(name)?;
        let watched = place.folder("watched")?;
        // Other users make changes too.
        std::fs::set_permissions(&watched, std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
        let central = Central::start(place.path())?;
        let agent = Agent::prepare(&place.join("agent"), &central.url(), &agent::policy(&watched))?;
        let mut stage = Self { central, agent, watched, fences: AtomicU64::new(0), place };
        stage.agent.enrol(&stage.central)?;
        stage.agent.run()?;
        Ok(stage)
    }

    /// The protected directory.
    pub fn watched(&self) -> &Path {
        &self.watched
    }

    /// A folder that is not protected.
    pub fn outside(&self, name: &str) -> Result<PathBuf> {
        self.place.folder(name)
    }

    /// Makes a change of this process's own and waits until the central log has it: then it also has what was
    /// done before.
    pub fn fence(&self) -> Result<Record> {
        let number = self.fences.fetch_add(1, Ordering::Relaxed);
        let path = self.watched.join(format!("fence-{number}"));
        std::fs::create_dir(&path)?;
        until(&format!("the record of {}", path.display()), || {
            let mut records = self.central.events(&["--path".as_ref(), path.as_os_str()])?;
            ensure!(records.len() < 2, "{} records of one mkdir", records.len());
            Ok(records.pop())
        })
    }

    /// All records of a path and what is below it, as they are now.
    pub fn records(&self, path: &Path) -> Result<Vec<Record>> {
        self.central.events(&["--path".as_ref(), path.as_os_str()])
    }

    /// Everything is in order: stops both and forgets the folder.
    pub fn finish(mut self) -> Result<()> {
        self.agent.stop()?;
        self.central.stop()?;
        self.place.done();
        Ok(())
    }

    /// Stops both, whatever happened; the folder is kept if something had failed.
    pub fn end(mut self, failed: bool) {
        if let Err(error) = self.agent.stop().and_then(|()| self.central.stop()) {
            eprintln!("the stage did not end in order: {error:#}");
        } else if !failed {
            self.place.done();
        }
    }
}

/// One test's own directory below the protected one, the changes made in it, and what they must be recorded as.
#[derive(Debug)]
pub struct Scene<'a> {
    stage: &'a Stage,
    folder: PathBuf,
    actor: Actor,
    expected: Vec<(Acted, Vec<Expected>)>,
}

impl<'a> Scene<'a> {
    /// A new directory that anybody may change.
    pub fn new(stage: &'a Stage, name: &str, actor: &Actor) -> Result<Self> {
        let folder = stage.watched().join(name);
        std::fs::create_dir(&folder)?;
        std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
        Ok(Self { stage, folder, actor: actor.clone(), expected: Vec::new() })
    }

    /// The stage it is on.
    pub fn stage(&self) -> &Stage {
        self.stage
    }

    /// Its directory.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Who makes the changes.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// A file that is there before the change: made by this process, whose records are not looked at.
    pub fn file(&self, name: &str) -> Result<PathBuf> {
        let path = self.path(name);
        std::fs::write(&path, "before\n")?;
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
        // Somebody has looked at its times: the next change gets a time of its own even within a tick of the clock.
        path.metadata()?;
        Ok(path)
    }

    /// A directory that is there before the change.
    pub fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.path(name);
        std::fs::create_dir(&path)?;
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
        Ok(path)
    }

    /// What a change that was made must be recorded as: exactly these, and nothing else of its process.
    pub fn expect(&mut self, acted: Acted, expected: Vec<Expected>) {
        self.expected.push((acted, expected));
    }

    /// Waits until everything has arrived and compares.
    pub fn check(&self) -> Result<()> {
        self.stage.fence()?;
        let records =
            self.stage.central.violations(&["--path".as_ref(), self.stage.watched().as_os_str()])?;
        for (acted, expected) in &self.expected {
            let of_files =
                |record: &&Record| record.class() == FILE && record.pid() == Some(acted.pid.into());
            let own: Vec<&Record> = records.iter().filter(of_files).collect();
            let shown = || own.iter().map(|record| format!("{:#}", record.0)).collect::<Vec<_>>().join("\n");
            ensure!(
                own.len() == expected.len(),
                "{}: {} records and not {}:\n{}",
                acted.said,
                own.len(),
                expected.len(),
                shown()
            );
            for (record, expected) in own.iter().zip(expected) {
                expected.is(record, acted)?;
            }
        }
        Ok(())
    }
}
