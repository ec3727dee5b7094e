//! What is missing in the log, told apart from what is false in it: the kernel may have skipped a program of the
//! sensor, which is counted, so that a loss in the log excuses the former. It never excuses the latter: a test says
//! everything that is false before it says what is missing.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Display, Formatter};

use anyhow::{Error, Result, ensure};

use crate::record::Record;

/// Fewer records than there must be, or less in them: in words, and how many, at least. What is said twice in the same
/// words is one thing: of a process whose start was not seen, each record lacks the program.
#[derive(Debug, Default)]
pub struct Missing(BTreeMap<String, usize>);

impl Missing {
    /// So many, in words.
    pub fn new(said: String, count: usize) -> Self {
        Self(BTreeMap::from([(said, count)]))
    }

    /// How many, at least.
    pub fn count(&self) -> usize {
        self.0.values().sum()
    }
}

impl Display for Missing {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let shown: Vec<&str> = self.0.keys().take(SHOWN).map(String::as_str).collect();
        f.write_str(&shown.join("\n"))?;
        let rest = self.0.len() - shown.len();
        if rest > 0 { write!(f, "\nand {rest} more") } else { Ok(()) }
    }
}

impl std::error::Error for Missing {}

/// How many of what is missing are shown.
const SHOWN: usize = 3;

/// None of these is missing; `what` says what they are.
pub fn none<T: Debug>(what: &str, missing: impl IntoIterator<Item = T>) -> Result<()> {
    let missing: Vec<T> = missing.into_iter().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let shown = &missing[..missing.len().min(SHOWN)];
    let said = format!("{what}: {} are missing: {shown:#?}…", missing.len());
    Err(Missing::new(said, missing.len()).into())
}

/// It is there; `what` says what it is.
pub fn found<T>(what: impl Display, found: Option<T>) -> Result<T> {
    found.ok_or_else(|| Missing::new(format!("missing: {what}"), 1).into())
}

/// All of these hold: what is false comes before what is missing, which is added up.
pub fn all(compared: impl IntoIterator<Item = Result<()>>) -> Result<()> {
    let mut missing = Missing::default();
    for one in compared {
        match one.map_err(Error::downcast) {
            Ok(()) => {}
            Err(Ok(Missing(one))) => missing.0.extend(one),
            Err(Err(error)) => return Err(error),
        }
    }
    if missing.0.is_empty() { Ok(()) } else { Err(missing.into()) }
}

/// There is one record, and not several.
pub fn only(what: &str, mut records: Vec<Record>) -> Result<Record> {
    ensure!(records.len() < 2, "{what}: {} records and not one: {records:#?}", records.len());
    found(what, records.pop())
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn count(compared: Vec<Result<()>>) -> Option<usize> {
        all(compared).err().and_then(|error| Some(error.downcast_ref::<Missing>()?.count()))
    }

    #[test]
    fn what_is_false_is_said_before_what_is_missing() {
        let missing = || none("names", ["a"]);
        let said = |compared: Vec<Result<()>>| all(compared).err().map(|error| error.is::<Missing>());
        assert_eq!(said(vec![Ok(()), none("names", [""; 0])]), None);
        assert_eq!(said(vec![Ok(()), missing(), Ok(())]), Some(true));
        assert_eq!(said(vec![missing(), Err(anyhow!("false")), missing()]), Some(false));
    }

    #[test]
    fn what_is_missing_is_added_up_and_counts_once_in_the_same_words() {
        let program = || found("the program of process 7", None);
        assert_eq!(count(vec![none("names", ["a", "b"]), Ok(()), none("names", ["c"])]), Some(3));
        assert_eq!(count(vec![program(), none("names", ["a", "b"]), program()]), Some(3));
        assert_eq!(count(vec![all([program(), found("a record", None)]), program()]), Some(2));
    }

    #[test]
    fn of_much_that_is_missing_some_is_shown() {
        let said = all(["a", "b", "c", "d", "e"].map(|name| found(name, None)));
        let said = said.err().map(|error| error.to_string());
        assert_eq!(said.as_deref(), Some("missing: a\nmissing: b\nmissing: c\nand 2 more"));
    }
}
