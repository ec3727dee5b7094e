//! Which program hangs on what, what each is needed for, and the order of loading.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use aya::programs::fentry::FEntryLink;
use aya::programs::fexit::FExitLink;
use aya::programs::tp_btf::BtfTracePointLink;
use aya::programs::trace_point::TracePointLink;
use aya::programs::{BtfTracePoint, FEntry, FExit, Program, ProgramError, RawTracePoint, TracePoint};
use aya::{Btf, Ebpf, EbpfLoader};
use zerocopy::IntoBytes;

use super::SensorError;
use super::cast::{self, Cast};
use super::offsets::{self, Known};

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
    /// What is to be seen: mostly the tracepoint's name.
    pub name: &'static str,
    /// The program that sees it.
    pub program: &'static str,
    /// Why it is not attached; none when it is.
    pub refused: Option<String>,
    /// What is weaker than it could be, and the remedy.
    pub remark: Option<String>,
    /// What is not seen without it.
    pub without: &'static str,
}

/// What a program hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    /// The BTF tracepoint of the program's own name.
    Btf,
    /// A classic tracepoint: category and name.
    Classic(&'static str, &'static str),
    /// The end of this function.
    End(&'static str),
    /// The beginning of this function; the second program hangs on its end.
    Around(&'static str, &'static str),
}

/// A thing to be seen, and the programs that can see it, best first.
pub(super) struct Wanted {
    name: &'static str,
    programs: &'static [(&'static str, On)],
    required: Required,
    without: &'static str,
}

const fn wanted(
    name: &'static str,
    programs: &'static [(&'static str, On)],
    without: &'static str,
) -> Wanted {
    Wanted { name, programs, required: Required::No, without }
}

const fn required(
    name: &'static str,
    programs: &'static [(&'static str, On)],
    without: &'static str,
) -> Wanted {
    Wanted { name, programs, required: Required::Yes, without }
}

/// Everything, in the order of attaching. `sys_exit` comes before the inode-time tracepoints: it uses up what they
/// note, and what they noted before it was there would be taken for a part of the thread's next call.
static WANTED: [Wanted; 9] = [
    required("sched_process_fork", &[("sched_process_fork", On::Btf)], "who started whom"),
    required("sched_process_exec", &[("sched_process_exec", On::Btf)], "which programs run"),
    required("sched_process_exit", &[("sched_process_exit", On::Btf)], "when programs end"),
    required("sys_exit", &[("sys_exit", On::Btf)], "who changed what by which call"),
    wanted(
        "ctime_ns_xchg",
        &[("ctime_ns_xchg", On::Btf)],
        "changes outside the known system calls, and which inode a call changed (outcome is `reported`)",
    ),
    wanted(
        "ctime_xchg_skip",
        &[("ctime_xchg_skip", On::Btf)],
        "repeated changes within one clock tick outside the known system calls",
    ),
    wanted(
        "inode_set_ctime_to_ts",
        &[("inode_set_ctime_to_ts", On::Btf)],
        "which inode a call changed on file systems without multigrain times (outcome is `reported`)",
    ),
    wanted(
        "io_uring",
        &[("io_uring_submit_req", On::Btf), ("io_uring_submit_sqe", On::Btf)],
        "what requests of io_uring ask for",
    ),
    wanted("signal_generate", &[("signal_generate", On::Btf)], "who sends signals to the agent"),
];

