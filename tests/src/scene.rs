//! One test's own directory below a protected one, the changes made in it, and what they must be recorded as.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::actor::{Acted, Actor, Attempt};
use crate::missing;
use crate::moment::Begin;
use crate::place::Ground;
use crate::record::{self, Expected, Record};
use crate::sight;
use crate::stage::Stage;

/// What a process is told: strings and paths.
#[macro_export]
macro_rules! words {
    ($($word:expr),+ $(,)?) => {
        [$(::std::ffi::OsString::from(::std::convert::AsRef::<::std::ffi::OsStr>::as_ref(&$word))),+]
    };
}

/// The directory, who makes changes there, and which ones.
#[derive(Debug)]
pub struct Scene<'a> {
    stage: &'a Stage,
    begin: Begin,
    folder: PathBuf,
    actor: Actor,
    expected: Vec<(Acted, Vec<Expected>)>,
}

impl<'a> Scene<'a> {
    /// A new directory that anybody may change.
    pub fn new(stage: &'a Stage, name: &str, actor: &Actor) -> Result<Self> {
        Self::below(stage, stage.watched(), name, actor)
    }

    /// The same below any folder.
    pub fn below(stage: &'a Stage, folder: &Path, name: &str, actor: &Actor) -> Result<Self> {
        let (begin, folder) = (stage.begin()?, folder.join(name));
        std::fs::create_dir(&folder)?;
        std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
        Ok(Self { stage, begin, folder, actor: actor.clone(), expected: Vec::new() })
    }

    /// The stage it is on.
    pub fn stage(&self) -> &Stage {
        self.stage
    }

    /// When it began.
    pub fn begin(&self) -> Begin {
        self.begin
    }

    /// Its directory.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What its directory lies on.
    pub fn ground(&self) -> Ground {
        Ground::at(&self.folder)
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

    /// Makes a change that must be recorded as exactly this.
    pub fn act(&mut self, words: &[OsString], expected: Vec<Expected>) -> Result<()> {
        let acted = self.actor.act(words)?;
        self.expect(acted, expected);
        Ok(())
    }

    /// The same by another actor.
    pub fn act_by(&mut self, actor: &Actor, words: &[OsString], expected: Vec<Expected>) -> Result<()> {
        let acted = actor.act(words)?;
        self.expect(acted, expected);
        Ok(())
    }

    /// The same if the kernel has what it takes; else the words of what it lacks.
    pub fn act_if_there(&mut self, words: &[OsString], expected: Vec<Expected>) -> Result<Option<String>> {
        match self.actor.attempt(words)? {
            Attempt::Made(acted) => {
                self.expect(acted, expected);
                Ok(None)
            }
            Attempt::Lacking(why) => Ok(Some(why)),
        }
    }

    /// Waits until everything has arrived and compares.
    pub fn check(&self) -> Result<()> {
        if self.expected.is_empty() {
            return Ok(());
        }
        self.stage.fence()?;
        self.compare(&self.records(&[])?)
    }

    /// What was recorded since the scene began, of whatever process, with these filters.
    pub fn records(&self, filters: &[OsString]) -> Result<Vec<Record>> {
        self.stage.since(self.begin.moment, filters)
    }

    /// Compares with the records there are.
    pub fn compare(&self, records: &[Record]) -> Result<()> {
        let compared = self.expected.iter().map(|(acted, expected)| alike(records, acted, expected));
        self.or_lost(missing::all(compared))
    }

    /// What is missing is excused by what the kernel skipped since the scene began: see [`Stage::or_lost`].
    pub fn or_lost(&self, compared: Result<()>) -> Result<()> {
        self.stage.or_lost(self.begin, compared)
    }
}

/// Exactly these records are of what a process did.
fn alike(records: &[Record], acted: &Acted, expected: &[Expected]) -> Result<()> {
    // What a process was is no change that it made.
    let of_process = |record: &&Record| {
        record.pid() == Some(acted.pid.into()) && !["exec", "exit"].contains(&record.kind())
    };
    let own: Vec<&Record> = records.iter().filter(of_process).collect();
    let expected: Vec<&Expected> = expected.iter().filter(|one| sight::sees(one)).collect();
    record::alike(&own, acted, &expected)
}
