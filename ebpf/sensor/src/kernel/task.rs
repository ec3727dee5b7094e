//! `struct task_struct`: who is running.

use aya_ebpf::helpers::bpf_get_current_cgroup_id;
use graven_abi::header::{ExecKey, Task, task_flag};

use super::offset::offset;
use super::read::{at, field, into};

/// TS_COMPAT of `thread_info.status`: the call came through the 32-bit entry.
const TS_COMPAT: u32 = 2;
/// PF_KTHREAD.
const PF_KTHREAD: u32 = 0x0020_0000;
/// PF_IO_WORKER and PF_USER_WORKER.
const PF_WORKER: u32 = 0x0000_0010 | 0x0000_4000;
/// SIGNAL_GROUP_EXIT of `signal_struct.flags`.
const SIGNAL_GROUP_EXIT: u32 = 4;

/// The current task. Its type is known to the verifier, but not before 5.11 (feature `counted`): there every
/// field is a probe read.
#[derive(Clone, Copy)]
pub struct Current(*const u8);

impl Current {
    #[cfg(not(feature = "counted"))]
    #[inline(always)]
    pub fn get() -> Self {
        // SAFETY: the helper has no preconditions.
        Self(unsafe { aya_ebpf::helpers::bpf_get_current_task_btf() }.cast())
    }

    #[cfg(feature = "counted")]
    #[inline(always)]
    pub fn get() -> Self {
        // SAFETY: the helper has no preconditions.
        Self(unsafe { aya_ebpf::helpers::bpf_get_current_task() } as *const u8)
    }

    #[cfg(not(feature = "counted"))]
    #[inline(always)]
    pub fn pointer(self) -> *mut u8 {
        self.0.cast_mut()
    }

    #[inline(always)]
    pub fn address(self) -> u64 {
        self.0 as u64
    }

    #[cfg(feature = "counted")]
    #[inline(always)]
    fn load(self, offset: u64) -> u32 {
        at(self.address() + offset)
    }

    #[cfg(not(feature = "counted"))]
    #[inline(always)]
    fn load(self, offset: u64) -> u32 {
        // SAFETY: a typed load; the verifier checks that the offset lies within struct task_struct.
        unsafe { self.0.add(offset as usize).cast::<u32>().read_volatile() }
    }

    /// Is this call one of the 32-bit entry?
    #[inline(always)]
    pub fn compat(self) -> bool {
        self.load(offset!(task_status)) & TS_COMPAT != 0
    }

    /// A kernel thread of its own.
    #[inline(always)]
    pub fn kernel_thread(self) -> bool {
        self.load(offset!(task_flags)) & PF_KTHREAD != 0
    }

    /// A kernel thread, or a worker inside the kernel: no system call of its own explains what it does.
    #[inline(always)]
    pub fn in_kernel(self) -> bool {
        self.load(offset!(task_flags)) & (PF_KTHREAD | PF_WORKER) != 0
    }
}

/// The program run of any task.
#[inline(always)]
pub fn exec_key(task: u64) -> ExecKey {
    let leader: u64 = at(task + offset!(task_group_leader));
    ExecKey {
        start: at(leader + offset!(task_start_boottime)),
        pid: at(task + offset!(task_tgid)),
        exec: at(task + offset!(task_self_exec_id)),
    }
}

/// Everything of the header that is about the task.
#[inline(always)]
pub fn describe(task: u64, out: &mut Task) {
    out.id = exec_key(task);
    out.parent = exec_key(at(task + offset!(task_real_parent)));
    out.tid = at(task + offset!(task_pid));
    // Without CONFIG_AUDIT there is neither, which reads as "not set".
    out.loginuid = field(task, offset!(task_loginuid)).unwrap_or(u32::MAX);
    out.session = field(task, offset!(task_sessionid)).unwrap_or(u32::MAX);
    into(&mut out.comm, task + offset!(task_comm));
    // SAFETY: the helper has no preconditions.
    out.cgroup = unsafe { bpf_get_current_cgroup_id() };
    credentials(task, out);
    executable(task, out);
    let signal: u64 = at(task + offset!(task_signal));
    let tty: u64 = field(signal, offset!(signal_tty)).unwrap_or(0);
    // Without one the address is none, which reads as zeros.
    into(&mut out.tty, if tty == 0 { 0 } else { tty + offset!(tty_name) });
    out.flags = flags(at(task + offset!(task_flags)));
}

fn flags(kernel: u32) -> u32 {
    let thread = if kernel & PF_KTHREAD != 0 { task_flag::KERNEL_THREAD } else { 0 };
    let worker = if kernel & PF_WORKER != 0 { task_flag::IO_WORKER } else { 0 };
    thread | worker
}

#[inline(always)]
fn credentials(task: u64, out: &mut Task) {
    let real: u64 = at(task + offset!(task_real_cred));
    out.uid = at(real + offset!(cred_uid));
    out.gid = at(real + offset!(cred_gid));
    out.euid = at(real + offset!(cred_euid));
    out.egid = at(real + offset!(cred_egid));
    let effective: u64 = at(task + offset!(task_cred));
    out.fsuid = at(effective + offset!(cred_fsuid));
}

#[inline(always)]
fn executable(task: u64, out: &mut Task) {
    let mm: u64 = at(task + offset!(task_mm));
    let file: u64 = if mm == 0 { 0 } else { at(mm + offset!(mm_exe_file)) };
    if file == 0 {
        out.exe_inode = 0;
        out.exe_device = 0;
        return;
    }
    let inode: u64 = at(file + offset!(file_inode));
    let sb: u64 = at(inode + offset!(inode_sb));
    out.exe_inode = at(inode + offset!(inode_ino));
    out.exe_device = at(sb + offset!(super_dev));
}

/// `tgid` of a task.
#[inline(always)]
pub fn process(task: u64) -> u32 {
    at(task + offset!(task_tgid))
}

/// `mm` of a task; 0 for kernel threads.
#[inline(always)]
pub fn mm(task: u64) -> u64 {
    at(task + offset!(task_mm))
}

/// Has the last thread of the process gone? At `sched_process_exit` `signal.live` has been counted down.
#[inline(always)]
pub fn group_dead(task: u64) -> bool {
    let signal: u64 = at(task + offset!(task_signal));
    at::<u32>(signal + offset!(signal_live)) == 0
}

/// wait(2) status of a process that ends.
#[inline(always)]
pub fn exit_status(task: u64) -> i32 {
    let signal: u64 = at(task + offset!(task_signal));
    if at::<u32>(signal + offset!(signal_flags)) & SIGNAL_GROUP_EXIT != 0 {
        return at(signal + offset!(signal_group_exit_code));
    }
    at(task + offset!(task_exit_code))
}

/// Is the task the leader of its process, that is, a process and not a thread?
#[inline(always)]
pub fn is_process(task: u64) -> bool {
    at::<u32>(task + offset!(task_pid)) == at::<u32>(task + offset!(task_tgid))
}

/// `ns.inum` of a task's mount namespace; 0 = not known.
#[inline(always)]
pub fn mount_namespace(task: u64) -> u32 {
    let proxy: u64 = at(task + offset!(task_nsproxy));
    let namespace: u64 = at(proxy + offset!(nsproxy_mnt_ns));
    field(namespace, offset!(mnt_namespace_inum)).unwrap_or(0)
}
