//! Directory trees, who changes them, and what must be recorded of it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use graven_tests::chance::Chance;
use graven_tests::driver::Driver;
use graven_tests::stage::Stage;
use graven_tests::{agent, sight, words};

use crate::actor;

/// Directories that are known and may be moved.
const MOST: usize = 40;
/// Names on the way to one, so that no path is cut.
const DEEPEST: usize = 30;
/// Places where the third process binds directories.
const BOUND: usize = 3;

/// Where everything is, as it must be.
pub(crate) struct World<'a> {
    stage: &'a Stage,
    places: Places,
    /// The swinging place is protected now.
    swung: bool,
    chance: Chance,
    /// Directories in all places; the first ones are the places themselves.
    known: Vec<PathBuf>,
    /// What is bound where, by the third process: an index of `known`.
    bound: [Option<usize>; BOUND],
    drivers: [Driver; 3],
    names: usize,
    /// Changes in a protected place, with who made them.
    pub must: BTreeSet<(u32, PathBuf)>,
    /// How often the policy changed.
    pub reloads: usize,
}

/// Where directories are and go to; all on one file system, so that a rename can take them from one to another.
pub(crate) struct Places {
    /// Protected.
    pub inside: PathBuf,
    /// Mutable.
    pub outside: PathBuf,
    /// The one or the other, as the policy has it, which changes now and then.
    pub swinging: Option<PathBuf>,
}

impl Places {
    /// Makes new ones: the first in a protected directory, the others beside that.
    pub(crate) fn make(protected: &Path, name: &str, swings: bool) -> Result<Self> {
        let beside = protected.parent().context("no place beside it")?;
        let inside = protected.join(name);
        let outside = beside.join(format!("mutable-{name}"));
        let swinging = swings.then(|| beside.join(format!("swinging-{name}")));
        let places = Self { inside, outside, swinging };
        places.all().try_for_each(std::fs::create_dir)?;
        Ok(places)
    }

    fn all(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.inside, &self.outside].into_iter().chain(&self.swinging)
    }
}

/// The index of the driver with mounts of its own.
const PRIVATE: usize = 2;

impl<'a> World<'a> {
    pub(crate) fn new(stage: &'a Stage, places: Places, seed: u64) -> Result<Self> {
        let mut drivers = [Driver::start(&actor()?)?, Driver::start(&actor()?)?, Driver::start(&actor()?)?];
        drivers[PRIVATE].tell(&words!["private"])?;
        for place in 0..BOUND {
            std::fs::create_dir(places.outside.join(format!("bound-{place}")))?;
        }
        let known = places.all().cloned().collect();
        let chance = Chance::of(seed);
        let (bound, must, swung) = ([None; BOUND], BTreeSet::new(), false);
        Ok(Self { stage, places, swung, chance, known, bound, drivers, names: 0, must, reloads: 0 })
    }

    /// Ends the processes.
    pub(crate) fn end(self) -> Result<()> {
        self.drivers.into_iter().try_for_each(Driver::end)
    }

    fn name(&mut self, of: &str) -> String {
        self.names += 1;
        format!("{of}{}", self.names)
    }

    fn is_inside(&self, path: &Path) -> bool {
        let swinging = self.places.swinging.as_ref().filter(|_| self.swung);
        path.starts_with(&self.places.inside) || swinging.is_some_and(|place| path.starts_with(place))
    }

    /// A change in a directory, which has to be recorded if it is protected.
    fn touch(&mut self, folder: &Path) -> Result<()> {
        let who = self.chance.below(2);
        let made = folder.join(self.name("p"));
        self.drivers[who].tell(&words!["mkdir", made, "0755"])?;
        self.made(who, made);
        Ok(())
    }

    fn made(&mut self, who: usize, path: PathBuf) {
        if self.is_inside(&path) {
            self.must.insert((self.drivers[who].pid(), path));
        }
    }

    /// The same through a mount of the third process.
    fn touch_bound(&mut self) -> Result<()> {
        let place = self.chance.below(BOUND);
        let Some(index) = self.bound[place] else { return Ok(()) };
        let name = self.name("b");
        let seen = self.places.outside.join(format!("bound-{place}")).join(&name);
        let real = self.known[index].join(&name);
        self.drivers[PRIVATE].tell(&words!["mkdir", seen, "0755"])?;
        if self.is_inside(&real) {
            // Where nothing confirms a call the name is the caller's, and nothing is left out because of it.
            let told = if sight::of_changes() { real } else { seen };
            self.must.insert((self.drivers[PRIVATE].pid(), told));
        }
        Ok(())
    }

    fn anywhere(&mut self) -> usize {
        self.chance.below(self.known.len())
    }

    fn is_place(&self, index: usize) -> bool {
        index < self.places.all().count()
    }

    fn is_room_below(&self, folder: &Path) -> bool {
        folder.components().count() < DEEPEST
    }

