//! The first bytes of every record: what it is, when, and who did it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Changes whenever a layout does: an agent never reads a ring of another version.
pub const ABI_VERSION: u16 = 4;

/// The kind of a record, a number in [`Header::kind`].
pub mod kind {
    /// `event::open::Open`
    pub const OPEN: u16 = 1;
    /// `event::modify::Modify`
    pub const MODIFY: u16 = 2;
    /// `event::create::Create`
    pub const CREATE: u16 = 3;
    /// `event::unlink::Unlink`
    pub const UNLINK: u16 = 4;
    /// `event::rename::Rename`
    pub const RENAME: u16 = 5;
    /// `event::attr::Attr`
    pub const ATTR: u16 = 6;
    /// `event::exec::Exec`
    pub const EXEC: u16 = 7;
    /// `event::fork::Fork`
    pub const FORK: u16 = 8;
    /// `event::exit::Exit`
    pub const EXIT: u16 = 9;
    /// `event::uncovered::Uncovered`
    pub const UNCOVERED: u16 = 10;
    /// `event::truncate::Truncate`
    pub const TRUNCATE: u16 = 11;
    /// `event::mmap::Mmap`
    pub const MMAP: u16 = 12;
    /// `event::mount::Mount`
    pub const MOUNT: u16 = 13;
    /// `event::module::Module`
    pub const MODULE: u16 = 14;
    /// `event::bpf::Bpf`
    pub const BPF: u16 = 15;
    /// `event::tamper::Tamper`
    pub const TAMPER: u16 = 16;
}

/// The ring of a record, a number in [`Header::ring`].
pub mod ring {
    /// Process life.
    pub const LIFE: u8 = 1;
    /// Changes of protected places.
    pub const PROTECTED: u8 = 2;
    /// Every other change that is kept.
    pub const ACTIVITY: u8 = 3;
}

/// One program run: what a pid alone does not name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ExecKey {
    /// `task.group_leader.start_boottime`, ns since boot.
    pub start: u64,
    /// `task.tgid`.
    pub pid: u32,
    /// `task.self_exec_id`.
    pub exec: u32,
}

/// Bits of [`Task::flags`].
pub mod task_flag {
    /// PF_KTHREAD: a kernel thread.
    pub const KERNEL_THREAD: u32 = 1;
    /// PF_IO_WORKER or PF_USER_WORKER: works for a process inside the kernel.
    pub const IO_WORKER: u32 = 2;
}

/// Who did it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Task {
    /// The program run.
    pub id: ExecKey,
    /// The program run of `task.real_parent`.
    pub parent: ExecKey,
    /// Inode number of `mm.exe_file`; 0 without one.
    pub exe_inode: u64,
    /// cgroup v2 id.
    pub cgroup: u64,
    /// `s_dev` of `mm.exe_file`: major << 20 | minor.
    pub exe_device: u32,
    /// `task.pid`: the thread.
    pub tid: u32,
    /// `real_cred.uid`, initial user namespace.
    pub uid: u32,
    /// `real_cred.gid`.
    pub gid: u32,
    /// `real_cred.euid`.
    pub euid: u32,
    /// `real_cred.egid`.
    pub egid: u32,
    /// `cred.fsuid`.
    pub fsuid: u32,
    /// `task.loginuid`; `u32::MAX` = not set.
    pub loginuid: u32,
    /// `task.sessionid`; `u32::MAX` = not set.
    pub session: u32,
    /// [`task_flag`] bits.
    pub flags: u32,
    /// `task.comm`, NUL-padded.
    pub comm: [u8; 16],
    /// `signal.tty.name`, NUL-padded; empty without one.
    pub tty: [u8; 16],
}

/// The beginning of every record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Header {
    /// [`ABI_VERSION`] of the sensor.
    pub abi: u16,
    /// One of [`kind`].
    pub kind: u16,
    /// Bytes of the tail behind the fixed part.
    pub tail: u32,
    /// CLOCK_BOOTTIME, ns.
    pub time: u64,
    /// Counts from 1 per ring and CPU, so that a record that found no room is a visible gap.
    pub sequence: u64,
    /// `bpf_get_smp_processor_id`; the kernel has at most 8,192.
    pub cpu: u16,
    /// Number of the call or opcode of the request, see `entry`; -1 = none.
    pub call: i16,
    /// One of [`ring`].
    pub ring: u8,
    /// One of `syscalls::entry`.
    pub entry: u8,
    /// errno of a refused call; 0 otherwise.
    pub error: u8,
    /// Zero.
    pub padding: u8,
    /// Who did it.
    pub task: Task,
}

const _: () = assert!(size_of::<ExecKey>() == 16);
const _: () = assert!(size_of::<Task>() == 120);
const _: () = assert!(size_of::<Header>() == 152);
const _: () = assert!(core::mem::offset_of!(Header, task) == 32);
