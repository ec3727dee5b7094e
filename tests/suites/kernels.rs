//! The sensor on this kernel: it loads, and hangs on all that the kernel offers. Natively and on every kernel of
//! `[package.metadata.vm]`.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail, ensure};
use graven_abi::syscalls::{COMPAT, NATIVE, X32};
use graven_tests::programs::{self, AGENT};
use graven_tests::skip;
use serde_json::Value;

const SUITE: &str = "kernels";

/// There is no sensor without these.
const ALWAYS: [&str; 4] = ["sched_process_fork", "sched_process_exec", "sched_process_exit", "sys_exit"];

/// Where the kernel sets an inode's time: what changed, whatever the call.
const INODE_TIME: [&str; 3] = ["ctime_ns_xchg", "ctime_xchg_skip", "inode_set_ctime_to_ts"];

/// The first kernel that has them.
const INODE_TIME_SINCE: (u32, u32) = (6, 13);

/// How the name of the hook begins that sees requests handed in. Its tracepoint has another name since 6.3, and a
/// kernel may be built without it.
const IO_URING: &str = "io_uring";

/// The sensor is loaded once for all tests; the words of what went wrong.
static REPORT: OnceLock<Result<Value, String>> = OnceLock::new();

/// What `doctor` says of this kernel; none if nobody may ask.
fn report() -> Result<Option<&'static Value>> {
    if skip::needs_root(SUITE) {
        return Ok(None);
    }
    match REPORT.get_or_init(|| doctor().map_err(|error| format!("{error:#}"))) {
        Ok(report) => Ok(Some(report)),
        Err(words) => {
            let error = anyhow!("{words}");
            if skip::is_refused(SUITE, &error) { Ok(None) } else { Err(error) }
        }
    }
}

fn doctor() -> Result<Value> {
    let ended = programs::run(AGENT, ["doctor", "--json"])?.succeeded()?;
    let text = ended.text()?;
    serde_json::from_str(text).with_context(|| format!("not JSON: {text}"))
}

/// `(6, 12)` of `6.12.118+deb13-cloud-amd64`.
fn version(release: &str) -> Result<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => bail!("{release} is no kernel's release"),
    }
}

fn hooks(report: &Value) -> Result<&Vec<Value>> {
    report["hooks"].as_array().filter(|hooks| !hooks.is_empty()).context("no hooks in the report")
}

fn is_attached(report: &Value, name: &str) -> Result<bool> {
    let hook = hooks(report)?.iter().find(|hook| hook["name"] == name);
    let hook = hook.with_context(|| format!("doctor does not know {name}: {report:#}"))?;
    hook["attached"].as_bool().with_context(|| format!("{name} is neither attached nor not: {hook}"))
}

#[test]
fn the_sensor_hangs_on_all_that_this_kernel_has() -> Result<()> {
    let Some(report) = report()? else { return Ok(()) };
    let running = rustix::system::uname().release().to_string_lossy().into_owned();
    ensure!(report["kernel"] == running.as_str(), "on {running} doctor speaks of {}", report["kernel"]);
    for name in ALWAYS {
        ensure!(is_attached(report, name)?, "{name} is not attached: {report:#}");
    }
    let since = version(&running)? >= INODE_TIME_SINCE;
    for name in INODE_TIME {
        ensure!(is_attached(report, name)? == since, "{name} on {running}: {report:#}");
    }
    Ok(())
}

/// Half of what the verifier follows at most (BPF_COMPLEXITY_LIMIT_INSNS): a build that fills more leaves no room for the
/// next change, nor for the next kernel's way of counting.
const VERIFIED: u64 = 500_000;

/// The first kernel that says how much it followed.
const VERIFIED_SINCE: (u32, u32) = (5, 16);

#[test]
fn no_program_fills_more_than_half_of_the_verifiers_patience() -> Result<()> {
    let Some(report) = report()? else { return Ok(()) };
    let says = version(report["kernel"].as_str().unwrap_or_default())? >= VERIFIED_SINCE;
    for hook in hooks(report)?.iter().filter(|hook| hook["attached"] == true) {
        let verified = hook["verified"].as_u64();
        ensure!(verified.is_some() == says, "{hook}");
        ensure!(verified.is_none_or(|verified| verified <= VERIFIED), "{hook}");
    }
    Ok(())
}

/// The first kernel with bpf_rdonly_cast.
const CASTS_SINCE: (u32, u32) = (6, 2);

#[test]
fn what_the_kernel_lets_be_loaded_is_not_asked_for() -> Result<()> {
    let Some(report) = report()? else { return Ok(()) };
    if version(report["kernel"].as_str().unwrap_or_default())? < CASTS_SINCE {
        return Ok(());
    }
    for hook in hooks(report)? {
        let slower = hook["remark"].as_str().is_some_and(|remark| remark.contains("its memory"));
        ensure!(!slower, "{hook}");
    }
    Ok(())
}

/// The first kernel on which functions of the VFS tell which inodes change; the inode-time tracepoints came with [`INODE_TIME_SINCE`].
const FUNCTIONS: (u32, u32) = (5, 15);

