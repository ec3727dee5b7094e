//! `doctor`: what this kernel lets the sensor see.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::canary::Canary;
use crate::sensor::{Hook, Sensor, Witness, refusal};
use crate::vigil::{Heard, SILENT, sing};
use crate::{config, exit};

/// What the mode cannot see whatever the kernel: said here and in the start record.
const UNSEEN: [&str; 15] = [
    "old values of changed attributes: this mode has no program before a call",
    "changes in procfs, sysfs and cgroupfs other than by the calls that are decoded: the kernel keeps no change time there",
    "changes that another host makes on a network file system",
    "which of several hard links was written to, when more than one is in memory: the record gives the number of links",
    "the file of a script: it is named by what execve was given and the current directory; what stands between several interpreters is in the arguments only",
    "the kernel's own object of a mount: the target is the caller's name for it; a mount over a protected place that no call named is told by the mount table, if it is there for a second",
    "a mapping that becomes shared and writable by mprotect: its first store is a `modify`, but on tmpfs only where the page was not read before",
    "what is put together of a mount before it is attached (fsopen, fsmount, open_tree): its attaching is recorded",
    "an attempt that was refused and named a protected file by a name in a mutable place; a program start that was refused",
    "the writing of the agent's memory by /proc/PID/mem, and its resource limits (prlimit64); ptrace, process_vm_writev and signals are records",
    "what is written to a raw block device below a file system: the opening of the device is recorded, wherever its node lies",
    "the opening for reading of a character device that writes to disks: what it is told to do by ioctl(2) or by io_uring is recorded",
    "a driver's own commands that change disks and are in no list, what drivers in user space do (vfio, uio, usbfs, iopl), and which file io_uring gives a command to when only the ring knows it (IOSQE_FIXED_FILE)",
    "calls that change no file, mount or program by themselves: quotactl, reboot, chroot, entering or leaving namespaces, pidfd_getfd, prctl(PR_SET_MM), setting the clock (a step of it is a record)",
    "who changes maps of BPF programs by bpf(2), other than those of the sensor that hold the policy's places, and programs attached other than by bpf(2); a program that writes into the sensor's maps is seen when it is loaded by bpf(2), and not when another program loads it (BPF_PROG_TYPE_SYSCALL, whose own loading is recorded)",
];

/// Likewise, where inode-time tracepoints tell which inodes change.
const UNSEEN_BY_TIMES: [&str; 2] = [
    "on file systems without multigrain times (overlay, vfat and others): changes by calls that are not decoded",
    "stores into a shared writable mapping after the first, and within one clock tick of another's change of a file what is written by a mapping, by asynchronous I/O (io_submit), by io_uring or by the kernel itself: no time is set for it",
];

/// Likewise, where functions of the VFS do.
const UNSEEN_BY_FUNCTIONS: [&str; 3] = [
    "stores into a page of a shared writable mapping after the first",
    "what is written on btrfs, on NFS and past the page cache through FUSE, which call none of these functions, other than by calls on a descriptor: these are `reported`; what is written on overlay is told by the layer's inode",
    UNSEEN_OPENS,
];

/// Likewise, where nothing does.
const UNSEEN_WITHOUT_WITNESS: [&str; 4] = [
    "which inode a call really changed: names are the callers', the outcome is `reported`, and nothing is left out because of a name",
    "who writes through a mapping, by asynchronous I/O (io_submit) or by io_uring: the opening of the file is recorded",
    "changes that the kernel makes itself (core dumps, nfsd, loop devices)",
    UNSEEN_OPENS,
];

/// Where no change time tells of the directory.
const UNSEEN_OPENS: &str = "a file that an open makes and then refuses to open for another reason than permission (O_CREAT | O_DIRECTORY before 6.4), and one that mq_open makes for reading; one that the kernel then forbids to open is a refusal";

/// What this kernel cannot show, one line each.
pub fn unseen(witness: Witness) -> Vec<&'static str> {
    let more = match witness {
        Witness::Times => &UNSEEN_BY_TIMES[..],
        Witness::Functions => &UNSEEN_BY_FUNCTIONS,
        Witness::Nothing => &UNSEEN_WITHOUT_WITNESS,
    };
    UNSEEN.into_iter().chain(more.iter().copied()).collect()
}

/// Everything `doctor` found.
#[derive(Debug)]
pub struct Report {
    kernel: String,
    preemption: String,
    lsm: String,
    hooks: Vec<(Hook, Option<u32>)>,
    heard: Heard,
    /// Why nothing was heard.
    deaf: Option<String>,
    open: Vec<String>,
    /// Why the programs end with the agent.
    brief: Option<String>,
    witness: Witness,
}

