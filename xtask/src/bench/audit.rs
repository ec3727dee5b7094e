//! auditd beside the agent, by the same rules: the protected places for writes and attributes, and every exec.
//!
//! Its own configuration and log; the kernel's audit state is as it was found when this ends, whatever happens. One
//! thing stays until the machine is started anew: processes that are started after audit was once enabled take
//! a slower way into the kernel. So it is measured last, and between its slices a rule `never,task` keeps it
//! from the processes that are started then. Never: anything where audit is in use already.

use super::grounds::{Grounds, Work};
use super::modes::{FileSystem, Place};
use super::process;
use super::tracer::{Taken, Tracer, idle};
use crate::auditd::{NEVER, Programs};
use crate::children::TICK;
use crate::daemon::Daemon;
use crate::stages::Stage;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Marks our rules and their records.
const KEY: &str = "graven-bench";
/// Records that the kernel holds for the daemon: what Debian's rules ask for.
const BACKLOG: u64 = 8192;
/// How long the daemon may take until the kernel knows it.
const READY: Duration = Duration::from_secs(10);

/// The daemon, running; dropped, everything is as it was found.
pub(crate) struct Audit {
    programs: Programs,
    rules: Vec<Vec<String>>,
    log: PathBuf,
    daemon: Daemon,
    backlog: u64,
    /// The rule was there before.
    never: bool,
    /// The kernel's count, and the log's length, when recording began.
    lost: u64,
    from: u64,
}

impl Audit {
    /// Starts the daemon; nothing is recorded yet. The caller has seen that audit is not in use.
    pub(crate) fn start(programs: Programs, work: &Work, grounds: &Grounds) -> Result<Self> {
        let folder = work.folder.join("audit");
        fs::create_dir_all(folder.join("plugins.d")).context("cannot make a folder for auditd")?;
        let log = folder.join("audit.log");
        fs::write(folder.join("auditd.conf"), configuration(&folder)).context("cannot write auditd.conf")?;
        let (backlog, never) = (programs.state("backlog_limit")?, programs.has_never()?);
        let mut command = programs.command(&programs.auditd);
        command.args(["-n", "-s", "nochange", "-c"]).arg(&folder);
        let daemon = Daemon::start("auditd", command, folder.join("auditd.log"))?;
        let mut audit =
            Self { programs, rules: rules(grounds), log, daemon, backlog, never, lost: 0, from: 0 };
        audit.wait()?;
        audit.programs.control(&["-b", &BACKLOG.to_string()])?;
        audit.rest()?;
        Ok(audit)
    }

    /// Until the kernel knows the daemon.
    fn wait(&mut self) -> Result<()> {
        let begin = Instant::now();
        while self.programs.state("pid")? != u64::from(self.daemon.pid()) {
            self.daemon.still_runs()?;
            anyhow::ensure!(begin.elapsed() < READY, "auditd runs, but the kernel does not know it");
            std::thread::sleep(TICK);
        }
        Ok(())
    }

    /// No rules but the one that keeps audit from processes started now.
    fn rest(&self) -> Result<()> {
        self.programs.control(&["-e", "0"])?;
        self.programs.control(&["-D"])?;
        self.programs.control(&NEVER).map(drop)
    }

    fn restore(&mut self) -> Result<()> {
        self.programs.control(&["-e", "0"])?;
        self.programs.control(&["-D"])?;
        self.programs.control(&["-b", &self.backlog.to_string()])?;
        if self.never {
            self.programs.control(&NEVER)?;
        } else {
            println!(
                "audit was on: until this machine is started anew, processes take a slower way into the kernel \
                 (`auditctl {}` spares those started after it)",
                NEVER.join(" ")
            );
        }
        self.daemon.stop().map(drop)
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        if let Err(error) = self.restore() {
            eprintln!("audit may still be on: {error:#}; `auditctl -e 0` and `auditctl -D` end it");
        }
    }
}

