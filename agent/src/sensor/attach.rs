//! Which program hangs on what, what each is needed for, and the order of loading.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use aya::programs::tp_btf::BtfTracePointLink;
use aya::programs::{BtfTracePoint, Program, ProgramError, RawTracePoint};
use aya::{Btf, Ebpf, EbpfLoader};
use zerocopy::IntoBytes;

use super::{SensorError, offsets};

/// Can the sensor do without it?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Required {
    /// No: without it there is nothing to say.
    Yes,
    /// Yes, but records are weaker: what is missing is said in the start record and by `doctor`.
    No,
}

/// One program.
#[derive(Clone, Debug)]
pub struct Hook {
    /// The tracepoint.
    pub name: &'static str,
    /// Why it is not attached; none when it is.
    pub refused: Option<String>,
    /// What is not seen without it.
    pub without: &'static str,
}

/// Every attached program, in the order of attaching: all are BTF tracepoints of the same name as the program.
/// `sys_exit` comes before the inode-time tracepoints: it uses up what they note, and what they noted before
/// it was there would be taken for a part of the thread's next call.
pub(super) const HOOKS: [(&str, Required, &str); 8] = [
    ("sched_process_fork", Required::Yes, "who started whom"),
    ("sched_process_exec", Required::Yes, "which programs run"),
    ("sched_process_exit", Required::Yes, "when programs end"),
    ("sys_exit", Required::Yes, "who changed what by which call"),
    (
        "ctime_ns_xchg",
        Required::No,
        "changes outside the known system calls, and which inode a call changed (outcome is `reported`)",
    ),
    (
        "ctime_xchg_skip",
        Required::No,
        "repeated changes within one clock tick outside the known system calls",
    ),
    (
        "inode_set_ctime_to_ts",
        Required::No,
        "which inode a call changed on file systems without multigrain times (outcome is `reported`)",
    ),
    ("io_uring_submit_req", Required::No, "that a process uses io_uring"),
];

/// Programs that are only run on request.
const ON_REQUEST: [&str; 2] = ["resolve", "shape"];

/// Loads the object's maps and data. The kernel's refusals are told apart here.
pub(super) fn load() -> Result<Ebpf, SensorError> {
    if !rustix::process::geteuid().is_root() {
        return Err(SensorError::NotRoot);
    }
    let known = offsets::of_running_kernel()?;
    let mut ebpf = EbpfLoader::new()
        .override_global("OFFSETS", known.offsets.as_bytes(), true)
        .override_global("INODE_LEAVING", &known.inode_leaving, true)
        .load(super::OBJECT)
        .map_err(load_error)?;
    for name in ON_REQUEST {
        let program: &mut RawTracePoint = program(&mut ebpf, name)?;
        program.load().map_err(|source| program_error(name, source))?;
    }
    Ok(ebpf)
}

fn load_error(error: aya::EbpfError) -> SensorError {
    match errno(&error) {
        Some(code) if code == rustix::io::Errno::PERM.raw_os_error() => SensorError::Refused {
            operation: "loading its maps".to_owned(),
            source: io::Error::from_raw_os_error(code),
        },
        Some(code) if code == rustix::io::Errno::INVAL.raw_os_error() && mentions_ring(&error) => {
            SensorError::NoRingBuffer
        }
        _ => SensorError::Load(Box::new(error)),
    }
}

fn mentions_ring(error: &aya::EbpfError) -> bool {
    let text = format!("{error:?}");
    ["LIFE", "PROTECTED", "ACTIVITY"].iter().any(|ring| text.contains(ring))
}

/// The first operating-system error in a chain of causes.
fn errno(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut cause = Some(error);
    while let Some(this) = cause {
        if let Some(code) = this.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(code);
        }
        cause = this.source();
    }
    None
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, SensorError>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    let program = ebpf.program_mut(name).ok_or(SensorError::Missing(name))?;
    program.try_into().map_err(|source| program_error(name, source))
}

fn program_error(name: &'static str, source: ProgramError) -> SensorError {
    match errno(&source) {
        Some(code) if code == rustix::io::Errno::PERM.raw_os_error() => SensorError::Refused {
            operation: format!("loading program {name}"),
            source: io::Error::from_raw_os_error(code),
        },
        _ => SensorError::Program { name, source: Box::new(source) },
    }
}

/// Attaches all; what is not required may be refused, with the reason kept.
pub(super) fn attach(ebpf: &mut Ebpf) -> Result<(Vec<Hook>, Vec<BtfTracePointLink>), SensorError> {
    let btf = Btf::from_sys_fs().map_err(|_| SensorError::Btf)?;
    // The verifier takes its time: all are loaded before the first is attached, so that they begin together.
    let loaded = HOOKS.map(|(name, _, _)| load_one(ebpf, &btf, name));
    let mut hooks = Vec::new();
    let mut links = Vec::new();
    for ((name, required, without), loaded) in HOOKS.into_iter().zip(loaded) {
        let refused = match (loaded.and_then(|()| attach_one(ebpf, name)), required) {
            (Ok(link), _) => {
                links.push(link);
                None
            }
            (Err(error), Required::Yes) => return Err(error),
            (Err(error), Required::No) => Some(reason(&error)),
        };
        hooks.push(Hook { name, refused, without });
    }
    Ok((hooks, links))
}

fn load_one(ebpf: &mut Ebpf, btf: &Btf, name: &'static str) -> Result<(), SensorError> {
    let program: &mut BtfTracePoint = program(ebpf, name)?;
    program.load(name, btf).map_err(|source| program_error(name, source))
}

fn attach_one(ebpf: &mut Ebpf, name: &'static str) -> Result<BtfTracePointLink, SensorError> {
    let program: &mut BtfTracePoint = program(ebpf, name)?;
    let link = program.attach().map_err(|source| program_error(name, source))?;
    program.take_link(link).map_err(|source| program_error(name, source))
}

/// An error with its causes, in one line.
fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(this) = cause {
        text = format!("{text}: {this}");
        cause = this.source();
    }
    text
}

/// `recursion_misses` from each program's fdinfo (bpf_prog_show_fdinfo).
pub(super) fn skipped(ebpf: &Ebpf) -> Vec<(&'static str, u64)> {
    let of = |name: &'static str| {
        let Some(Program::BtfTracePoint(program)) = ebpf.program(name) else { return None };
        let fd = program.fd().ok()?.as_fd().as_raw_fd();
        let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
        let misses = text.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?;
        Some((name, misses.trim().parse().ok()?))
    };
    HOOKS.iter().filter_map(|(name, _, _)| of(name)).collect()
}
