//! What tests gave so far: passed, failed, left out; the last line of `cargo xtask test`.

use crate::children::Ended;
use crate::fault;
use crate::libtest::{Failure, Report, Skip};
use crate::repo::Repo;
use crate::screen::{self, Tone, paint};
use crate::stages::{Stage, how, last_words, printable};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::BufReader;
use std::process::ExitCode;
use std::time::Duration;

/// Lines of a failed program's log that are shown.
const LINES_SHOWN: usize = 60;

/// Characters of the reason for a skip that are shown: the whole stands in the stage's log.
const REASON_SHOWN: usize = 160;

/// How one stage of tests ended.
pub(crate) struct Outcome {
    pub good: bool,
    pub text: String,
    /// The programs' own closing lines, if there are several.
    results: Vec<String>,
}

impl Outcome {
    /// Ends the stage with it; of a failure, the end of the log is shown.
    pub(crate) fn close(&self, stage: Stage) {
        let mut lines = self.results.clone();
        if self.good {
            stage.done(&self.text);
        } else {
            lines.push(format!("the end of {}:", stage.shown_log().display()));
            lines.extend(last_words(stage.log(), LINES_SHOWN));
            stage.failed(&self.text);
        }
        if !lines.is_empty() {
            // At once: a stage that runs beside this one speaks too.
            println!("  {}", lines.join("\n  "));
        }
    }
}

/// What `tests/skips.toml` says may be left out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Skips {
    #[serde(default)]
    skip: Vec<Listed>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    name: String,
    reason: String,
}

fn known_skips(repo: &Repo) -> Result<BTreeMap<String, String>> {
    let path = repo.root.join("tests/skips.toml");
    let text = std::fs::read_to_string(&path).context("cannot read tests/skips.toml")?;
    let skips: Skips =
        toml::from_str(&text).map_err(|error| fault::usage(format!("tests/skips.toml: {error}")))?;
    if let Some(bare) = skips.skip.iter().find(|listed| listed.reason.trim().is_empty()) {
        return Err(fault::usage(format!("tests/skips.toml: {} needs a reason", bare.name)));
    }
    Ok(skips.skip.into_iter().map(|listed| (listed.name, listed.reason)).collect())
}

/// All counts so far.
#[derive(Default)]
pub(crate) struct Count {
    passed: usize,
    failed: usize,
    skips: Vec<Skip>,
    failures: Vec<Failure>,
    known: BTreeMap<String, String>,
}

impl Count {
    /// Nothing yet, and what may be left out.
    pub(crate) fn new(repo: &Repo) -> Result<Self> {
        Ok(Self { known: known_skips(repo)?, ..Self::default() })
    }

    pub(crate) fn fail(&mut self, what: String) {
        self.failed += 1;
        self.failures.push(Failure { name: what, said: VecDeque::new() });
    }

    /// Something was left out as a whole.
    pub(crate) fn skip(&mut self, by: &str, skip: Skip) {
        if self.may_skip(&skip.name) {
            self.skips.push(skip);
        } else {
            let Skip { name, reason } = skip;
            self.fail(format!("{by}: {name} was skipped ({reason}) and is not in tests/skips.toml"));
        }
    }

    fn may_skip(&self, name: &str) -> bool {
        self.reason(name).is_some()
    }

    /// A name with a kernel, `NAME@KERNEL`, may be listed for all kernels but this machine's as `NAME@vm`. That it
    /// may be left out here says nothing of a guest, which has all that a test can ask for but its kernel.
    fn reason(&self, name: &str) -> Option<&str> {
        let everywhere = name.split_once('@').map(|(name, _)| format!("{name}@vm"));
        let listed = self.known.get(name).or_else(|| self.known.get(&everywhere?));
        listed.map(String::as_str)
    }

    /// Adds what a stage's log says.
    pub(crate) fn take(&mut self, name: &str, stage: &mut Stage, ended: &Ended) -> Result<Outcome> {
        let log =
            File::open(stage.log()).with_context(|| format!("cannot read {}", stage.log().display()))?;
        let report = Report::read(name, BufReader::new(log)).context("cannot read a test's log")?;
        Ok(self.add(name, report, ended))
    }

