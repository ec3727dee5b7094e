//! `exec`: a program was started.
//!
//! From `sched_process_exec`, which fires once the new program is in place: a failed execve and
//! AT_EXECVE_CHECK do not. argv is read from `mm.arg_start`: the pages were just written, and no other
//! thread exists that could rewrite them.
//!
//! What it misses: for a script `mm.exe_file` is the last interpreter; the script is in `bprm.filename` and
//! in argv.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use graven_abi::event::exec::Exec;
use graven_abi::header::{ExecKey, kind, ring};
use graven_abi::limits::ARGUMENTS;
use graven_abi::path::{Path, flag};

use crate::emit::emit;
use crate::kernel::dentry::{Dentry, append_path};
use crate::kernel::file::File;
use crate::kernel::inode::Inode;
use crate::kernel::offset::offset;
use crate::kernel::read::at;
use crate::kernel::scratch::{Scratch, owner};
use crate::kernel::task;

/// trace_sched_process_exec(task, old_pid, bprm)
#[btf_tracepoint(function = "sched_process_exec")]
pub fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
    let current = ctx.arg::<*const u8>(0) as u64;
    let program = ctx.arg::<*const u8>(2) as u64;
    let Some(scratch) = Scratch::begin(owner::EXEC) else { return 0 };
    let mm = task::mm(current);
    executable(scratch, File(at(mm + offset!(mm_exe_file))));
    let called_as = scratch.append_kernel_path(at(program + offset!(bprm_filename)));
    let start: u64 = at(mm + offset!(mm_arg_start));
    let length = at::<u64>(mm + offset!(mm_arg_end)).saturating_sub(start);
    let arguments = scratch.append_user_bytes(start, length);
    let now = task::exec_key(current);
    let (_, event) = scratch.record::<Exec>();
    event.before = ExecKey { exec: now.exec.wrapping_sub(1), ..now };
    event.called_as = called_as as u16;
    event.arguments = arguments;
    event.arguments_cut = (length > ARGUMENTS as u64).into();
    emit::<Exec>(scratch, kind::EXEC, ring::LIFE, current);
    0
}

#[inline(always)]
fn executable(scratch: &mut Scratch, file: File) {
    let dentry = Dentry(file.dentry());
    let mut path = Path { mount: file.mount_id(), flags: flag::FILE | flag::MOUNT, ..Path::default() };
    if dentry.unhashed() {
        path.flags |= flag::UNHASHED;
    }
    scratch.begin_path();
    append_path(scratch, dentry, &mut path);
    let (_, event) = scratch.record::<Exec>();
    Inode(file.inode()).describe(&mut event.file);
    event.file.path = path;
    event.file.base = Path::default();
}
