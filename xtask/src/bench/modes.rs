//! What is measured, and what it may cost: data, in one place.

/// On what the files lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileSystem {
    Ext4,
    Tmpfs,
}

/// What the policy says of the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Protected,
    Mutable,
}

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mode {
    /// `--only` chooses by the beginning of it.
    pub name: &'static str,
    /// A word of `graven-load`.
    pub act: &'static str,
    pub file_system: FileSystem,
    pub place: Place,
    /// Operations a second; none is as fast as it goes.
    pub rate: Option<u32>,
    /// For people.
    pub what: &'static str,
}

/// Where each operation becomes records, the rate is one at which every record finds room: the price of an event that
/// is lost is not asked. A person's hand or an installer is far below it.
const RECORDED: Option<u32> = Some(10_000);

pub(crate) const MODES: [Mode; 8] = [
    mode("read", "read", FileSystem::Ext4, Place::Protected, None, "open for reading, close"),
    mode("ignored-ext4", "change", FileSystem::Ext4, Place::Mutable, None, CHANGE),
    mode("ignored-tmpfs", "change", FileSystem::Tmpfs, Place::Mutable, None, CHANGE),
    mode("protected-ext4", "change", FileSystem::Ext4, Place::Protected, RECORDED, CHANGE),
    mode("protected-tmpfs", "change", FileSystem::Tmpfs, Place::Protected, RECORDED, CHANGE),
    mode("rename-ext4", "rename", FileSystem::Ext4, Place::Protected, RECORDED, "rename"),
    mode("rename-tmpfs", "rename", FileSystem::Tmpfs, Place::Protected, RECORDED, "rename"),
    mode("spawn", "spawn", FileSystem::Ext4, Place::Mutable, None, "start a program, wait for it"),
];

const CHANGE: &str = "create, write, close, unlink";

const fn mode(
    name: &'static str,
    act: &'static str,
    file_system: FileSystem,
    place: Place,
    rate: Option<u32>,
    what: &'static str,
) -> Mode {
    Mode { name, act, file_system, place, rate, what }
}

impl FileSystem {
    pub(crate) const ALL: [Self; 2] = [Self::Ext4, Self::Tmpfs];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Tmpfs => "tmpfs",
        }
    }

    /// `f_type` of statfs(2).
    pub(crate) fn magic(self) -> u32 {
        match self {
            Self::Ext4 => 0xef53,
            Self::Tmpfs => 0x0102_1994,
        }
    }
}

impl Place {
    pub(crate) const ALL: [Self; 2] = [Self::Protected, Self::Mutable];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Protected => "protected",
            Self::Mutable => "mutable",
        }
    }
}

/// In what a measure is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Traced by untraced.
    Ratio,
    /// CPU seconds for 100,000 events.
    CpuSeconds,
    /// 10^6 bytes.
    Megabytes,
}

/// What a measure may be at most.
pub(crate) struct Budget {
    pub measure: &'static str,
    pub most: f64,
    pub unit: Unit,
}

/// CPU of the agent at full rate.
pub(crate) const CPU: &str = "cpu";
/// Resident memory of the agent's privileged process, its rings included, after the full rate.
pub(crate) const MEMORY: &str = "memory";

/// Ratios are those of the medians of single operations. What is protected and recorded may cost 1.30 on ext4; on tmpfs,
/// where nothing is written, 1.50.
pub(crate) const BUDGETS: [Budget; 10] = [
    Budget { measure: "read", most: 1.20, unit: Unit::Ratio },
    Budget { measure: "ignored-ext4", most: 1.15, unit: Unit::Ratio },
    Budget { measure: "ignored-tmpfs", most: 1.30, unit: Unit::Ratio },
    Budget { measure: "protected-ext4", most: 1.30, unit: Unit::Ratio },
    Budget { measure: "protected-tmpfs", most: 1.50, unit: Unit::Ratio },
    Budget { measure: "rename-ext4", most: 1.30, unit: Unit::Ratio },
    Budget { measure: "rename-tmpfs", most: 1.50, unit: Unit::Ratio },
    Budget { measure: "spawn", most: 1.05, unit: Unit::Ratio },
    Budget { measure: CPU, most: 0.5, unit: Unit::CpuSeconds },
    Budget { measure: MEMORY, most: 45.0, unit: Unit::Megabytes },
];

impl Budget {
    pub(crate) fn of(measure: &str) -> Option<&'static Self> {
        BUDGETS.iter().find(|budget| budget.measure == measure)
    }

    /// One line if the value is above it; with enough digits that the two numbers differ.
    pub(crate) fn exceeded(&self, value: f64) -> Option<String> {
        let over = value > self.most;
        over.then(|| format!("{}: {value:.3} is over {}", self.measure, self.unit.text(self.most)))
    }
}

impl Unit {
    pub(crate) fn text(self, value: f64) -> String {
        match self {
            Self::Ratio => format!("×{value:.2}"),
            Self::CpuSeconds => format!("{value:.2} s"),
            Self::Megabytes => format!("{value:.1} MB"),
        }
    }
}

/// The modes whose names begin with one of the words; all for none. An unknown word is said.
pub(crate) fn wanted(words: &[String]) -> Result<Vec<&'static Mode>, String> {
    let known = |word: &String| MODES.iter().any(|mode| mode.name.starts_with(word.as_str()));
    if let Some(unknown) = words.iter().find(|word| word.is_empty() || !known(word)) {
        let all: Vec<&str> = MODES.iter().map(|mode| mode.name).collect();
        return Err(format!("no mode begins with `{unknown}`; modes: {}", all.join(" ")));
    }
    let chosen =
        |mode: &&Mode| words.is_empty() || words.iter().any(|word| mode.name.starts_with(word.as_str()));
    Ok(MODES.iter().filter(chosen).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_budget_is_of_something_measured_and_every_mode_has_one() {
        let measured =
            |name: &str| name == CPU || name == MEMORY || MODES.iter().any(|mode| mode.name == name);
        assert!(BUDGETS.iter().all(|budget| measured(budget.measure)));
        assert!(MODES.iter().all(|mode| Budget::of(mode.name).is_some()));
    }

    #[test]
    fn a_budget_is_exceeded_only_above_it() {
        let budget = Budget { measure: "read", most: 1.2, unit: Unit::Ratio };
        assert_eq!(budget.exceeded(1.2), None);
        assert_eq!(budget.exceeded(1.25).as_deref(), Some("read: 1.250 is over ×1.20"));
        assert!(budget.exceeded(f64::NAN).is_none());
    }

    #[test]
    fn modes_are_chosen_by_the_beginning_of_their_names() {
        let names = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            wanted(&words).map(|modes| modes.iter().map(|mode| mode.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["rename", "read"]), Ok(vec!["read", "rename-ext4", "rename-tmpfs"]));
        assert_eq!(names(&[]).map(|all| all.len()), Ok(MODES.len()));
        assert!(names(&["write"]).is_err_and(|error| error.contains("protected-ext4")));
        assert!(names(&[""]).is_err());
    }
}