/// Where the kernel has no inode-time tracepoints, these functions say which inodes a call changes: all of them or none, see
/// [`together`]. Without them the outcome is `reported` and the name the caller's.
static FUNCTIONS: [Wanted; 14] = [
    wanted(
        "vfs_unlink",
        &[("vfs_unlink", On::Around("vfs_unlink", "vfs_unlink_end"))],
        "which file `unlink` removed",
    ),
    wanted(
        "vfs_rmdir",
        &[("vfs_rmdir", On::Around("vfs_rmdir", "vfs_rmdir_end"))],
        "which directory `rmdir` removed",
    ),
    wanted(
        "vfs_rename",
        &[("vfs_rename", On::Around("vfs_rename", "vfs_rename_end"))],
        "what `rename` moved",
    ),
    wanted("vfs_mkdir", &[("vfs_mkdir", On::End("vfs_mkdir"))], "which directory `mkdir` made"),
    wanted("vfs_create", &[("vfs_create", On::End("vfs_create"))], "which file `mknod` made"),
    wanted("vfs_mknod", &[("vfs_mknod", On::End("vfs_mknod"))], "which node or socket was made"),
    wanted("vfs_symlink", &[("vfs_symlink", On::End("vfs_symlink"))], "which link `symlink` made"),
    wanted("vfs_link", &[("vfs_link", On::End("vfs_link"))], "which file `link` gave another name"),
    wanted(
        "notify_change",
        &[("notify_change", On::End("notify_change"))],
        "whose mode, owner, times or size was set",
    ),
    wanted(
        "vfs_setxattr",
        &[("vfs_setxattr", On::End("__vfs_setxattr_noperm"))],
        "whose extended attributes were set",
    ),
    wanted("vfs_set_acl", &[("vfs_set_acl", On::End("vfs_set_acl"))], "whose access control list was set"),
    wanted(
        "vfs_remove_acl",
        &[("vfs_remove_acl", On::End("vfs_remove_acl"))],
        "whose access control list was removed",
    ),
    wanted(
        "vfs_fileattr_set",
        &[("vfs_fileattr_set", On::End("vfs_fileattr_set"))],
        "whose inode flags were set",
    ),
    wanted(
        "vfs_removexattr",
        &[("vfs_removexattr", On::End("__vfs_removexattr_locked"))],
        "whose extended attributes were removed",
    ),
];

/// From 7.0 on a BTF tracepoint program is skipped when it is entered again on a CPU after a preemption; one on the
/// classic tracepoint is not. What is skipped all the same is counted.
const UNSKIPPED: [(&str, On); 2] =
    [("sys_exit_classic", On::Classic("raw_syscalls", "sys_exit")), ("sys_exit", On::Btf)];

/// See [`UNSKIPPED`].
const UNSKIPPED_FROM: Version = Version(7, 0);

/// Between these the arguments of io_uring's tracepoint changed with each release.
const IO_URING_UNSETTLED: std::ops::Range<Version> = Version(5, 12)..Version(6, 1);

/// Before, an access control list is set as an extended attribute.
const ACL_FROM: Version = Version(6, 2);

/// Everything on this kernel. `functions`: it has no inode-time tracepoints.
fn all(kernel: Version, functions: bool) -> impl Iterator<Item = &'static Wanted> {
    let is_there =
        move |wanted: &&Wanted| functions && (kernel >= ACL_FROM || !wanted.name.ends_with("_acl"));
    WANTED.iter().chain(FUNCTIONS.iter().filter(is_there))
}

/// The programs for a thing on this kernel.
fn programs(wanted: &Wanted, kernel: Version) -> &'static [(&'static str, On)] {
    if wanted.name == "io_uring" && IO_URING_UNSETTLED.contains(&kernel) {
        return &wanted.programs[..1];
    }
    if wanted.name == "sys_exit" && kernel >= UNSKIPPED_FROM { &UNSKIPPED } else { wanted.programs }
}

/// Programs that are only run on request.
const ON_REQUEST: [&str; 2] = ["resolve", "shape"];

/// What was loaded.
pub(super) struct Loaded {
    pub(super) ebpf: Ebpf,
    /// The kernel has the inode-time tracepoints.
    pub(super) witnessed: bool,
    /// It has not, and functions of the VFS may tell instead.
    pub(super) functions: bool,
    pub(super) kernel: Version,
    /// Why the kernel's memory is read by helpers, though this kernel could let it be loaded, and the remedy.
    pub(super) uncast: Option<String>,
    /// Why the kernel did not take the code of a program that can be done without: of each.
    refused: Vec<String>,
}

/// Loads the object's maps, data and programs. The kernel's refusals are told apart here.
pub(super) fn load() -> Result<Loaded, SensorError> {
    if !rustix::process::geteuid().is_root() {
        return Err(SensorError::NotRoot);
    }
    let kernel = Version::running();
    let known = offsets::of_running_kernel()?;
    let loaded = load_with(kernel, &known, known.cast);
    let why = match &loaded {
        Ok(loaded) => loaded.refused.first().cloned(),
        Err(error) => code_refused(error),
    };
    // Calls of kernel functions need the JIT, which may be off: then memory is read as on older kernels.
    let Some(why) = why.filter(|_| known.cast.is_some()) else { return loaded };
    match (loaded, load_with(kernel, &known, None)) {
        // What is refused either way has another reason.
        (Ok(cast), Ok(plain)) if plain.refused.len() >= cast.refused.len() => Ok(cast),
        (Ok(cast), Err(_)) => Ok(cast),
        (_, plain) => Ok(Loaded { uncast: Some(why), ..plain? }),
    }
}

