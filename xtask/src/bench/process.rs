//! What `/proc` says of a process: its CPU time, its memory, its children, and who else traces this kernel.

use anyhow::{Context, Result};
use std::path::Path;

/// Types of BPF links that hang on what the measured programs do.
const TRACING: [&str; 6] =
    ["raw_tracepoint", "tracing", "perf_event", "kprobe_multi", "uprobe_multi", "tracepoint"];

/// Resident memory, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Memory {
    /// Now.
    pub resident: u64,
    /// The most it ever was.
    pub peak: u64,
    /// Of `resident`, what is not a file's.
    pub anonymous: u64,
    /// Of `resident`, pages of files: the program itself and its libraries; the sensor's rings count here too.
    pub file: u64,
}

/// CPU time of all threads that live, ns. What a thread used that has ended is not in it: the agent's live as
/// long as it does.
pub(crate) fn cpu(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for thread in threads(pid)? {
        // A thread may end between the listing and the look.
        if let Ok(text) = std::fs::read_to_string(thread.join("schedstat")) {
            sum += on_cpu(&text).with_context(|| format!("{}: what is `{text}`?", thread.display()))?;
        }
    }
    Ok(sum)
}

/// The first number of `schedstat`: ns on a CPU.
fn on_cpu(schedstat: &str) -> Option<u64> {
    schedstat.split_ascii_whitespace().next()?.parse().ok()
}

pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    memory_in(&text).with_context(|| format!("{path} has no memory"))
}

fn memory_in(status: &str) -> Option<Memory> {
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    };
    Some(Memory {
        resident: field("VmRSS")?,
        peak: field("VmHWM")?,
        anonymous: field("RssAnon")?,
        file: field("RssFile")? + field("RssShmem")?,
    })
}

/// The processes that it started and that it has not waited for.
pub(crate) fn children(pid: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for thread in threads(pid)? {
        let list = std::fs::read_to_string(thread.join("children")).unwrap_or_default();
        found.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    Ok(found)
}

fn threads(pid: u32) -> Result<Vec<std::path::PathBuf>> {
    let folder = format!("/proc/{pid}/task");
    let entries = std::fs::read_dir(&folder).with_context(|| format!("process {pid} is gone"))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

/// The processes of this name, threads of the kernel too.
pub(crate) fn named(name: &str) -> Vec<u32> {
    all().filter(|pid| name_of(*pid) == name).collect()
}

/// Every process there is.
fn all() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// `name (pid)` of each process that holds a link of a tracing program: with one of them there, nothing is
/// untraced.
pub(crate) fn tracers() -> Vec<String> {
    all().filter(|pid| has_link(*pid)).map(|pid| format!("{} ({pid})", name_of(pid))).collect()
}

fn has_link(pid: u32) -> bool {
    // A process may end meanwhile: then it traces nothing.
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors.flatten().any(|entry| {
        let is_link =
            std::fs::read_link(entry.path()).is_ok_and(|to| to.as_os_str() == "anon_inode:bpf_link");
        let about = Path::new("/proc").join(pid.to_string()).join("fdinfo").join(entry.file_name());
        is_link && std::fs::read_to_string(about).is_ok_and(|text| traces(&text))
    })
}

/// Is this link's type one of tracing?
fn traces(fdinfo: &str) -> bool {
    let mut kinds = fdinfo.lines().filter_map(|line| line.strip_prefix("link_type:"));
    kinds.any(|kind| TRACING.contains(&kind.trim()))
}

fn name_of(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\tx\nVmPeak:\t  99 kB\nVmHWM:\t      30 kB\nVmRSS:\t      20 kB\nRssAnon:\t       5 kB\n\
                      RssFile:\t      14 kB\nRssShmem:\t       1 kB\n";
        let expected = Memory { resident: 20 * 1024, peak: 30 * 1024, anonymous: 5 * 1024, file: 15 * 1024 };
        assert_eq!(memory_in(status), Some(expected));
        assert_eq!(memory_in("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn our_own_time_and_memory_are_there() -> Result<()> {
        let own = std::process::id();
        anyhow::ensure!(cpu(own)? > 0 && memory(own)?.resident > 1 << 20);
        Ok(())
    }

    #[test]
    fn a_child_is_found() -> Result<()> {
        let mut child = std::process::Command::new("sleep").arg("60").spawn()?;
        let found = children(std::process::id());
        child.kill()?;
        child.wait()?;
        anyhow::ensure!(found?.contains(&child.id()));
        Ok(())
    }

    #[test]
    fn links_of_tracing_are_told_from_others() {
        assert!(traces("pos:\t0\nlink_type:\traw_tracepoint\nlink_id:\t4\n"));
        assert!(!traces("pos:\t0\nlink_type:\tcgroup\nlink_id:\t4\n"));
        assert!(!traces("pos:\t0\n"));
    }
}
