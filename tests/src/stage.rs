//! A central log and an agent that watches one directory, and questions about what they recorded.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::agent::{self, Agent};
use crate::central::Central;
use crate::kept::Kept;
use crate::missing::{self, Missing};
use crate::moment::{Begin, Moment};
use crate::place::{Ground, Place};
use crate::record::Record;
use crate::wait::{until, until_within};
use crate::{sight, skip, words};

/// Both, running.
#[derive(Debug)]
pub struct Stage {
    /// The central log.
    pub central: Central,
    /// The agent.
    pub agent: Agent,
    watched: PathBuf,
    /// A protected directory on another file system, and the folder it is in.
    memory: Option<(PathBuf, Place)>,
    fences: AtomicU64,
    /// Runs that were skipped and have excused something, by their number in the log.
    excuses: Mutex<BTreeSet<u64>>,
    /// And the folder that it is mounted at.
    kept: Option<(Kept, Place)>,
    place: Place,
}

/// A loss is in the log within this time after it happened: the agent looks once a second, and a machine may be slow.
const COUNTED: Duration = Duration::from_secs(10);

/// A fence whose record is not there by then may have been skipped: longer than one takes on a busy machine, and short
/// against the patience of a test.
const ANOTHER: Duration = Duration::from_secs(15);

/// What is synced with a record of a protected place and lies in the other lane is shipped behind it, and stored.
const OTHER_LANE: Duration = Duration::from_millis(100);

/// Looks after a mount: the agent looks once a second at the latest, and a look here takes a part of that.
const LOOKS: usize = 100;

/// Where a tmpfs is on most systems.
const MEMORY: &str = "/dev/shm";

impl Stage {
    /// One whose sensor stays when the agent ends, in a BPF file system of its own.
    pub fn staying(name: &str, configuration: &str) -> Result<Self> {
        let mut place = Place::new(&format!("{name}-bpf"))?;
        let kept = Kept::at(place.path())?;
        let pins = format!("{configuration}[sensor]\nstay = true\npins = \"{}\"\n", kept.root().display());
        let mut stage = Self::configured(name, &pins)?;
        place.done();
        stage.kept = Some((kept, place));
        Ok(stage)
    }

    /// Where its sensor is kept.
    pub fn kept(&self) -> Result<&Kept> {
        self.kept.as_ref().map(|(kept, _)| kept).context("it does not stay")
    }

    /// Starts both. The directory `watched` is protected, and one in memory where there is a tmpfs; everything
    /// else is mutable.
    pub fn start(name: &str) -> Result<Self> {
        Self::guarding(name, &[])
    }

    /// One that a test starts itself; none, with a word about why, where nobody may have one.
    pub fn unless_refused(suite: &str, start: impl FnOnce() -> Result<Self>) -> Result<Option<Self>> {
        if skip::needs_root(suite) {
            return Ok(None);
        }
        match start() {
            Err(error) if skip::is_refused(suite, &error) => Ok(None),
            stage => stage.map(Some),
        }
    }

    /// The same with more protected directories.
    pub fn guarding(name: &str, more: &[&Path]) -> Result<Self> {
        Self::set_up(name, more, &[], "")
    }

    /// The same with more at the end of the agent's configuration.
    pub fn configured(name: &str, configuration: &str) -> Result<Self> {
        Self::set_up(name, &[], &[], configuration)
    }

    /// The same with mutable directories below the protected one, which are made.
    pub fn excepting(name: &str, mutable: &[&str]) -> Result<Self> {
        Self::set_up(name, &[], mutable, "")
    }

