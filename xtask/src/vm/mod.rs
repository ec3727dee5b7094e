//! `cargo xtask vm`: a command in emulated machines, one for each of Debian's kernels.
//!
//! In: names of kernels, a command. Out: the command's output, a table of how it ended on each kernel. Always:
//! which release a name stands for is looked up at the machine's own mirror, once, and kept with its kernel
//! below `target/vm`; the guest runs the programs that were built for this machine; every boot finds the same
//! fresh root disk, and ends. Never: an image from elsewhere, a change to this machine but for packages that
//! are named first. Where no emulator or no kernel can be had, that is the machine's fault and said with the
//! remedy; a command that fails in a guest is a finding.
//!
//! The guest: root on ext4 with this machine's programs at the paths they have here, `/mnt/tmpfs`,
//! `/mnt/overlay`, an empty btrfs for `mount /mnt/btrfs`; the kernel's modules on demand. What the command leaves
//! in `/run/graven/out`, and what tests keep in `/tmp/graven-*`, comes back to `target/vm/results/KERNEL/out`.

mod wanted;
mod needs;
mod mirror;
mod kernel;
mod disk;
mod libraries;
mod payload;
mod cpio;
mod job;
mod boot;
mod lab;
pub(crate) mod together;
mod report;
mod verifier;

pub(crate) use boot::{Machine, Outcome};
pub(crate) use job::Job;
pub(crate) use lab::{Choice, Lab, STAGES};
pub(crate) use together::Work;
pub(crate) use wanted::Wanted;

use crate::build;
use crate::cargo::cargo;
use crate::fault;
use crate::repo::Repo;
use crate::screen::{Tone, paint};
use crate::setup::{self, Install};
use crate::stages::Stages;
use anyhow::Result;
use kernel::Kernel;
use report::Boot;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What is run when nothing is said.
const COMMAND: [&str; 2] = ["graven-agent", "doctor"];

/// The programs of the build, and the one that makes changes for the tests.
const PROGRAMS: [&str; 3] = ["graven-agent", "graven", "graven-actor"];

/// Lines of a command's output that are shown, from its beginning and from its end: what a program says of
/// itself fits, what a verifier says does not. All of it is in the log.
const HEAD_SHOWN: usize = 60;
const TAIL_SHOWN: usize = 40;

