//! What the two tell, side by side.
//!
//! In: all changes with what each tells of them. Out: how often they tell the same, how often each row of the table
//! explains why not, and the rest: what is false, and what is only missing, which runs of the sensor's programs that the
//! kernel skipped may excuse.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use graven_tests::missing;

use crate::changes::Made;
use crate::facts::Fact;
use crate::reasons::{Difference, REASONS, Side};

/// Of all changes.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// Of so many calls, by audit.
    calls: usize,
    same: usize,
    /// Rows of the table, with how many differences each explains.
    used: BTreeMap<usize, usize>,
    /// Without a row, in words.
    wrong: Vec<String>,
    /// Graven tells less.
    missing: Vec<String>,
    /// What a call whose end was not seen left to the next record of its thread.
    left: Vec<String>,
}

/// Differences that are shown.
const SHOWN: usize = 20;

impl Compared {
    pub(crate) fn of(made: &[Made], by_audit: &[Vec<Fact>], by_graven: &[Vec<Fact>]) -> Self {
        let mut compared = Self { calls: by_audit.iter().map(Vec::len).sum(), ..Self::default() };
        for (index, (audit, graven)) in by_audit.iter().zip(by_graven).enumerate() {
            let mut graven: Vec<&Fact> = graven.iter().collect();
            let mut differences = Vec::new();
            for fact in audit {
                let twin = graven.iter().position(|other| fact.is_of_the_same_call(other));
                match twin.map(|twin| graven.remove(twin)) {
                    Some(other) if other.names == fact.names => compared.same += 1,
                    Some(other) => differences.push((Side::Names, fact, Some(other))),
                    None => differences.push((Side::Audit, fact, None)),
                }
            }
            differences.extend(graven.iter().map(|fact| (Side::Graven, *fact, None)));
            for (side, fact, other) in differences {
                compared.take(&Difference { side, fact, other, index, made, before: by_audit });
            }
        }
        compared
    }

    fn take(&mut self, this: &Difference<'_>) {
        if let Some(row) = REASONS.iter().position(|reason| reason.is_why(this)) {
            *self.used.entry(row).or_default() += 1;
            return;
        }
        let said = this.made[this.index].said();
        let said =
            format!("change {}: {said}\n  {:?} {:?}\n  {:?}", this.index, this.side, this.fact, this.other);
        match this.side {
            Side::Audit => self.missing.push(said),
            Side::Names if this.lacks_names() => self.missing.push(said),
            Side::Graven if this.is_left() => self.left.push(said),
            _ => self.wrong.push(said),
        }
    }

    /// For people.
    pub(crate) fn show(&self) {
        println!("{} of {} calls are told alike", self.same, self.calls);
        for (row, reason) in REASONS.iter().enumerate().filter(|(_, reason)| (reason.is_there)()) {
            println!("{:6} {}", self.used.get(&row).copied().unwrap_or(0), reason.why);
        }
    }

    /// Nothing is false; what is missing is said when nothing is. A row that explains nothing is as wrong as a
    /// difference that no row explains, but for one whose difference may be what is missing.
    pub(crate) fn is_right(&self) -> Result<()> {
        let shown = self.wrong.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("\n");
        ensure!(self.wrong.is_empty(), "{} differences without a reason:\n{shown}", self.wrong.len());
        // One run that was skipped may leave both.
        let (what, missing) = match self.left.len() > self.missing.len() {
            true => ("the end of what Graven tells", &self.left),
            false => ("what audit tells", &self.missing),
        };
        let told = self.same + missing.len();
        ensure!(told > self.calls / 4, "only {} of {} calls are told alike", self.same, self.calls);
        missing::none(what, missing)?;
        let mut rows = REASONS.iter().enumerate().filter(|(_, reason)| (reason.is_there)());
        let idle = rows.find(|(row, _)| !self.used.contains_key(row));
        ensure!(
            idle.is_none(),
            "no difference has this reason: {}",
            idle.map_or("", |(_, reason)| reason.why)
        );
        Ok(())
    }
}
