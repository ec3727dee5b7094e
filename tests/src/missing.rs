//! What is missing in the log, told apart from what is false in it: the kernel may have skipped a program of the
//! sensor, which is counted, so that a loss in the log excuses the former. It never excuses the latter: a test says
//! everything that is false before it says what is missing.

use std::fmt::{self, Debug, Display, Formatter};

use anyhow::{Result, ensure};

use crate::record::Record;

/// Fewer records than there must be, or less in them.
#[derive(Debug)]
pub struct Missing {
    /// In words.
    pub said: String,
    /// How many, at least.
    pub count: usize,
}

impl Display for Missing {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)
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
    Err(Missing { said, count: missing.len() }.into())
}

/// It is there; `what` says what it is.
pub fn found<T>(what: impl Display, found: Option<T>) -> Result<T> {
    found.ok_or_else(|| Missing { said: format!("missing: {what}"), count: 1 }.into())
}

/// All of these hold: what is false comes before what is missing.
pub fn all(compared: impl IntoIterator<Item = Result<()>>) -> Result<()> {
    let mut missing = Ok(());
    for one in compared {
        match one {
            Err(error) if error.is::<Missing>() => missing = missing.and(Err(error)),
            held => held?,
        }
    }
    missing
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

    #[test]
    fn what_is_false_is_said_before_what_is_missing() {
        let missing = || none("names", ["a"]);
        let said = |compared: Vec<Result<()>>| all(compared).err().map(|error| error.is::<Missing>());
        assert_eq!(said(vec![Ok(()), none("names", [""; 0])]), None);
        assert_eq!(said(vec![Ok(()), missing(), Ok(())]), Some(true));
        assert_eq!(said(vec![missing(), Err(anyhow!("false")), missing()]), Some(false));
    }
}