#[test]
fn on_each_kernel_something_tells_which_inodes_change() -> Result<()> {
    let Some(report) = report()? else { return Ok(()) };
    let expected = match version(report["kernel"].as_str().unwrap_or_default())? {
        kernel if kernel >= INODE_TIME_SINCE => "inode-time tracepoints",
        kernel if kernel >= FUNCTIONS => "functions of the VFS",
        _ => "nothing",
    };
    ensure!(report["witness"] == expected, "{expected} expected: {report:#}");
    Ok(())
}

/// What is attached runs when what it hangs on is done. The last are gone through only on file systems that this one may
/// not be.
const BY_KIND: [&str; 5] =
    ["file_update_time", "file_modified", "kiocb_modified", "ctime_ns_xchg", "ctime_xchg_skip"];

#[test]
fn what_is_attached_runs() -> Result<()> {
    let Some(report) = report()? else { return Ok(()) };
    ensure!(report["canary_failed"].is_null(), "{report:#}");
    ensure!(report["open_maps"] == Value::Array(Vec::new()), "{report:#}");
    for hook in hooks(report)?.iter().filter(|hook| hook["attached"] == true) {
        let name = hook["name"].as_str().unwrap_or_default();
        let untried = hook["canary"].is_null() && BY_KIND.contains(&name);
        ensure!(hook["canary"] == "ran" || untried, "{hook}");
    }
    Ok(())
}

#[test]
fn what_is_not_attached_says_why_and_what_is_not_seen() -> Result<()> {
    let Some(report) = report()? else { return Ok(()) };
    let mut names = hooks(report)?.iter().filter_map(|hook| hook["name"].as_str());
    ensure!(names.any(|name| name.starts_with(IO_URING)), "nothing of io_uring: {report:#}");
    for hook in hooks(report)? {
        let says = |key: &str| hook[key].as_str().is_some_and(|text| !text.trim().is_empty());
        ensure!(says("name") && says("without_it"), "{hook}");
        ensure!(hook["attached"] == true || says("reason"), "no reason: {hook}");
        ensure!(
            hook["attached"] == false || hook["reason"].is_null(),
            "attached, with a reason not to be: {hook}"
        );
    }
    Ok(())
}

/// Calls that change nothing, or are seen elsewhere, with the reasons at its top.
const UNLISTED: &str = include_str!("../../ebpf/abi/src/syscalls/unlisted.txt");

/// Handlers that do not have the names of their calls.
const OTHERWISE: [(&str, &str); 8] = [
    ("newstat", "stat"),
    ("newlstat", "lstat"),
    ("newfstat", "fstat"),
    ("newuname", "uname"),
    ("llseek", "_llseek"),
    ("mmap_pgoff", "mmap2"),
    ("oldumount", "umount"),
    ("old_readdir", "readdir"),
];

/// Calls of other processors, and parts of calls that have several: every kernel has their names (kernel/sys_ni.c).
const ELSEWHERE: [&str; 18] = [
    "gethostname",
    "old_getrlimit",
    "old_msgctl",
    "old_semctl",
    "old_shmctl",
    "pciconfig_iobase",
    "pciconfig_read",
    "pciconfig_write",
    "recv",
    "send",
    "rtas",
    "s390_ipc",
    "s390_pci_mmio_read",
    "s390_pci_mmio_write",
    "spu_create",
    "spu_run",
    "subpage_prot",
    "sync_file_range2",
];

/// The name of the call that a handler serves, as the headers have it.
fn call_of(handler: &str) -> &str {
    if let Some((_, call)) = OTHERWISE.iter().find(|(name, _)| *name == handler) {
        return call;
    }
    let handler = handler.strip_prefix("ia32_").unwrap_or(handler);
    let old = ["_time32", "32", "16"].iter().find_map(|end| handler.strip_suffix(end));
    old.unwrap_or(handler)
}

#[test]
fn each_call_that_this_kernel_has_is_in_a_table_or_known_to_need_none() -> Result<()> {
    let types = match std::fs::read("/sys/kernel/btf/vmlinux") {
        Ok(types) => types,
        Err(error) => {
            skip::say(&format!("{SUITE}::btf"), &error.to_string());
            return Ok(());
        }
    };
    let handlers = types.split(|byte| *byte == 0).filter_map(|name| name.strip_prefix(b"__x64_sys_"));
    let handlers: BTreeSet<&str> = handlers.filter_map(|name| std::str::from_utf8(name).ok()).collect();
    ensure!(handlers.len() > 300, "only {} calls", handlers.len());
    let unlisted = UNLISTED.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace);
    let listed = [NATIVE, COMPAT, X32].into_iter().flatten().map(|(_, _, name)| *name);
    let known: BTreeSet<&str> = unlisted.chain(listed).chain(ELSEWHERE).collect();
    let is_known = |handler: &&&str| known.contains(**handler) || known.contains(call_of(handler));
    let open: Vec<_> = handlers.iter().filter(|handler| !is_known(handler)).collect();
    ensure!(open.is_empty(), "neither in a table nor in unlisted.txt: {open:?}");
    Ok(())
}