    fn add(&mut self, name: &str, report: Report, ended: &Ended) -> Outcome {
        let before = self.failed;
        self.passed += report.truly_passed();
        self.failed += report.failed;
        let named = |test: Failure| Failure { name: format!("{name}: {}", test.name), ..test };
        self.failures.extend(report.failures.into_iter().map(named));
        match ended {
            Ended::OutOfTime => self.fail(format!("{name} did not end and was ended")),
            // With counted failures the exit code says nothing new.
            Ended::Itself(status) if !status.success() && report.failed == 0 => {
                self.fail(format!("{name} {}", how(*status)));
            }
            Ended::Itself(_) if report.results.is_empty() => {
                self.fail(format!("{name} printed no `test result:` line"));
            }
            Ended::Itself(_) => {}
        }
        let kernel = name.split_once('@').map(|(_, kernel)| kernel);
        for mut skip in report.skips {
            if let Some(kernel) = kernel {
                skip.name = format!("{}@{kernel}", skip.name);
            }
            self.skip(name, skip);
        }
        let good = self.failed == before;
        match <[String; 1]>::try_from(report.results) {
            Ok([text]) => Outcome { good, text, results: Vec::new() },
            Err(results) if results.is_empty() => Outcome { good, text: "no result".to_owned(), results },
            Err(results) => Outcome { good, text: format!("{} programs", results.len()), results },
        }
    }

    pub(crate) fn conclude(&self, time: Duration) -> ExitCode {
        for (name, why) in self.skips_by_name() {
            let listed = self.reason(name).unwrap_or_default();
            let more = if why.len() > 1 { format!("{} times, as: ", why.len()) } else { String::new() };
            let one: String =
                why.first().into_iter().flat_map(|why| why.chars()).take(REASON_SHOWN).collect();
            println!("skipped  {name}: {more}{one} ({listed})");
        }
        // Behind all else: of a long log somewhere else often only the end is kept.
        for Failure { name, said } in &self.failures {
            println!("{}  {name}", paint(Tone::Bad, "failed"));
            said.iter().for_each(|line| println!("    {}", printable(line)));
        }
        println!("tests took {}", screen::elapsed(time));
        println!("{}", self.last_line());
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) }
    }

    fn skips_by_name(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut by_name = BTreeMap::<_, Vec<_>>::new();
        for skip in &self.skips {
            by_name.entry(skip.name.as_str()).or_default().push(skip.reason.as_str());
        }
        by_name
    }

    fn last_line(&self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skips.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn exit(code: i32) -> Ended {
        Ended::Itself(ExitStatus::from_raw(code << 8))
    }

    fn added(text: &str, ended: &Ended) -> Result<Count> {
        let mut count = knowing("root");
        count.add("suite", Report::read("suite", text.as_bytes())?, ended);
        Ok(count)
    }

    /// Nothing yet, and one thing that may be left out.
    fn knowing(name: &str) -> Count {
        let known = BTreeMap::from([(name.to_owned(), "a reason".to_owned())]);
        Count { known, ..Count::default() }
    }

    const RESULT: &str = "test result: ok. 2 passed; 0 failed; 0 ignored\n";

    #[test]
    fn a_program_without_a_result_line_fails() -> Result<()> {
        assert_eq!(added("", &exit(0))?.last_line(), "0 passed, 1 failed, 0 skipped");
        Ok(())
    }

    #[test]
    fn a_crash_after_good_tests_is_a_failure() -> Result<()> {
        assert_eq!(added(RESULT, &exit(134))?.last_line(), "2 passed, 1 failed, 0 skipped");
        assert_eq!(added(RESULT, &Ended::OutOfTime)?.last_line(), "2 passed, 1 failed, 0 skipped");
        Ok(())
    }

    #[test]
    fn a_skip_is_taken_only_if_it_is_listed() -> Result<()> {
        let text = |name: &str| format!("---- a stdout ----\nskipped: {name}: uid 1000\n{RESULT}");
        assert_eq!(added(&text("root"), &exit(0))?.last_line(), "1 passed, 0 failed, 1 skipped");
        assert_eq!(added(&text("moon"), &exit(0))?.last_line(), "1 passed, 1 failed, 0 skipped");
        Ok(())
    }

    #[test]
    fn failed_tests_are_counted_once() -> Result<()> {
        let text = "test a ... FAILED\ntest result: FAILED. 1 passed; 1 failed; 0 ignored\n";
        let count = added(text, &exit(101))?;
        assert_eq!(count.last_line(), "1 passed, 1 failed, 0 skipped");
        let failures: Vec<_> = count.failures.iter().map(|failure| failure.name.as_str()).collect();
        assert_eq!(failures, ["suite: a"]);
        Ok(())
    }

    #[test]
    fn a_skip_in_a_guest_has_to_be_listed_for_guests() -> Result<()> {
        let text = format!("---- a stdout ----\nskipped: root: uid 1000\n{RESULT}");
        for (listed, failed) in [("root", 1), ("root@6.12", 0), ("root@vm", 0), ("root@6.1", 1)] {
            let mut count = knowing(listed);
            let report = Report::read("suite@6.12", text.as_bytes())?;
            count.add("suite@6.12", report, &exit(0));
            assert_eq!(count.failed, failed, "{listed}");
            assert_eq!(count.skips.len(), 1 - failed, "{listed}");
        }
        Ok(())
    }
}
