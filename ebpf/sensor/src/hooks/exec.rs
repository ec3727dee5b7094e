//! `exec`: a program was started.
//!
//! From `sched_process_exec`, which fires once the new program is in place: a failed execve and
//! AT_EXECVE_CHECK do not. argv is read from `mm.arg_start`: the pages were just written, and no other
//! thread exists that could rewrite them.
//!
//! What it misses: for a script `mm.exe_file` is the last interpreter, `bprm.interp` the name it was called by and
//! `bprm.filename` the script's name; what stood between in a chain of interpreters is in argv only.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use graven_abi::event::exec::Exec;
use graven_abi::header::{ExecKey, kind, ring};
use graven_abi::limits::ARGUMENTS;
use graven_abi::path::{Path, flag};

use crate::emit::emit;
use crate::kernel::dentry::{append_path, path_of};
use crate::kernel::file::{self, File, Opened};
use crate::kernel::offset::offset;
use crate::kernel::read::{Typed, at, copy};
use crate::kernel::scratch::{Scratch, owner};
use crate::kernel::task;
use crate::place;

/// trace_sched_process_exec(task, old_pid, bprm)
#[btf_tracepoint(function = "sched_process_exec")]
pub fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
    let current = ctx.arg::<*const u8>(0) as u64;
    let program = ctx.arg::<*const u8>(2) as u64;
    let Some(scratch) = Scratch::begin_outside(owner::EXEC) else { return 0 };
    let mm = task::mm(current);
    executable(scratch, File(at(mm + offset!(mm_exe_file))));
    let cwd = directory(scratch);
    let called_as = scratch.append_kernel_path(at(program + offset!(bprm_filename)));
    let interpreter = scratch.append_kernel_path(at(program + offset!(bprm_interp)));
    let start: u64 = at(mm + offset!(mm_arg_start));
    let length = at::<u64>(mm + offset!(mm_arg_end)).saturating_sub(start);
    let arguments = scratch.append_user_bytes(start, length);
    let now = task::exec_key(Typed(ctx.arg::<*const u8>(0)));
    let (_, event) = scratch.record::<Exec>();
    event.before = ExecKey { exec: now.exec.wrapping_sub(1), ..now };
    event.cwd = cwd;
    event.called_as = called_as as u16;
    event.interpreter = interpreter as u16;
    event.padding = 0;
    event.arguments = arguments;
    event.arguments_cut = (length > ARGUMENTS as u64).into();
    emit::<Exec>(scratch, kind::EXEC, ring::LIFE);
    0
}

/// The current directory: what a relative name and relative arguments start from.
#[inline(always)]
fn directory(scratch: &mut Scratch) -> Path {
    let (dentry, mount) = file::base(scratch, file::AT_FDCWD);
    scratch.begin_path();
    path_of(append_path(scratch.owner(), dentry), flag::MOUNT, mount)
}

#[inline(always)]
fn executable(scratch: &mut Scratch, file: File) {
    let Opened { inode, dentry, mount, .. } = file.read(scratch);
    place::describe(scratch.owner(), inode, dentry);
    let facts = scratch.facts();
    facts.path.flags |= flag::FILE | flag::MOUNT;
    facts.path.mount = file::mount_id(mount);
    let (_, event) = scratch.record::<Exec>();
    copy(&mut event.file, scratch.facts());
}
