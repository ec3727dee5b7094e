//! `doctor`: what this kernel lets the sensor see.

use std::fs;
use std::io::{self, Write};

use serde_json::{Value, json};

use crate::sensor::{Hook, Sensor};

/// What the mode cannot see whatever the kernel: said here and in the start record.
pub const UNSEEN: [&str; 13] = [
    "old values of changed attributes: this mode has no program before a call",
    "refused attempts (EROFS, EACCES, EPERM, ETXTBSY): not recorded yet in this mode",
    "which call it was, for the 32-bit entry, x32 and io_uring: their changes are `modify` records, and the process has an `uncovered` record",
    "which call it was, for calls other than open, mkdir, mknod, link, symlink, unlink, rmdir, rename, chmod, chown: their changes are `modify` records",
    "changes in procfs, sysfs and cgroupfs other than by the calls above: the kernel keeps no change time there",
    "changes that another host makes on a network file system",
    "which of several hard links was used, when more than one is in memory: the record gives the number of links",
    "that a file outside the protected places is a hard link of a protected one, when the protected name is not in memory",
    "where a script lies that was called by a relative name: it is judged by its interpreter",
    "mounts, also those over a protected place: what is changed through them is judged by where it appears",
    "on file systems without multigrain times (overlay, vfat and others): changes by calls other than those above",
    "stores into a shared writable mapping after the first, and writes within one clock tick of another writer's: the kernel sets no time for them",
    "what is written to a raw block device below a file system: the device is judged by where its node lies",
];

/// Everything `doctor` found.
#[derive(Debug)]
pub struct Report {
    kernel: String,
    preemption: String,
    lsm: String,
    hooks: Vec<Hook>,
}

/// Loads and attaches everything for a moment.
pub fn examine() -> Result<Report, crate::sensor::SensorError> {
    let mut sensor = Sensor::load()?;
    sensor.attach()?;
    Ok(Report {
        kernel: first_line("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".to_owned()),
        preemption: preemption(),
        lsm: first_line("/sys/kernel/security/lsm").unwrap_or_else(|| "securityfs is not mounted".to_owned()),
        hooks: sensor.hooks().to_vec(),
    })
}

/// The preemption model as far as the kernel tells it without debugfs.
fn preemption() -> String {
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

impl Report {
    /// For programs.
    pub fn json(&self) -> Value {
        let hooks: Vec<Value> = self
            .hooks
            .iter()
            .map(|hook| json!({"name": hook.name, "attached": hook.refused.is_none(), "reason": hook.refused, "without_it": hook.without}))
            .collect();
        json!({
            "mode": "syscall",
            "kernel": self.kernel,
            "preemption": self.preemption,
            "lsm": self.lsm,
            "hooks": hooks,
            "unseen": UNSEEN,
        })
    }

    /// For people.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "mode        syscall (tracepoints; this release has no other)")?;
        writeln!(out, "kernel      {}", self.kernel)?;
        writeln!(out, "preemption  {}", self.preemption)?;
        writeln!(out, "lsm         {}", self.lsm)?;
        writeln!(out, "\nhooks")?;
        for hook in &self.hooks {
            match &hook.refused {
                None => writeln!(out, "  attached  {}", hook.name)?,
                Some(why) => {
                    writeln!(out, "  MISSING   {}: {why}\n            not seen: {}", hook.name, hook.without)?
                }
            }
        }
        writeln!(out, "\nnot seen in this mode")?;
        UNSEEN.iter().try_for_each(|line| writeln!(out, "  - {line}"))
    }
}
