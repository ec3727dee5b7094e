//! What the sensor saw, as values: the output of `decode` and the input of `attribute`.

use graven_record::v1::{Entry, Outcome, PathSource, Ring};

/// One event as the kernel had it. Nothing here was looked up in user space.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// CLOCK_BOOTTIME in ns when it happened.
    pub at: u64,
    /// The CPU it happened on.
    pub cpu: u32,
    /// The ring it came through.
    pub ring: Ring,
    /// Sequence within ring and CPU; 0 = the kernel could give none.
    pub sequence: u64,
    /// The thread that did it.
    pub task: Task,
    /// What it did.
    pub event: Event,
}

/// One program run: `task.tgid`, `task.start_boottime`, `task.self_exec_id`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExecId {
    /// Thread-group id in the initial pid namespace.
    pub pid: u32,
    /// Start of the thread-group leader, ns since boot (`start_boottime`).
    pub start: u64,
    /// Counts the execs of the process (`self_exec_id`).
    pub exec: u32,
}

/// Who did it, read from the kernel's task at that moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Task {
    /// The program run.
    pub id: ExecId,
    /// The program run of `real_parent`.
    pub parent: ExecId,
    /// Thread id.
    pub tid: u32,
    /// `real_cred.uid` in the initial user namespace.
    pub uid: u32,
    /// `real_cred.gid`.
    pub gid: u32,
    /// `real_cred.euid`.
    pub euid: u32,
    /// `real_cred.egid`.
    pub egid: u32,
    /// `cred.fsuid`: differs from euid while credentials are overridden.
    pub fsuid: u32,
    /// `task.loginuid`, none when it is not set.
    pub loginuid: Option<u32>,
    /// `task.sessionid`, none when it is not set.
    pub session: Option<u32>,
    /// `signal.tty.name`, empty without a controlling terminal.
    pub tty: String,
    /// `task.comm`.
    pub comm: Vec<u8>,
    /// Device of `mm.exe_file`: major << 20 | minor; 0 for kernel threads.
    pub exe_device: u64,
    /// Inode of `mm.exe_file`.
    pub exe_inode: u64,
    /// cgroup v2 id of the task (0 where the unified hierarchy is not used).
    pub cgroup: u64,
    /// A kernel thread (PF_KTHREAD).
    pub kernel_thread: bool,
    /// An io_uring worker of the process (PF_IO_WORKER, PF_USER_WORKER).
    pub io_worker: bool,
}

/// A chain of dentries up to the root of its file system.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DentryPath {
    /// `super_block.s_dev`: major << 20 | minor.
    pub device: u64,
    /// `mount.mnt_id`, where the kernel's object had a mount.
    pub mount: Option<u32>,
    /// From the file system's root to the leaf; empty = the root itself.
    pub components: Vec<Vec<u8>>,
    /// Longer than the sensor's bound: the first components are missing.
    pub cut: bool,
    /// Of a file system that nobody can mount: `memfd:name`.
    pub internal: bool,
    /// Not reachable by this name any more (deleted, or never linked).
    pub unhashed: bool,
}

/// How a file was named.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// By the kernel's own dentries.
    Dentry {
        /// The chain.
        path: DentryPath,
        /// Of which object.
        source: PathSource,
    },
    /// By the caller only.
    Argument {
        /// The directory it is relative to, when it is relative.
        base: Option<DentryPath>,
        /// The bytes the caller passed; may be cut at the sensor's bound.
        argument: Vec<u8>,
        /// Whether they were cut.
        cut: bool,
    },
}

/// An inode as far as it is known; zeros where it is not.
#[derive(Clone, Debug, PartialEq)]
pub struct Inode {
    /// Its name.
    pub place: Place,
    /// `i_sb.s_dev`: major << 20 | minor.
    pub device: u64,
    /// `i_ino`.
    pub inode: u64,
    /// `i_generation`.
    pub generation: u32,
    /// `i_mode`.
    pub mode: u32,
    /// `i_uid`.
    pub uid: u32,
    /// `i_gid`.
    pub gid: u32,
    /// `i_size`.
    pub size: u64,
    /// `i_nlink`.
    pub links: u32,
}

/// What was done.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Opened for writing, truncated by the open, or made by it.
    Open {
        /// The opened file.
        file: Inode,
        /// How sure it is.
        outcome: Outcome,
        /// FMODE_CREATED.
        created: bool,
        /// The inode was truncated by this call.
        truncated: bool,
        /// FMODE_WRITE.
        writable: bool,
        /// `f_flags`.
        flags: u32,
    },
    /// An inode changed outside the operations below.
    Modify {
        /// The inode.
        file: Inode,
        /// Number of the native system call; -1 = none.
        syscall: i32,
    },
    /// mkdir and other ways to make a name.
    Create {
        /// The new inode.
        file: Inode,
        /// How sure it is.
        outcome: Outcome,
    },
    /// unlink, rmdir.
    Unlink {
        /// What lost its name.
        file: Inode,
        /// How sure it is.
        outcome: Outcome,
    },
    /// rename.
    Rename {
        /// Before.
        from: Inode,
        /// After.
        to: Inode,
        /// What was there.
        replaced: Option<Inode>,
        /// RENAME_EXCHANGE.
        exchange: bool,
        /// How sure it is.
        outcome: Outcome,
    },
    /// chmod, chown.
    Attr {
        /// The inode, after the change.
        file: Inode,
        /// How sure it is.
        outcome: Outcome,
        /// chmod: what was asked for.
        mode: Option<u32>,
        /// chown: the new uid, when one was asked for.
        new_uid: Option<u32>,
        /// chown: the new gid, when one was asked for.
        new_gid: Option<u32>,
    },
    /// A program was started; the task is already the new program.
    Exec {
        /// The executable.
        file: Inode,
        /// `bprm.filename`.
        called_as: Vec<u8>,
        /// NUL-joined argv, cut at the sensor's bound.
        arguments: Vec<u8>,
        /// Whether argv was cut.
        arguments_cut: bool,
        /// The program run before this exec.
        before: ExecId,
    },
    /// A process (not a thread) was made; the task is the parent.
    Fork {
        /// The child.
        child: ExecId,
    },
    /// The last thread of a process ended.
    Exit {
        /// wait(2) status.
        status: i32,
    },
    /// The process entered the kernel in a way that this mode does not decode.
    Uncovered {
        /// Which.
        entry: Entry,
    },
}
