//! One boot: an emulated machine, a command in it, and how that ended.
//!
//! In: a kernel, the root disk, a job. Out: the command's output in the stage's log, the kernel's messages in
//! `console.log`, what it left in `/run/graven/out`, its exit status. Always: the root disk is as before; a
//! guest that does not end is ended. Never: hardware virtualisation; a guest runs where there is none, and the
//! same everywhere.

use crate::children::Ended;
use crate::folder;
use crate::stages::{Stage, how, last_words};
use crate::vm::cpio::Archive;
use crate::vm::job::Job;
use crate::vm::kernel::Kernel;
use crate::vm::{disk, needs, payload};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// All processors of a guest in turn on one of this machine's. On several, the emulator may run an instruction
/// after the kernel has put another in its place: every fourth guest with two processors died of a stray
/// breakpoint while tracepoints were switched on and off, none of those that take turns.
const ACCELERATION: &str = "tcg,thread=single";

/// What every kernel is told. `panic=-1` with `-no-reboot`: one that panics ends the emulator. The processors take
/// turns on one, so they have one clock, which the kernel does not believe: it would ask an emulated chip for the time,
/// and so would every program. What the emulator has translated serves for one address only: at random addresses it
/// translates every program anew each time it starts, which takes three times as long as all else.
const ORDERS: &str = "console=ttyS0 panic=-1 tsc=reliable norandmaps";

/// Memory of a guest: the sensor's rings and a suite take a quarter.
const MEMORY: &str = "1024M";

/// Lines of the kernel's messages that are shown when it did not come to an end: up to the first function names.
const LINES_SHOWN: usize = 20;

/// Lines of those messages in which the beginning of the end is looked for.
const LINES_SEARCHED: usize = 500;

/// How the kernel begins to say that it cannot go on.
const ALARMS: [&str; 4] = ["Oops:", "BUG:", "Kernel panic", "general protection"];

/// The first program in the kernel's first file system.
const FIRST: &str = include_str!("guest/first.sh");

/// What differs from one boot to another beside the kernel.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub processors: u32,
    /// Added to the kernel's command line.
    pub append: String,
    pub limit: Duration,
    /// ext4, see [`payload`].
    pub root: PathBuf,
    /// An empty btrfs.
    pub btrfs: PathBuf,
}

/// How a boot ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The command came to its end.
    Status(i32),
    /// The guest was ended.
    OutOfTime,
    /// The guest ended before the command did.
    Died(String),
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(0) => f.write_str("ok"),
            Self::Status(code) => write!(f, "exit code {code}"),
            Self::OutOfTime => f.write_str("out of time"),
            Self::Died(_) => f.write_str("died"),
        }
    }
}

/// Boots, runs, and collects; `place` holds what comes of it.
pub(crate) fn run(
    stage: &mut Stage,
    kernel: &Kernel,
    machine: &Machine,
    job: &Job,
    place: &Path,
) -> Result<Outcome> {
    folder::remake(place)?;
    let (first, result) = (place.join("first.cpio"), place.join("result.tar"));
    std::fs::write(&first, first_file_system(kernel, job)?)
        .context("cannot write the guest's first file system")?;
    disk::result(&result)?;
    let console = place.join("console.log");
    let ended = stage.attempt(qemu(kernel, machine, &first, &result, &console), Some(machine.limit))?;
    let status = status(place, &result);
    std::fs::remove_file(&result).context("cannot remove the result's disk")?;
    std::fs::remove_file(&first).context("cannot remove the guest's first file system")?;
    Ok(match (ended, status) {
        (_, Some(code)) => Outcome::Status(code),
        (Ended::OutOfTime, None) => Outcome::OutOfTime,
        (Ended::Itself(status), None) => {
            let mut lines = epitaph(&last_words(&console, LINES_SEARCHED));
            lines.push(format!("the emulator {}", how(status)));
            Outcome::Died(lines.join("\n"))
        }
    })
}

