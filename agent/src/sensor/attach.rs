//! Loads the programs and attaches them, in the order of `wanted`.

use std::borrow::Cow;
use std::io;

use aya::programs::{BtfTracePoint, FEntry, FExit, Program, ProgramError, RawTracePoint, TracePoint};
use aya::{Btf, Ebpf, EbpfLoader};
use zerocopy::IntoBytes;

use super::SensorError;
use super::cast::{self, Cast};
use super::links::Link;
use super::offsets::{self, Known};
use super::runs::fd;
use super::wanted::{FUNCTIONS, On, Required, UNSKIPPED_FROM, Version, all, programs};

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

/// Programs that are only run on request.
const ON_REQUEST: [&str; 2] = ["resolve", "shape"];

/// What was loaded.
pub(super) struct Loaded {
    /// Which build.
    pub(super) object: &'static [u8],
    pub(super) ebpf: Ebpf,
    /// The kernel has the inode-time tracepoints.
    pub(super) witnessed: bool,
    /// It has not, and functions of the VFS may tell instead, with those of `LATER` that it has.
    pub(super) functions: Option<Vec<&'static str>>,
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

/// The first kernel with atomics that return a value: older ones have an object of their own.
const ATOMICS: Version = Version(5, 12);

/// The same, with that cast or none.
fn load_with(kernel: Version, known: &Known, cast: Option<Cast>) -> Result<Loaded, SensorError> {
    let whole = kernel >= ATOMICS;
    let witnessed = whole && known.witnessed;
    let object = match cast {
        _ if !whole => super::OBJECT_COUNTED,
        Some(_) => super::OBJECT_CAST,
        None => super::OBJECT,
    };
    let code = cast.map_or(Cow::Borrowed(object), |cast| cast::put_into(object, cast).into());
    let mut ebpf = EbpfLoader::new()
        .override_global("OFFSETS", known.offsets.as_bytes(), true)
        // The object for old kernels has no use for it.
        .override_global("INODE_LEAVING", &known.inode_leaving, whole)
        .override_global("WITNESSED", &u32::from(witnessed), whole)
        .load(&code)
        .map_err(load_error)?;
    for name in ON_REQUEST {
        let program: &mut RawTracePoint = program(&mut ebpf, name)?;
        program.load().map_err(|source| program_error(name, source))?;
    }
    let functions = (whole && !witnessed).then(|| known.later.clone());
    let refused = load_wanted(&mut ebpf, kernel, functions.as_deref())?;
    Ok(Loaded { object, ebpf, witnessed, functions, kernel, uncast: None, refused })
}

/// The verifier takes its time: all programs are loaded before the first is attached, so that they begin together.
/// What can be done without may be refused, which [`attach`] says; here only that its code was.
fn load_wanted(
    ebpf: &mut Ebpf,
    kernel: Version,
    functions: Option<&[&str]>,
) -> Result<Vec<String>, SensorError> {
    let btf = kernel_btf()?;
    let mut refused = Vec::new();
    for wanted in all(functions) {
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

pub(super) fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, SensorError>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    let program = ebpf.program_mut(name).ok_or(SensorError::Missing(name))?;
    program.try_into().map_err(|source| program_error(name, source))
}

pub(super) fn program_error(name: &'static str, source: ProgramError) -> SensorError {
    match errno(&source) {
        Some(code) if code == rustix::io::Errno::PERM.raw_os_error() => SensorError::Refused {
            operation: format!("loading program {name}"),
            source: io::Error::from_raw_os_error(code),
        },
        _ => SensorError::Program { name, source: Box::new(source) },
    }
}

/// Attaches all; what is not required may be refused, with the reason kept.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    kernel: Version,
    functions: Option<&[&str]>,
) -> Result<(Vec<Hook>, Vec<Link>), SensorError> {
    let btf = kernel_btf()?;
    // What is loaded stays; of what was refused it is asked again, why.
    let choose = |wanted| {
        let loaded =
            first(programs(wanted, kernel), |(name, on)| load_one(ebpf, &btf, name, on).map(|()| (name, on)));
        (wanted, loaded)
    };
    let chosen: Vec<_> = all(functions).map(choose).collect();
    let mut hooks = Vec::new();
    let mut links = Vec::new();
    for (wanted, loaded) in chosen {
        let mut remark = None;
        let attached = loaded.and_then(|(name, on)| Ok((name, Link::new(ebpf, wanted.name, name, on)?)));
        let attached = match attached {
            Err(error) if wanted.name == "sys_exit" && kernel >= UNSKIPPED_FROM => {
                remark = Some(format!(
                    "the classic tracepoint cannot be used ({}), so the kernel may skip runs, which are counted as lost: mount tracefs at /sys/kernel/tracing",
                    reason(&error)
                ));
                // The same code as the other's, which the kernel took.
                load_one(ebpf, &btf, "sys_exit", On::Btf)?;
                Link::new(ebpf, wanted.name, "sys_exit", On::Btf).map(|link| ("sys_exit", link))
            }
            attached => attached,
        };
        let (program, refused) = match (attached, wanted.required) {
            (Ok((program, link)), _) => {
                links.push(link);
                (program, None)
            }
            (Err(error), Required::Yes) => return Err(error),
            // The object for these has no programs for what came with later kernels.
            (Err(SensorError::Missing(_)), Required::No) if kernel < ATOMICS => {
                (wanted.name, Some("it came with a later kernel: use a newer one".to_owned()))
            }
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
    let missing = hooks.iter().find(|hook| is_function(hook.name) && hook.refused.is_some());
    let Some(missing) = missing.map(|hook| hook.name) else { return };
    links.retain(|link| !is_function(link.hook));
    for hook in hooks.iter_mut().filter(|hook| is_function(hook.name) && hook.refused.is_none()) {
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
    if ebpf.program(name).and_then(fd).is_some() {
        return Ok(());
    }
    match on {
        On::Btf => {
            let program: &mut BtfTracePoint = program(ebpf, name)?;
            program.load(name, btf).map_err(|source| program_error(name, source))
        }
        On::Classic(..) => {
            let program: &mut TracePoint = program(ebpf, name)?;
            program.load().map_err(|source| program_error(name, source))
        }
        On::Begin(function) => {
            let program: &mut FEntry = program(ebpf, name)?;
            program.load(function, btf).map_err(|source| program_error(name, source))
        }
        On::End(function) => {
            let program: &mut FExit = program(ebpf, name)?;
            program.load(function, btf).map_err(|source| program_error(name, source))
        }
        On::Around(function, end) => {
            load_one(ebpf, btf, end, On::End(function))?;
            let program: &mut FEntry = program(ebpf, name)?;
            program.load(function, btf).map_err(|source| program_error(name, source))
        }
    }
}

/// An error with its causes, in one line.
pub(super) fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(this) = cause {
        text = format!("{text}: {this}");
        cause = this.source();
    }
    text
}

/// Is it one of the functions that say which inodes a call changes?
pub(super) fn is_function(name: &str) -> bool {
    FUNCTIONS.iter().any(|wanted| wanted.name == name)
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