impl Tracer for Audit {
    fn begin(&mut self, _stage: &mut Stage) -> Result<()> {
        self.daemon.still_runs()?;
        self.from = fs::metadata(&self.log).context("auditd has no log")?.len();
        self.lost = self.programs.state("lost")?;
        self.programs.control(&["-D"])?;
        for rule in &self.rules {
            let words: Vec<&str> = rule.iter().map(String::as_str).collect();
            self.programs.control(&words)?;
        }
        self.programs.control(&["-e", "1"])?;
        idle(self)
    }

    fn end(&mut self, _stage: &mut Stage) -> Result<Taken> {
        self.programs.control(&["-e", "0"])?;
        idle(self)?;
        let lost = self.programs.state("lost")?.saturating_sub(self.lost);
        self.rest()?;
        let (stored, bytes) = count(&self.log, self.from)?;
        Ok(Taken { stored, lost, bytes })
    }

    /// The daemon, then the kernel's thread that hands it the records.
    fn processes(&self) -> Result<Vec<u32>> {
        Ok([self.daemon.pid()].into_iter().chain(process::named("kauditd")).collect())
    }

    fn links(&self) -> usize {
        0
    }
}

/// Events with our key behind a place in the log, and bytes there. One event has several lines, and exactly one
/// of this type.
fn count(log: &Path, from: u64) -> Result<(u64, u64)> {
    let mut file = File::open(log).with_context(|| format!("cannot read {}", log.display()))?;
    let bytes = file.metadata()?.len().saturating_sub(from);
    file.seek(SeekFrom::Start(from))?;
    let mut events = 0;
    for line in BufReader::new(file).split(b'\n') {
        let line = line?;
        let is_ours = line.windows(KEY.len()).any(|word| word == KEY.as_bytes());
        events += u64::from(line.starts_with(b"type=SYSCALL ") && is_ours);
    }
    Ok((events, bytes))
}

/// What the bench's policy protects and records, as auditctl takes it.
fn rules(grounds: &Grounds) -> Vec<Vec<String>> {
    let own = FileSystem::ALL.map(|system| grounds.folder(system, Place::Protected).display().to_string());
    let folders = ["/usr", "/etc"].map(str::to_owned).into_iter().chain(own);
    let rule = |words: &[&str]| {
        let all = [&["-a", "always,exit", "-F", "arch=b64"], words, &["-k", KEY]].concat();
        all.into_iter().map(str::to_owned).collect::<Vec<String>>()
    };
    let change = |folder: String| rule(&["-F", &format!("dir={folder}"), "-F", "perm=wa"]);
    folders.map(change).chain([rule(&["-S", "execve,execveat"])]).collect()
}

/// Debian's, with a log that is neither rotated nor ever full, and no plug-ins.
fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "local_events = yes\nwrite_logs = yes\nlog_file = {folder}/audit.log\nlog_group = root\n\
         log_format = ENRICHED\nflush = INCREMENTAL_ASYNC\nfreq = 50\nmax_log_file = 1024\nnum_logs = 0\n\
         max_log_file_action = IGNORE\nspace_left = 75\nspace_left_action = IGNORE\nadmin_space_left = 50\n\
         admin_space_left_action = IGNORE\ndisk_full_action = IGNORE\ndisk_error_action = IGNORE\n\
         priority_boost = 4\nname_format = NONE\nq_depth = 2000\noverflow_action = IGNORE\n\
         plugin_dir = {folder}/plugins.d\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_system_calls_are_events() -> Result<()> {
        let log = std::env::temp_dir().join(format!("graven-xtask-audit-{}", std::process::id()));
        let text = format!(
            "type=SYSCALL msg=audit(1:1): syscall=87 key=\"{KEY}\"\ntype=CWD msg=audit(1:1): cwd=\"/{KEY}\"\n\
             type=SYSCALL msg=audit(1:2): syscall=87 key=\"other\"\n"
        );
        fs::write(&log, &text)?;
        let (whole, behind) = (count(&log, 0), count(&log, 20));
        fs::remove_file(&log)?;
        assert_eq!(whole?, (1, text.len() as u64));
        assert_eq!(behind?, (0, text.len() as u64 - 20));
        Ok(())
    }
}