    pub(crate) fn step(&mut self) -> Result<()> {
        let begin = self.must.len();
        let moved = match self.chance.below(10) {
            0..2 => self.grow()?,
            2..6 => self.rename()?,
            6 => self.exchange()?,
            7 => self.use_again()?,
            8 => self.bind()?,
            _ if self.chance.below(3) == 0 => self.reload()?,
            _ => None,
        };
        // Where something changed its place first: that is where an old answer would be wrong.
        if let Some(index) = moved {
            let folder = self.known[index].clone();
            self.touch(&folder)?;
            let below: Vec<PathBuf> =
                self.known.iter().filter(|path| path.starts_with(&folder)).cloned().collect();
            if let Some(folder) = self.chance.one(&below).cloned() {
                self.touch(&folder)?;
            }
        }
        let folder = self.known[self.chance.below(self.known.len())].clone();
        self.touch(&folder)?;
        self.touch_bound()?;
        ensure!(self.must.len() >= begin);
        Ok(())
    }

    /// One more directory.
    fn grow(&mut self) -> Result<Option<usize>> {
        let above = self.anywhere();
        let above = self.known[above].clone();
        if self.known.len() >= MOST || !self.is_room_below(&above) {
            return Ok(None);
        }
        let new = above.join(self.name("d"));
        let who = self.chance.below(2);
        self.drivers[who].tell(&words!["mkdir", new, "0755"])?;
        self.made(who, new.clone());
        self.known.push(new);
        Ok(Some(self.known.len() - 1))
    }

    /// A directory with all below it goes elsewhere.
    fn rename(&mut self) -> Result<Option<usize>> {
        let (index, above) = (self.anywhere(), self.anywhere());
        let (from, above) = (self.known[index].clone(), self.known[above].clone());
        if self.is_place(index) || above.starts_with(&from) || !self.is_room_below(&above) {
            return Ok(None);
        }
        let to = above.join(self.name("m"));
        let who = self.chance.below(2);
        self.drivers[who].tell(&words!["rename", from, to])?;
        self.moved(&from, &to);
        Ok(Some(index))
    }

    fn moved(&mut self, from: &Path, to: &Path) {
        for path in &mut self.known {
            if let Ok(rest) = path.strip_prefix(from) {
                *path = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
            }
        }
    }

    /// Two directories change places.
    fn exchange(&mut self) -> Result<Option<usize>> {
        let (one, other) = (self.anywhere(), self.anywhere());
        let (a, b) = (self.known[one].clone(), self.known[other].clone());
        if self.is_place(one) || self.is_place(other) || a.starts_with(&b) || b.starts_with(&a) {
            return Ok(None);
        }
        let who = self.chance.below(2);
        // RENAME_EXCHANGE
        self.drivers[who].tell(&words!["renameat2", a, b, "2"])?;
        let aside = PathBuf::from("/aside");
        self.moved(&a, &aside);
        self.moved(&b, &a);
        self.moved(&aside, &b);
        Ok(Some(one))
    }

    /// A mutable directory is remembered, goes, and its inode comes back as a protected one.
    fn use_again(&mut self) -> Result<Option<usize>> {
        let name = self.name("u");
        let (gone, new) = (self.places.outside.join(&name), self.places.inside.join(&name));
        let who = self.chance.below(2);
        let inner = gone.join("inner");
        for words in [
            words!["mkdir", gone, "0755"].to_vec(),
            words!["mkdir", inner, "0755"].to_vec(),
            words!["rmdir", inner].to_vec(),
            words!["rmdir", gone].to_vec(),
            words!["mkdir", new, "0755"].to_vec(),
        ] {
            self.drivers[who].tell(&words)?;
        }
        self.made(who, new.clone());
        self.touch(&new)?;
        Ok(None)
    }

    /// The other policy from its record on: what is below the swinging place is in another kind of place, without having
    /// moved.
    fn reload(&mut self) -> Result<Option<usize>> {
        let Some(swinging) = self.places.swinging.clone() else { return Ok(None) };
        self.swung = !self.swung;
        self.reloads += 1;
        let grounds = self.stage.grounds();
        let mut protected: Vec<&Path> = grounds.iter().map(|(_, folder)| *folder).collect();
        protected.extend(self.swung.then_some(swinging.as_path()));
        let change = self.stage.reload(&agent::policy_of(&protected))?;
        ensure!(change.text("/unmapped/refused").is_empty(), "{:#}", change.0);
        Ok(self.known.iter().position(|path| *path == swinging))
    }

    /// The third process binds a directory where another one was, or makes the mount read-only and back.
    fn bind(&mut self) -> Result<Option<usize>> {
        let (place, index) = (self.chance.below(BOUND), self.anywhere());
        let (target, source) =
            (self.places.outside.join(format!("bound-{place}")), self.known[index].clone());
        // Of a place that holds the target it would be a mount below itself.
        if target.starts_with(&source) {
            return Ok(None);
        }
        let told = |words: &[OsString], world: &mut Self| world.drivers[PRIVATE].tell(words);
        if self.bound[place].is_some() && self.chance.percent(30) {
            // MS_REMOUNT | MS_BIND, with MS_RDONLY and without.
            told(&words!["mount", "NULL", target, "NULL", "4129", "NULL"], self)?;
            told(&words!["mount", "NULL", target, "NULL", "4128", "NULL"], self)?;
            return Ok(None);
        }
        if self.bound[place].take().is_some() {
            // MNT_DETACH
            told(&words!["umount2", target, "2"], self)?;
        }
        told(&words!["mount", source, target, "NULL", "4096", "NULL"], self)?;
        self.bound[place] = Some(index);
        Ok(None)
    }
}
