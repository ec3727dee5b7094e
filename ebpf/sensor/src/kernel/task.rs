//! `struct task_struct`: who is running.

use aya_ebpf::helpers::bpf_get_current_cgroup_id;
use graven_abi::header::{ExecKey, Task, task_flag};

use super::offset::offset;
use graven_abi::offsets::ABSENT;

use super::read::{Typed, at, clear, field, into};

/// TS_COMPAT of `thread_info.status`: the call came through the 32-bit entry.
const TS_COMPAT: u32 = 2;
/// PF_KTHREAD.
const PF_KTHREAD: u32 = 0x0020_0000;
/// It is in do_exit.
const PF_EXITING: u32 = 4;
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

    #[inline(always)]
    pub fn typed(self) -> Typed {
        Typed(self.0)
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

    /// `task.pid`: the thread.
    #[inline(always)]
    pub fn thread(self) -> u32 {
        self.load(offset!(task_pid))
    }

    /// A kernel thread of its own.
    #[inline(always)]
    pub fn kernel_thread(self) -> bool {
        self.load(offset!(task_flags)) & PF_KTHREAD != 0
    }

    /// It does nothing for its program any more.
    #[inline(always)]
    pub fn is_ending(self) -> bool {
        self.load(offset!(task_flags)) & PF_EXITING != 0
    }

    /// A kernel thread, or a worker inside the kernel: no system call of its own explains what it does.
    #[inline(always)]
    pub fn in_kernel(self) -> bool {
        self.load(offset!(task_flags)) & (PF_KTHREAD | PF_WORKER) != 0
    }
}

/// The program run of any task.
#[inline(always)]
pub fn exec_key(task: Typed) -> ExecKey {
    ExecKey {
        start: task.follow(offset!(task_group_leader)).load(offset!(task_start_boottime)),
        pid: task.load(offset!(task_tgid)),
        exec: task.load(offset!(task_self_exec_id)),
    }
}

/// Everything of the header that is about the current task.
#[inline(always)]
pub fn describe(current: Current, out: &mut Task) {
    let task = current.typed();
    out.id = exec_key(task);
    out.parent = exec_key(task.follow(offset!(task_real_parent)));
    out.tid = task.load(offset!(task_pid));
    // Without CONFIG_AUDIT there is neither, which reads as "not set".
    out.loginuid = task.field(offset!(task_loginuid)).unwrap_or(u32::MAX);
    out.session = task.field(offset!(task_sessionid)).unwrap_or(u32::MAX);
    let comm: [u64; 2] = [task.load(offset!(task_comm)), task.load(offset!(task_comm) + 8)];
    // SAFETY: any bytes are values of either.
    out.comm = unsafe { core::mem::transmute::<[u64; 2], [u8; 16]>(comm) };

    // SAFETY: the helper has no preconditions.
    out.cgroup = unsafe { bpf_get_current_cgroup_id() };
    credentials(task, out);
    executable(task, out);
    terminal(task, out);
    out.flags = flags(task.load(offset!(task_flags)));
}

#[inline(always)]
fn terminal(task: Typed, out: &mut Task) {
    clear(&mut out.tty);
    if offset!(signal_tty) == ABSENT as u64 || offset!(tty_name) == ABSENT as u64 {
        return;
    }
    let tty = task.follow(offset!(task_signal)).follow(offset!(signal_tty));
    // Most processes of a server have none.
    if !tty.is_null() {
        into(&mut out.tty, tty.address() + offset!(tty_name));
    }
}

fn flags(kernel: u32) -> u32 {
    let thread = if kernel & PF_KTHREAD != 0 { task_flag::KERNEL_THREAD } else { 0 };
    let worker = if kernel & PF_WORKER != 0 { task_flag::IO_WORKER } else { 0 };
    thread | worker
}

#[inline(always)]
fn credentials(task: Typed, out: &mut Task) {
    let real = task.follow(offset!(task_real_cred));
    if !real.is_null() {
        out.uid = real.load(offset!(cred_uid));
        out.gid = real.load(offset!(cred_gid));
        out.euid = real.load(offset!(cred_euid));
        out.egid = real.load(offset!(cred_egid));
    }
    let effective = task.follow(offset!(task_cred));
    if !effective.is_null() {
        out.fsuid = effective.load(offset!(cred_fsuid));
    }
}

#[inline(always)]
fn executable(task: Typed, out: &mut Task) {
    out.exe_inode = 0;
    out.exe_device = 0;
    let mm = task.follow(offset!(task_mm));
    if mm.is_null() {
        return;
    }
    let file = mm.follow(offset!(mm_exe_file));
    if file.is_null() {
        return;
    }
    let inode = file.follow(offset!(file_inode));
    if inode.is_null() {
        return;
    }
    out.exe_inode = inode.load(offset!(inode_ino));
    let sb = inode.follow(offset!(inode_sb));
    if !sb.is_null() {
        out.exe_device = sb.load(offset!(super_dev));
    }
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
pub fn is_process(task: Typed) -> bool {
    task.load::<u32>(offset!(task_pid)) == task.load::<u32>(offset!(task_tgid))
}

/// `ns.inum` of a task's mount namespace; 0 = not known.
#[inline(always)]
pub fn mount_namespace(task: u64) -> u32 {
    let proxy: u64 = at(task + offset!(task_nsproxy));
    let namespace: u64 = at(proxy + offset!(nsproxy_mnt_ns));
    field(namespace, offset!(mnt_namespace_inum)).unwrap_or(0)
}