    fn set_up(name: &str, more: &[&Path], mutable: &[&str], configuration: &str) -> Result<Self> {
        let place = Place::new(name)?;
        let watched = protected(&place)?;
        let memory = match Ground::at(place.path()) != Ground::Tmpfs
            && Ground::at(Path::new(MEMORY)) == Ground::Tmpfs
        {
            true => Some(Place::within(Path::new(MEMORY), name)?),
            false => None,
        };
        let memory = memory.map(|place| anyhow::Ok((protected(&place)?, place))).transpose()?;
        let central = Central::start(place.path())?;
        let mut roots = vec![watched.as_path()];
        roots.extend(memory.iter().map(|(folder, _)| folder.as_path()));
        roots.extend(more);
        let mutable: Vec<PathBuf> = mutable.iter().map(|name| watched.join(name)).collect();
        mutable.iter().try_for_each(std::fs::create_dir_all)?;
        let mutable: Vec<&Path> = mutable.iter().map(PathBuf::as_path).collect();
        let policy = agent::policy_but(&roots, &mutable);
        let agent = Agent::prepare(&place.join("agent"), &central.url(), &policy)?;
        agent.configure(&central.url(), configuration)?;
        let (fences, excuses) = (AtomicU64::new(0), Mutex::default());
        let mut stage = Self { central, agent, watched, memory, fences, excuses, kept: None, place };
        stage.agent.enrol(&stage.central)?;
        stage.agent.run()?;
        Ok(stage)
    }

    /// The protected directory.
    pub fn watched(&self) -> &Path {
        &self.watched
    }

    /// The protected directories with what they lie on.
    pub fn grounds(&self) -> Vec<(Ground, &Path)> {
        let folders =
            [Some(self.watched.as_path()), self.memory.as_ref().map(|(folder, _)| folder.as_path())];
        folders.into_iter().flatten().map(|folder| (Ground::at(folder), folder)).collect()
    }

    /// A folder that is not protected.
    pub fn outside(&self, name: &str) -> Result<PathBuf> {
        self.place.folder(name)
    }

    /// Gives the agent another policy and waits until it has read it, or refused it.
    pub fn reload(&self, policy: &str) -> Result<Record> {
        let known = self.central.events(&["--kind", "policy_change"])?.len();
        std::fs::write(self.agent.policy(), policy)?;
        self.agent.reload()?;
        until("the change of the policy", || {
            let mut changes = self.central.events(&["--kind", "policy_change"])?;
            Ok((changes.len() > known).then(|| changes.pop()).flatten())
        })
    }

    /// Makes a change of this process's own and waits until the central log has it: then it also has what was
    /// done before. Where the kernel may skip the program that would tell of it, another one follows after a while.
    pub fn fence(&self) -> Result<Record> {
        let begin = self.begin()?;
        let may_skip = sight::may_skip()?;
        let mut made = Vec::new();
        let (before, record) = until("the record of a fence", || {
            let is_due = begin.moment.ago() >= ANOTHER * u32::try_from(made.len())?;
            if made.is_empty() || (may_skip && is_due) {
                let number = self.fences.fetch_add(1, Ordering::Relaxed);
                let path = self.watched.join(format!("fence-{number}"));
                std::fs::create_dir(&path)?;
                made.push(path);
            }
            let mut found = None;
            // Backwards: what comes while they are asked for is no gap.
            for (before, path) in made.iter().enumerate().rev() {
                let mut records = self.since(begin.moment, &words!["--path", path])?;
                ensure!(records.len() < 2, "{} records of one mkdir", records.len());
                found = records.pop().map(|record| (before, record)).or(found);
            }
            if found.is_some() {
                return Ok(found);
            }
            Ok(None)
        })?;
        std::thread::sleep(OTHER_LANE);
        self.or_lost(begin, missing::none("fences", &made[..before]))?;
        Ok(record)
    }

    /// Waits until what is mounted here, below a protected place, is known as a part of it. Before it is, a change is kept
    /// because nothing is known of its place, and one that this comes into has a record of each.
    pub fn known(&self, mounted: &Path) -> Result<()> {
        // Where nothing tells of changes the places of names are not asked for.
        if !sight::of_changes() {
            return Ok(());
        }
        for number in 0..LOOKS {
            let path = mounted.join(format!("known-{number}"));
            std::fs::create_dir(&path)?;
            self.fence()?;
            let records = self.records(&path)?;
            if records.iter().any(|record| record.text("/unmapped/source/ring") == "protected") {
                return Ok(());
            }
        }
        bail!("{} was not marked while {LOOKS} records came", mounted.display())
    }