/// The same, with that cast or none.
fn load_with(kernel: Version, known: &Known, cast: Option<Cast>) -> Result<Loaded, SensorError> {
    // Atomics that return a value came with 5.12.
    let whole = kernel >= Version(5, 12);
    let witnessed = whole && known.witnessed;
    let object = if whole { super::OBJECT } else { super::OBJECT_COUNTED };
    let words = cast.map_or(0, |cast| cast.words);
    let mut ebpf = EbpfLoader::new()
        .override_global("OFFSETS", known.offsets.as_bytes(), true)
        // The object for old kernels has no use for it.
        .override_global("INODE_LEAVING", &known.inode_leaving, whole)
        .override_global("WORDS", &words, whole)
        .override_global("WITNESSED", &u32::from(witnessed), whole)
        .load(&cast::put_into(object, cast))
        .map_err(load_error)?;
    for name in ON_REQUEST {
        let program: &mut RawTracePoint = program(&mut ebpf, name)?;
        program.load().map_err(|source| program_error(name, source))?;
    }
    let functions = whole && !witnessed;
    let refused = load_wanted(&mut ebpf, kernel, functions)?;
    Ok(Loaded { ebpf, witnessed, functions, kernel, uncast: None, refused })
}

/// The verifier takes its time: all programs are loaded before the first is attached, so that they begin together.
/// What can be done without may be refused, which [`attach`] says; here only that its code was.
fn load_wanted(ebpf: &mut Ebpf, kernel: Version, functions: bool) -> Result<Vec<String>, SensorError> {
    let btf = kernel_btf()?;
    let mut refused = Vec::new();
    for wanted in all(kernel, functions) {
        let loaded = first(programs(wanted, kernel), |(name, on)| {
            let loaded = load_one(ebpf, &btf, name, on);
            refused.extend(loaded.as_ref().err().and_then(code_refused));
            loaded
        });
        if wanted.required == Required::Yes {
            loaded?;
        }
    }
    Ok(refused)
}

fn kernel_btf() -> Result<Btf, SensorError> {
    Btf::from_sys_fs().map_err(|_| SensorError::Btf)
}

/// The kernel's words, and the remedy, when it did not take a program's code: not when it lacks what the program hangs
/// on, nor when this process lacks rights.
fn code_refused(error: &SensorError) -> Option<String> {
    let SensorError::Program { source, .. } = error else { return None };
    if !matches!(**source, ProgramError::LoadError { .. }) {
        return None;
    }
    // The verifier's own words fill lines.
    let why = reason(error).lines().next().unwrap_or_default().to_owned();
    let jit = std::fs::read_to_string("/proc/sys/net/core/bpf_jit_enable").unwrap_or_default();
    Some(why + remedy(errno(error), jit.trim()))
}

/// ENOTSUPP (include/linux/errno.h), which has no name outside the kernel: what add_kfunc_call says without the JIT.
const NOT_SUPPORTED: i32 = 524;

/// What helps against a refusal with this error, where the JIT is set so.
fn remedy(code: Option<i32>, jit: &str) -> &'static str {
    match code == Some(NOT_SUPPORTED) || jit == "0" {
        true => ": turn the BPF JIT on, sysctl net.core.bpf_jit_enable=1",
        false => "",
    }
}

/// Major and minor of the running kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(u32, u32);

impl Version {
    fn running() -> Self {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        // A release that is no number is a kernel newer than all rules here.
        Self::parse(&release).unwrap_or(Self(u32::MAX, 0))
    }

    fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(['.', '-']);
        Some(Self(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }
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

/// What keeps a program attached.
#[derive(Debug)]
pub(super) enum Link {
    Btf {
        _link: BtfTracePointLink,
    },
    Classic {
        _link: TracePointLink,
    },
    End {
        _link: FExitLink,
    },
    /// Let go in this order.
    Around {
        _begin: FEntryLink,
        _end: FExitLink,
    },
}

/// Attaches all; what is not required may be refused, with the reason kept.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    kernel: Version,
    functions: bool,
) -> Result<(Vec<Hook>, Vec<Link>), SensorError> {
    let btf = kernel_btf()?;
    // What is loaded stays; of what was refused it is asked again, why.
    let choose = |wanted| {
        let loaded =
            first(programs(wanted, kernel), |(name, on)| load_one(ebpf, &btf, name, on).map(|()| (name, on)));
        (wanted, loaded)
    };
    let chosen: Vec<_> = all(kernel, functions).map(choose).collect();
    let mut hooks = Vec::new();
    let mut links = Vec::new();
    for (wanted, loaded) in chosen {
        let mut remark = None;
        let attached = loaded.and_then(|(name, on)| Ok((name, attach_one(ebpf, name, on)?)));
        let attached = match attached {
            Err(error) if wanted.name == "sys_exit" && kernel >= UNSKIPPED_FROM => {
                remark = Some(format!(
                    "the classic tracepoint cannot be used ({}), so the kernel may skip runs, which are counted as lost: mount tracefs at /sys/kernel/tracing",
                    reason(&error)
                ));
                // The same code as the other's, which the kernel took.
                load_one(ebpf, &btf, "sys_exit", On::Btf)?;
                attach_one(ebpf, "sys_exit", On::Btf).map(|link| ("sys_exit", link))
            }
            attached => attached,
        };
        let (program, refused) = match (attached, wanted.required) {
            (Ok((program, link)), _) => {
                links.push(link);
                (program, None)
            }
            (Err(error), Required::Yes) => return Err(error),
            (Err(error), Required::No) => (wanted.name, Some(reason(&error))),
        };
        hooks.push(Hook { name: wanted.name, program, refused, remark, without: wanted.without });
    }
    together(&mut hooks, &mut links);
    Ok((hooks, links))
}

/// The functions are used together or not at all: what one that is missing does to an overlay would be taken for what the
/// others see of its layers.
fn together(hooks: &mut [Hook], links: &mut Vec<Link>) {
    let missing = hooks.iter().find(|hook| is_function(hook) && hook.refused.is_some());
    let Some(missing) = missing.map(|hook| hook.name) else { return };
    links.retain(|link| matches!(link, Link::Btf { .. } | Link::Classic { .. }));
    for hook in hooks.iter_mut().filter(|hook| is_function(hook) && hook.refused.is_none()) {
        hook.refused = Some(format!("it is used together with {missing} only"));
    }
}

/// The first that succeeds; else the first one's error.
fn first<T>(
    programs: &'static [(&'static str, On)],
    mut take: impl FnMut((&'static str, On)) -> Result<T, SensorError>,
) -> Result<T, SensorError> {
    let mut refused = None;
    for program in programs {
        match take(*program) {
            Ok(taken) => return Ok(taken),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    Err(refused.unwrap_or(SensorError::Missing("program")))
}

fn load_one(ebpf: &mut Ebpf, btf: &Btf, name: &'static str, on: On) -> Result<(), SensorError> {
    match on {
        On::Btf => {
            let program: &mut BtfTracePoint = program(ebpf, name)?;
            if program.fd().is_ok() {
                return Ok(());
            }
            program.load(name, btf).map_err(|source| program_error(name, source))
        }
        On::Classic(..) => {
            let program: &mut TracePoint = program(ebpf, name)?;
            if program.fd().is_ok() {
                return Ok(());
            }
            program.load().map_err(|source| program_error(name, source))
        }
        On::End(function) => {
            let program: &mut FExit = program(ebpf, name)?;
            if program.fd().is_ok() {
                return Ok(());
            }
            program.load(function, btf).map_err(|source| program_error(name, source))
        }
        On::Around(function, end) => {
            load_one(ebpf, btf, end, On::End(function))?;
            let program: &mut FEntry = program(ebpf, name)?;
            if program.fd().is_ok() {
                return Ok(());
            }
            program.load(function, btf).map_err(|source| program_error(name, source))
        }
    }
}

fn attach_one(ebpf: &mut Ebpf, name: &'static str, on: On) -> Result<Link, SensorError> {
    match on {
        On::Btf => {
            let program: &mut BtfTracePoint = program(ebpf, name)?;
            let link = program.attach().map_err(|source| program_error(name, source))?;
            let link = program.take_link(link).map_err(|source| program_error(name, source))?;
            Ok(Link::Btf { _link: link })
        }
        On::Classic(category, tracepoint) => {
            let program: &mut TracePoint = program(ebpf, name)?;
            let link = program.attach(category, tracepoint).map_err(|source| program_error(name, source))?;
            let link = program.take_link(link).map_err(|source| program_error(name, source))?;
            Ok(Link::Classic { _link: link })
        }
        On::End(_) => Ok(Link::End { _link: attach_end(ebpf, name)? }),
        On::Around(_, end) => {
            // What the beginning notes the end may have to take back.
            let end = attach_end(ebpf, end)?;
            let program: &mut FEntry = program(ebpf, name)?;
            let link = program.attach().map_err(|source| program_error(name, source))?;
            let link = program.take_link(link).map_err(|source| program_error(name, source))?;
            Ok(Link::Around { _begin: link, _end: end })
        }
    }
}

fn attach_end(ebpf: &mut Ebpf, name: &'static str) -> Result<FExitLink, SensorError> {
    let program: &mut FExit = program(ebpf, name)?;
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

/// `recursion_misses` from the fdinfo of each attached program (bpf_prog_show_fdinfo).
pub(super) fn skipped(ebpf: &Ebpf, hooks: &[Hook]) -> Vec<(&'static str, u64)> {
    let of = |hook: &Hook| {
        let misses = programs_of(hook).filter_map(|program| misses(ebpf.program(program)?));
        misses.reduce(u64::saturating_add).map(|sum| (hook.name, sum))
    };
    hooks.iter().filter(|hook| hook.refused.is_none()).filter_map(of).collect()
}

/// Is it one of the functions that say which inodes a call changes?
pub(super) fn is_function(hook: &Hook) -> bool {
    FUNCTIONS.iter().any(|wanted| wanted.name == hook.name)
}

/// Its program, and the one that hangs on the same function's end.
fn programs_of(hook: &Hook) -> impl Iterator<Item = &'static str> {
    let around = FUNCTIONS.iter().flat_map(|wanted| wanted.programs).find(|(name, _)| *name == hook.program);
    let end = match around {
        Some((_, On::Around(_, end))) => Some(*end),
        _ => None,
    };
    std::iter::once(hook.program).chain(end)
}

fn misses(program: &Program) -> Option<u64> {
    let fd = match program {
        Program::BtfTracePoint(program) => program.fd(),
        Program::TracePoint(program) => program.fd(),
        Program::FEntry(program) => program.fd(),
        Program::FExit(program) => program.fd(),
        _ => return None,
    };
    let fd = fd.ok()?.as_fd().as_raw_fd();
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
    let misses = text.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?;
    misses.trim().parse().ok()
}

/// Instructions that the verifier followed before it took a program, of 1,000,000 that it follows at most; none before
/// Linux 5.16, which does not say.
pub(super) fn verified(ebpf: &Ebpf, hook: &Hook) -> Option<u32> {
    let info = match ebpf.program(hook.program)? {
        Program::BtfTracePoint(program) => program.info(),
        Program::TracePoint(program) => program.info(),
        Program::FEntry(program) => program.info(),
        Program::FExit(program) => program.info(),
        _ => return None,
    };
    info.ok()?.verified_instruction_count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_all_distributions_compare() {
        let of = |release| Version::parse(release);
        assert_eq!(of("5.10.0-46-cloud-amd64"), Some(Version(5, 10)));
        assert_eq!(of("6.18.44-fc-v669"), Some(Version(6, 18)));
        assert_eq!(of("7.0-rc3"), Some(Version(7, 0)));
        assert!(of("5.10.1") < of("5.12.0") && of("6.18.1") < of("7.0.0"));
    }

    #[test]
    fn the_jit_is_the_remedy_where_it_is_off_or_asked_for_and_nowhere_else() {
        assert_eq!(remedy(Some(13), "1"), "");
        assert_eq!(remedy(None, ""), "", "it cannot be read");
        assert!(remedy(Some(NOT_SUPPORTED), "1").contains("bpf_jit_enable"));
        assert!(remedy(Some(22), "0").contains("bpf_jit_enable"));
    }

    #[test]
    fn what_is_no_refusal_of_code_is_not_tried_without_casts() {
        assert_eq!(code_refused(&program_error("resolve", ProgramError::NotLoaded)), None);
        assert_eq!(code_refused(&SensorError::Btf), None);
    }
}
