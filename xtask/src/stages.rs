//! Stages of a command as a person sees them: `stage n of m  name`, what it took, where its log is.
//!
//! On a terminal a line with the tool's last output moves; elsewhere there are plain lines, and one a minute
//! so that nothing looks hung. When a tool fails the end of its log is part of the error.

use crate::children::{Child, Ended, Stop};
use crate::repo::Repo;
use crate::screen::{self, Tone, paint};
use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Lines of a log that are shown on a failure: a compiler's error fits.
const LINES_SHOWN: usize = 30;

/// Bytes at the end of a log that are read for that.
const TAIL_BYTES: u64 = 64 * 1024;

/// Lines in which cargo says what it does; they hide what went wrong.
const PROGRESS: [&str; 5] = ["Checking ", "Compiling ", "Downloaded ", "Downloading ", "Fresh "];

/// How often a long stage says that it lives where there is no terminal.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// How often the moving line shows the log's last line anew.
const REFRESH: Duration = Duration::from_millis(250);

/// The numbered stages of one command.
pub(crate) struct Stages {
    total: usize,
    begun: usize,
    logs: PathBuf,
    root: PathBuf,
    started: Instant,
    aside: bool,
}

impl Stages {
    /// `total` stages are to come.
    pub(crate) fn new(repo: &Repo, total: usize) -> Result<Self> {
        let logs = repo.logs();
        std::fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
        Ok(Self { total, begun: 0, logs, root: repo.root.clone(), started: Instant::now(), aside: false })
    }

    /// Standard output is somebody else's: all that is said goes to standard error.
    pub(crate) fn aside(mut self) -> Self {
        self.aside = true;
        self
    }

    /// Something that belongs to no stage.
    pub(crate) fn say(&self, line: &str) {
        say(self.aside, line);
    }

    /// The next stage begins.
    pub(crate) fn begin(&mut self, name: &str) -> Stage {
        let moving = screen::terminal() && !self.aside;
        self.stage(name, moving)
    }

    /// The next stage begins while others go on: two moving lines would overwrite each other.
    pub(crate) fn begin_among(&mut self, name: &str) -> Stage {
        self.stage(name, false)
    }

    fn stage(&mut self, name: &str, moving: bool) -> Stage {
        self.begun += 1;
        let file: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let log = self.logs.join(file.to_lowercase() + ".log");
        let shown = log.strip_prefix(&self.root).unwrap_or(&log).to_path_buf();
        let title = format!("stage {} of {}  {name}", self.begun, self.total.max(self.begun));
        let now = Instant::now();
        Stage {
            title,
            log,
            shown,
            started: now,
            refreshed: now,
            heartbeat: now,
            bar: None,
            announced: false,
            aside: self.aside,
            moving,
        }
    }

    /// Since the first stage.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// One stage; it says how it ended with [`Stage::done`] or [`Stage::failed`].
pub(crate) struct Stage {
    title: String,
    log: PathBuf,
    shown: PathBuf,
    started: Instant,
    refreshed: Instant,
    heartbeat: Instant,
    bar: Option<ProgressBar>,
    announced: bool,
    aside: bool,
    moving: bool,
}

impl Stage {
    /// Runs a tool with its output in the log; anything but success is an error with the log's end.
    pub(crate) fn run(&mut self, command: Command) -> Result<()> {
        let status = self.attempt(command, None)?;
        match status {
            Ended::Itself(status) if status.success() => Ok(()),
            Ended::Itself(status) => Err(self.failure(&how(status))),
            Ended::OutOfTime => Err(self.failure("ran out of time")),
        }
    }

    /// Runs a tool with its output in the log and says how it ended.
    pub(crate) fn attempt(&mut self, mut command: Command, limit: Option<Duration>) -> Result<Ended> {
        let log = self.open_log()?;
        let errors = log.try_clone().context("cannot open the log twice")?;
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        self.follow(Child::start(command, Stop::Group)?, limit)
    }

    /// Runs a tool and gives its standard output; the rest goes to the log.
    pub(crate) fn output(&mut self, mut command: Command) -> Result<String> {
        let path = self.log.with_extension("out");
        let output = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let log = self.open_log()?;
        command.stdin(Stdio::null()).stdout(output).stderr(log);
        match self.follow(Child::start(command, Stop::Group)?, None)? {
            Ended::Itself(status) if status.success() => {
                std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
            }
            Ended::Itself(status) => Err(self.failure(&how(status))),
            Ended::OutOfTime => Err(self.failure("ran out of time")),
        }
    }