    /// What happened since a moment, with these filters too.
    pub fn since(&self, begin: Moment, filters: &[OsString]) -> Result<Vec<Record>> {
        self.central.events(&[&begin.since().map(OsString::from), filters].concat())
    }

    /// A test begins.
    pub fn begin(&self) -> Result<Begin> {
        let moment = Moment::now();
        let skipped = if sight::may_skip()? { self.skipped()? } else { 0 };
        Ok(Begin { moment, skipped })
    }

    /// What is missing because the kernel skipped a program of the sensor, as some do under load (`sight::may_skip`), is
    /// counted in the log, at least as often since the test began, and each run that was skipped excuses one thing in
    /// one test: then nothing more can be asked. A record that is there and wrong is never excused.
    pub fn or_lost(&self, begin: Begin, compared: Result<()>) -> Result<()> {
        let Err(error) = compared else { return Ok(()) };
        let Some(missing) = error.downcast_ref::<Missing>() else { return Err(error) };
        if !sight::may_skip()? {
            return Err(error);
        }
        let count = missing.count();
        let used = until_within(COUNTED, "a loss", || {
            let skipped = begin.skipped..self.skipped()?;
            let mut excuses = self.excuses.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(use_up(&mut excuses, skipped, count).then_some(()))
        });
        if used.is_err() {
            return Err(error);
        }
        skip::say_losses(count)
    }

    /// How often a program of the sensor was skipped, as the log has it now.
    pub fn skipped(&self) -> Result<u64> {
        let losses = self.central.events(&["--kind", "lost"])?;
        let skipped = losses.iter().filter(|record| record.text("/unmapped/loss") == "skipped");
        Ok(skipped.filter_map(|record| record.number("/unmapped/lost")).sum())
    }

    /// All records of a path and what is below it, as they are now.
    pub fn records(&self, path: &Path) -> Result<Vec<Record>> {
        self.central.events(&["--path".as_ref(), path.as_os_str()])
    }

    /// Everything is in order: stops both and forgets the folder.
    pub fn finish(mut self) -> Result<()> {
        // A test may have stopped it to look at what it has left.
        if self.agent.pid().is_some() {
            self.agent.stop()?;
        }
        self.central.stop()?;
        self.done();
        Ok(())
    }

    fn done(&mut self) {
        self.place.done();
        if let Some((_, place)) = &mut self.memory {
            place.done();
        }
    }

    /// Stops both, whatever happened; the folder is kept if something had failed.
    pub fn end(mut self, failed: bool) {
        if let Err(error) = self.agent.stop().and_then(|()| self.central.stop()) {
            eprintln!("the stage did not end in order: {error:#}");
        } else if !failed {
            self.done();
        }
    }
}

/// A directory to protect, in which other users make changes too.
fn protected(place: &Place) -> Result<PathBuf> {
    let folder = place.folder("watched")?;
    std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    Ok(folder)
}

/// Takes so many of these runs that have excused nothing yet, the first ones: a test that began later cannot use them.
/// False: there are not so many.
fn use_up(excuses: &mut BTreeSet<u64>, skipped: Range<u64>, count: usize) -> bool {
    let unused: Vec<u64> = skipped.filter(|run| !excuses.contains(run)).take(count).collect();
    let are_enough = unused.len() == count;
    if are_enough {
        excuses.extend(unused);
    }
    are_enough
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_was_skipped_excuses_one_thing_in_one_test() {
        let mut excuses = BTreeSet::new();
        assert!(!use_up(&mut excuses, 5..7, 3), "there are two");
        assert!(use_up(&mut excuses, 5..7, 2), "which nobody has used");
        assert!(!use_up(&mut excuses, 5..7, 1), "and then one has");
        assert!(!use_up(&mut excuses, 6..7, 1), "whenever one began");
        assert!(use_up(&mut excuses, 4..9, 3), "those before and after are left");
    }
}
