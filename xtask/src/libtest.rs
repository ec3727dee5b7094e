//! Reads what a test program printed: its counts, what failed, and what said that it was skipped.
//!
//! A test says `skipped: NAME: reason` on standard output or standard error. Test programs are run with
//! `--show-output`, so the line of a test that passed stands in that test's own section.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::BufRead;

/// Lines of what a test said that are kept: its last ones, where the error stands.
const LINES_KEPT: usize = 30;
/// Characters of such a line.
const LINE_KEPT: usize = 400;

/// What one or several test programs printed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub passed: usize,
    pub failed: usize,
    pub ignored: usize,
    /// The closing `test result: …` lines.
    pub results: Vec<String>,
    pub failures: Vec<Failure>,
    pub skips: BTreeSet<Skip>,
    /// What each test of the program whose lines are read said, at its end.
    said: BTreeMap<String, VecDeque<String>>,
    /// How many failures are of the programs before it.
    before: usize,
    /// Tests that passed by leaving: they are skips, not passes.
    left: BTreeSet<String>,
}

/// A test that failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub name: String,
    /// What it said, at its end.
    pub said: VecDeque<String>,
}

/// Something that was left out, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Skip {
    pub name: String,
    pub reason: String,
}

impl Report {
    /// Reads all lines; bytes that are not text are replaced.
    pub(crate) fn read(program: &str, mut input: impl BufRead) -> std::io::Result<Self> {
        let mut report = Self::default();
        let mut section = None;
        let mut bytes = Vec::new();
        while input.read_until(b'\n', &mut bytes)? > 0 {
            let line = String::from_utf8_lossy(&bytes);
            report.line(program, line.trim_end(), &mut section);
            bytes.clear();
        }
        Ok(report)
    }

    /// Tests that did what they are for.
    pub(crate) fn truly_passed(&self) -> usize {
        self.passed.saturating_sub(self.left.len())
    }

    fn line(&mut self, program: &str, line: &str, section: &mut Option<String>) {
        if let Some(rest) = line.strip_prefix("test result: ") {
            *section = None;
            for failure in &mut self.failures[self.before..] {
                failure.said = self.said.remove(&failure.name).unwrap_or_default();
            }
            self.before = self.failures.len();
            self.said.clear();
            self.results.push(line.to_owned());
            self.passed += count(rest, "passed");
            self.failed += count(rest, "failed");
            self.ignored += count(rest, "ignored");
        } else if let Some(name) =
            line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----"))
        {
            *section = Some(name.to_owned());
        } else if line == "failures:" || line == "successes:" {
            *section = None;
        } else if let Some(rest) = line.strip_prefix("skipped: ") {
            self.skip(rest, section.as_ref());
        } else if let Some((name, outcome)) =
            line.strip_prefix("test ").and_then(|test| test.split_once(" ... "))
        {
            if outcome == "FAILED" {
                self.failures.push(Failure { name: name.to_owned(), said: VecDeque::new() });
            } else if let Some(reason) = outcome.strip_prefix("ignored") {
                let reason = reason.trim_start_matches(", ").to_owned();
                self.skips.insert(Skip { name: format!("{program}::{name}"), reason });
            }
        } else if let Some(name) = section
            && !line.is_empty()
        {
            let said = self.said.entry(name.clone()).or_default();
            said.push_back(line.chars().take(LINE_KEPT).collect());
            if said.len() > LINES_KEPT {
                said.pop_front();
            }
        }
    }

    fn skip(&mut self, text: &str, section: Option<&String>) {
        let (name, reason) = text.split_once(": ").unwrap_or((text, ""));
        self.skips.insert(Skip { name: name.to_owned(), reason: reason.to_owned() });
        self.left.extend(section.cloned());
    }
}

/// The number before `word` in `ok. 3 passed; 0 failed; …`.
fn count(text: &str, word: &str) -> usize {
    let mut parts = text.split([';', '.']).map(str::trim);
    let number = parts.find_map(|part| part.strip_suffix(word)).map(str::trim);
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> std::io::Result<Report> {
        Report::read("suite", text.as_bytes())
    }

    #[test]
    fn counts_and_names_are_read() -> std::io::Result<()> {
        let report = read(
            "running 3 tests\ntest a ... ok\ntest b::c ... FAILED\ntest d ... ignored, needs a VM\n\n\
             failures:\n\n---- b::c stdout ----\nboom\n\nfailures:\n    b::c\n\n\
             test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
        )?;
        assert_eq!((report.truly_passed(), report.failed, report.ignored), (1, 1, 1));
        let failure = Failure { name: "b::c".to_owned(), said: ["boom".to_owned()].into() };
        assert_eq!(report.failures, [failure]);
        let skip = Skip { name: "suite::d".to_owned(), reason: "needs a VM".to_owned() };
        assert_eq!(report.skips.into_iter().collect::<Vec<_>>(), [skip]);
        assert_eq!(report.results.len(), 1);
        Ok(())
    }

    #[test]
    fn a_test_that_says_skipped_has_not_passed() -> std::io::Result<()> {
        let report = read(
            "test a ... ok\ntest b ... ok\n\nsuccesses:\n\n---- b stdout ----\nskipped: first_light: needs root: 0\n\
             skipped: mounts: no mount\n\n\nsuccesses:\n    a\n    b\n\n\
             test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s\n",
        )?;
        assert_eq!(report.truly_passed(), 1);
        let names: Vec<_> = report.skips.iter().map(|skip| skip.name.as_str()).collect();
        assert_eq!(names, ["first_light", "mounts"]);
        assert!(report.skips.iter().any(|skip| skip.reason == "needs root: 0"));
        Ok(())
    }

    #[test]
    fn several_programs_add_up() -> std::io::Result<()> {
        let report = read(
            "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s\n\
             test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n",
        )?;
        assert_eq!(report.passed, 5);
        Ok(())
    }

    #[test]
    fn bytes_that_are_not_text_do_not_stop_the_reading() -> std::io::Result<()> {
        let bytes = b"\xff\xfe\ntest result: ok. 1 passed; 0 failed; 0 ignored\n".as_slice();
        assert_eq!(Report::read("suite", bytes)?.passed, 1);
        Ok(())
    }
}