    /// The stage ended well.
    pub(crate) fn done(self, outcome: &str) {
        self.close(Tone::Good, outcome);
    }

    /// The stage ended badly and the command goes on.
    pub(crate) fn failed(self, outcome: &str) {
        self.close(Tone::Bad, outcome);
    }

    /// Since it began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Its log, as written so far.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Its log, as a person at the root would type it.
    pub(crate) fn shown_log(&self) -> &Path {
        &self.shown
    }

    /// Something that belongs to this stage.
    pub(crate) fn say(&self, line: &str) {
        say(self.aside, line);
    }

    /// Something still goes on; called often.
    pub(crate) fn moves(&mut self) {
        if self.refreshed.elapsed() < REFRESH {
            return;
        }
        self.refreshed = Instant::now();
        let last = || tail(&self.log, 1).pop().unwrap_or_default().trim().to_owned();
        if self.moving {
            self.bar.get_or_insert_with(moving_line).set_message(format!("{}  {}", self.title, last()));
        } else if self.heartbeat.elapsed() > HEARTBEAT {
            self.heartbeat = Instant::now();
            self.say(&format!("{}  … {}  {}", self.title, screen::elapsed(self.elapsed()), last()));
        }
    }

    fn follow(&mut self, mut child: Child, limit: Option<Duration>) -> Result<Ended> {
        let ended = child.wait(limit, || self.moves());
        self.clear();
        ended
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn close(mut self, tone: Tone, outcome: &str) {
        self.clear();
        let time = screen::elapsed(self.started.elapsed());
        self.say(&format!("{}  {}  {}", self.title, paint(tone, outcome), paint(Tone::Faint, &time)));
    }

    /// The log is made anew by the first tool of a stage; the next ones append.
    fn open_log(&mut self) -> Result<File> {
        if !self.announced {
            self.announced = true;
            File::create(&self.log).with_context(|| format!("cannot write {}", self.log.display()))?;
            let line = format!("{}  … {}", self.title, self.shown.display());
            self.say(&paint(Tone::Faint, &line));
        }
        File::options()
            .append(true)
            .open(&self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))
    }

    fn failure(&self, how: &str) -> anyhow::Error {
        let lines = last_words(&self.log, LINES_SHOWN).join("\n");
        anyhow::anyhow!("{} {how}; the end of {}:\n{lines}", self.title, self.shown.display())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.clear();
    }
}

fn say(aside: bool, line: &str) {
    if aside {
        eprintln!("{line}");
    } else {
        println!("{line}");
    }
}

fn moving_line() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>4}  {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// `ended with exit code 101`, `was ended by signal 9`.
pub(crate) fn how(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// The last lines of a tool's log that do not only say that it works.
pub(crate) fn last_words(path: &Path, lines: usize) -> Vec<String> {
    let mut all = tail(path, usize::MAX);
    all.retain(|line| !PROGRESS.iter().any(|word| line.trim_start().starts_with(word)));
    all.split_off(all.len().saturating_sub(lines))
}

/// The last lines of a file that may still be written to, without empty and repeated ones; none if it cannot
/// be read.
pub(crate) fn tail(path: &Path, lines: usize) -> Vec<String> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mut all: Vec<String> = text.lines().map(printable).filter(|line| !line.trim().is_empty()).collect();
    all.dedup();
    let skipped = all.len().saturating_sub(lines);
    all.into_iter().skip(skipped).collect()
}

/// A tool's line without what could move the cursor.
pub(crate) fn printable(line: &str) -> String {
    line.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_is_bounded_and_printable() -> Result<()> {
        let path = std::env::temp_dir().join(format!("graven-xtask-tail-{}", std::process::id()));
        let text: String = (0..10_000).map(|n| format!("line {n}\x1b[2J\n")).collect();
        std::fs::write(&path, text)?;
        let lines = tail(&path, 2);
        std::fs::remove_file(&path)?;
        assert_eq!(lines, ["line 9998 [2J", "line 9999 [2J"]);
        Ok(())
    }
}