/// Serial ports: the kernel's messages, the command's output. Disks, by the number of their namespace: root,
/// modules, result, btrfs.
fn qemu(kernel: &Kernel, machine: &Machine, first: &Path, result: &Path, console: &Path) -> Command {
    let mut command = Command::new(needs::QEMU);
    crate::cargo::clean(&mut command);
    command.args(["-accel", ACCELERATION, "-M", "q35", "-cpu", "max", "-m", MEMORY]);
    command.args(["-smp", &machine.processors.to_string()]);
    command.args(["-display", "none", "-nodefaults", "-no-user-config", "-no-reboot"]);
    command.arg("-chardev").arg(option("file,id=console,path=", console, ""));
    command.args(["-serial", "chardev:console", "-chardev", "stdio,id=output,signal=off"]);
    command.args(["-serial", "chardev:output", "-device", "nvme,id=nvme,serial=graven"]);
    let modules = kernel.modules();
    let disks = [(machine.root.as_path(), true), (&modules, true), (result, false), (&machine.btrfs, true)];
    for (number, (image, snapshot)) in (1..).zip(disks) {
        let more = format!(",if=none,id=disk{number},format=raw,cache=unsafe,snapshot={}", on(snapshot));
        command.arg("-drive").arg(option("file=", image, &more));
        command.args(["-device", &format!("nvme-ns,drive=disk{number},nsid={number}")]);
    }
    command.arg("-kernel").arg(kernel.image()).arg("-initrd").arg(first);
    command.args(["-append", &format!("{ORDERS} {}", machine.append)]);
    command
}

/// From the first alarm on, or the end where there is none.
fn epitaph(messages: &[String]) -> Vec<String> {
    let alarm = messages.iter().position(|line| ALARMS.iter().any(|alarm| line.contains(alarm)));
    let begin = alarm.unwrap_or(messages.len().saturating_sub(LINES_SHOWN));
    messages[begin..].iter().take(LINES_SHOWN).cloned().collect()
}

fn on(yes: bool) -> &'static str {
    if yes { "on" } else { "off" }
}

/// An option with a path in it, where a comma has to be doubled.
fn option(before: &str, path: &Path, after: &str) -> String {
    format!("{before}{}{after}", path.to_string_lossy().replace(',', ",,"))
}

fn first_file_system(kernel: &Kernel, job: &Job) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for name in ["bin", "dev", "modules", "proc", "sys", "root"] {
        archive.directory(name);
    }
    archive.program("init", FIRST.as_bytes());
    archive.program("command", job.script().as_bytes());
    for module in kernel.first()? {
        let name = module.file_name().context("a module without a name")?.to_string_lossy().into_owned();
        archive.program(&format!("modules/{name}"), &read(&module)?);
    }
    let mut made = std::collections::BTreeSet::from([PathBuf::from("bin")]);
    for file in payload::busybox_files()? {
        let content = read(&file)?;
        let name = match file.ends_with("busybox") {
            true => PathBuf::from("bin/busybox"),
            false => file.strip_prefix("/").unwrap_or(&file).to_path_buf(),
        };
        let mut above: Vec<&Path> = name.ancestors().skip(1).collect();
        above.reverse();
        for folder in above.into_iter().filter(|folder| !folder.as_os_str().is_empty()) {
            if made.insert(folder.to_path_buf()) {
                archive.directory(&folder.to_string_lossy());
            }
        }
        archive.program(&name.to_string_lossy(), &content);
    }
    Ok(archive.finish())
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Unpacks what the guest left; none if it left nothing.
fn status(place: &Path, result: &Path) -> Option<i32> {
    let mut command = Command::new("tar");
    command.arg("-xf").arg(result).arg("-C").arg(place).arg("--no-same-owner");
    let output = command.output().ok()?;
    let text = std::fs::read_to_string(place.join("status")).ok()?;
    output.status.success().then(|| text.trim().parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_in_a_path_is_no_new_option() {
        assert_eq!(option("file=", Path::new("/a,b"), ",x=y"), "file=/a,,b,x=y");
    }

    #[test]
    fn the_cause_of_a_death_is_shown_and_not_its_last_lines() {
        let line = |n: usize| format!("line {n}");
        let mut messages: Vec<String> = (0..300).map(line).collect();
        assert_eq!(epitaph(&messages).last(), messages.last());
        messages[100] = "[    1.0] Oops: int3: 0000 [#1]".to_owned();
        messages[200] = "[    1.1] Kernel panic - not syncing".to_owned();
        assert_eq!(epitaph(&messages), messages[100..100 + LINES_SHOWN]);
        assert!(epitaph(&[]).is_empty());
    }

    #[test]
    fn a_disk_on_which_nothing_was_written_is_no_status() -> Result<()> {
        let place = std::env::temp_dir().join(format!("graven-xtask-result-{}", std::process::id()));
        folder::remake(&place)?;
        let result = place.join("result.tar");
        std::fs::write(&result, vec![0; 10240])?;
        assert_eq!(status(&place, &result), None);
        std::fs::write(place.join("s"), "3\n")?;
        let mut command = Command::new("tar");
        command.arg("-C").arg(&place).args(["--transform=s,^s$,status,", "-cf"]).arg(&result).arg("s");
        assert!(command.status()?.success());
        assert_eq!(status(&place, &result), Some(3));
        folder::remove(&place)
    }
}