/// Loads and attaches everything for a moment.
pub fn examine() -> Result<Report, crate::sensor::SensorError> {
    let mut sensor = Sensor::load()?;
    sensor.attach()?;
    let folder = folder();
    let (heard, deaf) = match sing(&sensor, &Canary::new(folder.clone().into_iter().collect())) {
        Ok((heard, _child)) => (heard, None),
        Err(error) => (Heard::new(), Some(exit::in_one_line(&error))),
    };
    if let Some(folder) = folder {
        // It is empty: what was made there is gone.
        let _removed = fs::remove_dir(folder);
    }
    Ok(Report {
        heard,
        deaf,
        open: sensor.open_maps().to_vec(),
        brief: refusal(&config::Sensor::default().pins),
        kernel: first_line("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".to_owned()),
        preemption: preemption(),
        lsm: first_line("/sys/kernel/security/lsm").unwrap_or_else(|| "securityfs is not mounted".to_owned()),
        hooks: sensor.hooks().iter().map(|hook| (hook.clone(), sensor.verified(hook))).collect(),
        witness: sensor.witness(),
    })
}

/// For the canary: nobody knows its name before, and it is new. None where there is no room: then less is tried.
fn folder() -> Option<PathBuf> {
    let mut name = [0; 16];
    getrandom::fill(&mut name).ok()?;
    let folder = std::env::temp_dir().join(format!("graven-doctor-{}", hex::encode(name)));
    fs::DirBuilder::new().mode(0o700).create(&folder).ok()?;
    Some(folder)
}

/// The preemption model as far as the kernel tells it without debugfs.
pub fn preemption() -> String {
    let version = first_line("/proc/version").unwrap_or_default();
    let word = ["PREEMPT_DYNAMIC", "PREEMPT_RT", "PREEMPT_LAZY", "PREEMPT"]
        .iter()
        .find(|word| version.contains(**word));
    let model = first_line("/sys/kernel/debug/sched/preempt");
    match (model, word) {
        (Some(model), _) => model,
        (None, Some(word)) => (*word).to_owned(),
        (None, None) => "none or voluntary".to_owned(),
    }
}

fn first_line(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()?.lines().next().map(str::to_owned)
}

/// Functions of the kernel call nothing while this is off (`ftrace_enable_sysctl`).
fn remedy() -> &'static str {
    match first_line("/proc/sys/kernel/ftrace_enabled").as_deref() {
        Some("0") => ": turn it on, sysctl kernel.ftrace_enabled=1",
        _ => "",
    }
}

impl Report {
    /// Is a program attached that does not run?
    pub fn is_silent(&self) -> bool {
        self.heard.values().any(|heard| !heard)
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let hooks: Vec<Value> = self
            .hooks
            .iter()
            .map(|(hook, verified)| json!({"name": hook.name, "program": hook.program, "attached": hook.refused.is_none(), "reason": hook.refused, "remark": hook.remark, "without_it": hook.without, "verified": verified, "canary": self.heard.get(hook.name).map(|ran| if *ran { "ran" } else { "silent" })}))
            .collect();
        json!({
            "mode": "syscall",
            "kernel": self.kernel,
            "preemption": self.preemption,
            "lsm": self.lsm,
            "hooks": hooks,
            "canary_failed": self.deaf,
            "open_maps": self.open,
            "stays": self.brief.is_none(),
            "stays_not": self.brief,
            "witness": self.witness.name(),
            "witnessed": self.witness.is_there(),
            "unseen": unseen(self.witness),
        })
    }

    /// For people.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "mode        syscall (which inodes change is told by: {})", self.witness.name())?;
        writeln!(out, "kernel      {}", self.kernel)?;
        writeln!(out, "preemption  {}", self.preemption)?;
        writeln!(out, "lsm         {}", self.lsm)?;
        match &self.brief {
            None => writeln!(out, "restart     the programs can stay while no agent runs")?,
            Some(why) => writeln!(out, "restart     leaves a moment unwatched: {why}")?,
        }
        writeln!(out, "\nhooks")?;
        for (hook, _) in &self.hooks {
            let heard = self.heard.get(hook.name);
            match &hook.refused {
                None if heard == Some(&false) => {
                    writeln!(
                        out,
                        "  SILENT    {}: {}{}\n            not seen: {}",
                        hook.name,
                        SILENT,
                        remedy(),
                        hook.without
                    )?;
                }
                None => {
                    // Attached it is in either case.
                    let state = if heard.is_some() { "runs    " } else { "attached" };
                    let program = Some(hook.program).filter(|program| *program != hook.name);
                    let program = program.map(|program| format!(" ({program})")).unwrap_or_default();
                    writeln!(out, "  {state}  {}{program}", hook.name)?;
                }
                Some(why) => {
                    writeln!(out, "  MISSING   {}: {why}\n            not seen: {}", hook.name, hook.without)?
                }
            }
            if let Some(remark) = &hook.remark {
                writeln!(out, "            {remark}")?;
            }
        }
        if let Some(why) = &self.deaf {
            writeln!(out, "whether they run is not known: {why}")?;
        }
        for map in &self.open {
            writeln!(out, "the map {map} is not frozen: others with the rights can write it by bpf(2)")?;
        }
        writeln!(out, "\nnot seen in this mode on this kernel")?;
        unseen(self.witness).iter().try_for_each(|line| writeln!(out, "  - {line}"))
    }
}