#[derive(clap::Args)]
#[command(
    after_help = "Kernels are series such as 6.12, or newest; without any: 5.10 6.1 6.12 6.18 newest. These are Debian's \
                        kernels for virtual machines; 6.12-amd64 is its ordinary one of that series. The command \
                        is found as on this machine; without one, and without --verifier, it is `graven-agent doctor`. A command with a path, and \
                        every --file, is in the guest at the path it has here, with its libraries. What it writes to \
                        /run/graven/out comes back to target/vm/results/KERNEL/out, beside the kernel's messages."
)]
pub(crate) struct Arguments {
    /// Which kernels, in this order
    kernels: Vec<String>,
    /// What to run as root in each
    #[arg(last = true)]
    command: Vec<String>,
    /// Take graven-agent, graven and graven-actor from this folder and build nothing
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Have this file or folder in the guest too
    #[arg(long = "file", value_name = "PATH")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    choice: Choice,
    /// Look up the last releases again
    #[arg(long)]
    refresh: bool,
    /// One JSON document on standard output; all else on standard error
    #[arg(long)]
    json: bool,
    /// What each program of the sensor costs the kernels' verifier, beside the figures in ebpf/verifier.toml
    #[arg(long, conflicts_with_all = ["command", "json"])]
    verifier: bool,
    /// Write what they cost now to ebpf/verifier.toml
    #[arg(long, requires = "verifier")]
    accept: bool,
    #[command(flatten)]
    install: Install,
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode> {
    let repo = Repo::here()?;
    let wanted = Wanted::parse_all(&arguments.kernels)?;
    let builds = if arguments.programs.is_none() { setup::STAGES + build::STAGES + 1 } else { 0 };
    let stages = Stages::new(&repo, builds + STAGES + wanted.len())?;
    let mut stages = if arguments.json { stages.aside() } else { stages };
    let programs = match &arguments.programs {
        Some(folder) => folder
            .canonicalize()
            .map_err(|error| fault::usage(format!("--programs {}: {error}", folder.display())))?,
        None => built(&repo, &mut stages, arguments.install)?,
    };
    let words = match arguments.verifier {
        true => verifier::COMMAND.map(str::to_owned).to_vec(),
        false => arguments.command.clone(),
    };
    let (command, mut files) = guest_command(&words, &arguments.files)?;
    files.extend(present(&programs)?);
    let lab = Lab::open(&repo, &mut stages, arguments.install, &wanted, arguments.refresh)?;
    let machine = lab.furnish(stages.begin("disks"), &arguments.choice, &files)?;
    let job = |kernel: &str| Job::new(&command, &programs, kernel, Path::new("/root"));
    let show = |boot: &Boot| {
        let lines = said(&repo, boot);
        let is_shown_later = arguments.json || (arguments.verifier && boot.is_good());
        if !is_shown_later && !lines.is_empty() {
            // At once: other boots speak too.
            println!("{}", lines.join("\n"));
        }
    };
    let boots = boot_all(&mut stages, &lab, &machine, &job, &show)?;
    if arguments.json {
        println!("{:#}", report::json(&boots));
    } else {
        report::table(&boots).iter().for_each(|line| println!("{line}"));
    }
    let good = !arguments.verifier || verifier::conclude(&repo, &boots, arguments.accept)?;
    Ok(if good && boots.iter().all(Boot::is_good) { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Boots every kernel of the lab, and shows each as soon as it has ended.
fn boot_all(
    stages: &mut Stages,
    lab: &Lab,
    machine: &Machine,
    job: &(dyn Fn(&str) -> Job + Sync),
    show: &(dyn Fn(&Boot) + Sync),
) -> Result<Vec<Boot>> {
    let mut boots = Vec::new();
    let work = Work {
        title: &|(_, kernel): &(Wanted, Kernel)| format!("boot {}", kernel.name),
        run: &|(_, kernel), stage| lab.boot(stage, kernel, machine, &job(&kernel.name), &kernel.name),
        finish: &mut |(_, kernel), stage, outcome| {
            let boot = Boot::read(&stage, kernel, outcome, lab.results(&kernel.name).join("console.log"))?;
            let text = boot.outcome.to_string();
            if boot.is_good() {
                stage.done(&text)
            } else {
                stage.failed(&text)
            }
            show(&boot);
            boots.push(boot);
            Ok(())
        },
    };
    together::all(stages, lab.kernels(), work)?;
    let place = |boot: &Boot| lab.kernels().iter().position(|(_, kernel)| kernel.name == boot.kernel);
    boots.sort_by_key(place);
    Ok(boots)
}

/// Builds the programs, that of the tests too.
fn built(repo: &Repo, stages: &mut Stages, install: Install) -> Result<PathBuf> {
    build::run(repo, stages, install)?;
    let mut stage = stages.begin("actor");
    let arguments = ["build", "--release", "--package=graven-tests", "--bin=graven-actor"];
    stage.run(cargo(repo, &arguments))?;
    stage.done("built");
    Ok(repo.programs())
}

/// Those of our programs that are in the folder.
pub(crate) fn present(programs: &Path) -> Result<Vec<PathBuf>> {
    let found: Vec<PathBuf> =
        PROGRAMS.iter().map(|name| programs.join(name)).filter(|path| path.is_file()).collect();
    if found.is_empty() {
        return Err(fault::usage(format!("{} holds none of our programs", programs.display())));
    }
    Ok(found)
}

/// The command and the files it needs. A program with a path is taken along and called by its full path: the
/// guest's working directory is another.
fn guest_command(command: &[String], files: &[PathBuf]) -> Result<(Vec<String>, Vec<PathBuf>)> {
    let absolute = |path: &Path| {
        path.canonicalize().map_err(|error| fault::usage(format!("{}: {error}", path.display())))
    };
    let mut files = files.iter().map(|path| absolute(path)).collect::<Result<Vec<_>>>()?;
    let mut command = command.to_vec();
    if command.is_empty() {
        command = COMMAND.map(str::to_owned).to_vec();
    } else if command[0].contains('/') && Path::new(&command[0]).is_file() {
        let program = absolute(Path::new(&command[0]))?;
        command[0] = program.to_string_lossy().into_owned();
        files.push(program);
    }
    Ok((command, files))
}

/// What the command said, and what the kernel said if it died.
fn said(repo: &Repo, boot: &Boot) -> Vec<String> {
    let mut lines = excerpt(&boot.output, &repo.short(&boot.log).display().to_string());
    if let Outcome::Died(messages) = &boot.outcome {
        let why = paint(Tone::Bad, "the guest died; all it said is in");
        lines.push(format!("{why} {}", repo.short(&boot.console).display()));
        lines.extend(messages.lines().map(str::to_owned));
    }
    lines.iter_mut().for_each(|line| line.insert_str(0, "  "));
    lines
}

/// The lines to show of an output that is in the log as a whole.
fn excerpt(output: &str, log: &str) -> Vec<String> {
    let mut lines: Vec<String> = output.lines().map(str::to_owned).collect();
    if lines.len() > HEAD_SHOWN + TAIL_SHOWN {
        let left_out = HEAD_SHOWN..lines.len() - TAIL_SHOWN;
        let said = format!("… {} lines more in {log}", left_out.len());
        lines.splice(left_out, [said]);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_a_path_is_taken_along() -> Result<()> {
        let here = std::env::current_exe()?.canonicalize()?;
        let words = [here.to_string_lossy().into_owned(), "./x".to_owned()];
        let (command, files) = guest_command(&words, &[])?;
        assert_eq!((command, files), (words.to_vec(), vec![here]));
        let (command, files) = guest_command(&["ls".to_owned()], &[])?;
        assert_eq!((command, files.len()), (vec!["ls".to_owned()], 0));
        let (command, _) = guest_command(&[], &[])?;
        assert_eq!(command, COMMAND);
        assert!(guest_command(&[], &[PathBuf::from("/nowhere/at/all")]).is_err());
        Ok(())
    }

    #[test]
    fn a_long_output_is_shown_with_its_beginning_and_its_end() {
        let text: String = (0..1000).map(|n| format!("{n}\n")).collect();
        let lines = excerpt(&text, "the.log");
        assert_eq!(lines.len(), HEAD_SHOWN + 1 + TAIL_SHOWN);
        assert_eq!((lines[0].as_str(), lines[100].as_str()), ("0", "999"));
        assert_eq!(lines[HEAD_SHOWN], "… 900 lines more in the.log");
        assert_eq!(excerpt("a\nb\n", "the.log"), ["a", "b"]);
    }
}
