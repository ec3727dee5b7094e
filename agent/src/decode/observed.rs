//! What the sensor saw, as values: the output of `decode` and the input of `attribute`.

use graven_record::v1::{AttrKind, CreateKind, Entry, MountKind, Outcome, PathSource, Ring};

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
    /// By which call or request.
    pub cause: Cause,
    /// The thread that did it.
    pub task: Task,
    /// What it did.
    pub event: Event,
}

/// The call or request that an event comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// How the kernel was entered; unspecified = by no call.
    pub entry: Entry,
    /// Its number in the table of that entry; -1 = none.
    pub number: i32,
    /// Its name there; "" = none.
    pub name: &'static str,
    /// errno, if it was refused.
    pub error: u32,
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
    /// From the file system's root to the leaf, a `/` before each name; empty = the root itself.
    pub names: Vec<u8>,
    /// Longer than the sensor's bound: the first names are missing.
    pub cut: bool,
    /// Of a file system that nobody can mount: `memfd:name`.
    pub internal: bool,
    /// Not reachable by this name any more (deleted, or never linked).
    pub unhashed: bool,
}

impl DentryPath {
    /// Names that come leaf first, each ended by NUL, turned root first.
    pub(super) fn turned(leaf_first: &[u8]) -> Vec<u8> {
        let mut names = Vec::with_capacity(leaf_first.len() + 1);
        leaf_first.rsplit(|byte| *byte == 0).filter(|name| !name.is_empty()).for_each(|name| {
            names.push(b'/');
            names.extend_from_slice(name);
        });
        names
    }

    /// The names above the leaf.
    pub(super) fn directory(&self) -> &[u8] {
        let end = self.names.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        &self.names[..end]
    }
}

/// What was lost: a program run's records of one kind in one directory, of about a second.
#[derive(Clone, Debug, PartialEq)]
pub struct Lost {
    /// Who.
    pub task: Task,
    /// The ring that was full.
    pub ring: Ring,
    /// The word of the kind.
    pub event: &'static str,
    /// Where; none when the kind has no place.
    pub directory: Option<DentryPath>,
    /// How many.
    pub count: u64,
    /// CLOCK_BOOTTIME of the first, ns.
    pub first: u64,
    /// Of the last.
    pub last: u64,
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
        /// `i_rdev` of a device node; 0 otherwise.
        node_device: u64,
    },
    /// An inode changed outside the operations below.
    Modify {
        /// The inode.
        file: Inode,
        /// How sure it is.
        outcome: Outcome,
        /// The command, if it was an ioctl; else 0.
        command: u32,
    },
    /// mkdir and other ways to make a name.
    Create {
        /// The new inode.
        file: Inode,
        /// How sure it is.
        outcome: Outcome,
        /// What was made.
        kind: CreateKind,
        /// A hard link: the name it had before.
        from: Option<Inode>,
        /// A symbolic link: its text.
        target: Vec<u8>,
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
    /// What is known of a file beside its content was set.
    Attr {
        /// The inode, after the change.
        file: Inode,
        /// How sure it is.
        outcome: Outcome,
        /// What was set.
        kind: AttrKind,
        /// chmod: what was asked for.
        mode: Option<u32>,
        /// chown: the new uid, when one was asked for.
        new_uid: Option<u32>,
        /// chown: the new gid, when one was asked for.
        new_gid: Option<u32>,
        /// The extended attribute's name.
        name: Vec<u8>,
        /// The inode flags that were asked for, as FS_IOC_SETFLAGS has them.
        flags: u32,
    },
    /// A file's size was set.
    Truncate {
        /// The inode, after the change.
        file: Inode,
        /// How sure it is.
        outcome: Outcome,
    },
    /// A file was mapped shared and writable.
    Mmap {
        /// The file.
        file: Inode,
        /// How sure it is.
        outcome: Outcome,
        /// PROT_EXEC.
        executable: bool,
    },
    /// Mounts, swap or accounting were changed.
    Mount {
        /// How.
        kind: MountKind,
        /// How sure it is.
        outcome: Outcome,
        /// Where; none when nothing was named.
        target: Option<Inode>,
        /// From what, as the caller said.
        source: Vec<u8>,
        /// Its type, as the caller said.
        filesystem: String,
        /// The call's flags.
        flags: u64,
        /// `ns.inum` of the mount namespace; 0 = not known.
        namespace: u32,
    },
    /// Kernel code was loaded or removed.
    Module {
        /// "load", "unload", "kexec"
        operation: &'static str,
        /// Its name, where the call has one.
        name: Vec<u8>,
        /// What it was loaded from.
        file: Option<Inode>,
        /// How sure it is.
        outcome: Outcome,
    },
    /// A BPF program was loaded or attached.
    Bpf {
        /// "prog-load", …; "" = not known.
        command: &'static str,
        /// `enum bpf_cmd`
        number: u32,
        /// "tracing", …; "" = not known.
        program_type: &'static str,
        /// Its name.
        name: Vec<u8>,
        /// How sure it is.
        outcome: Outcome,
    },
    /// Somebody acts on the agent's own processes.
    Tamper {
        /// "signal", "ptrace", "process_vm_writev"
        operation: &'static str,
        /// The signal or request.
        number: u32,
        /// The process acted on.
        target: u32,
        /// How sure it is.
        outcome: Outcome,
    },
    /// A program was started; the task is already the new program.
    Exec {
        /// The executable.
        file: Inode,
        /// The current directory.
        cwd: DentryPath,
        /// `bprm.filename`.
        called_as: Vec<u8>,
        /// `bprm.interp`: another name than `called_as` for a script.
        interpreter: Vec<u8>,
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
    /// The process used the kernel in a way that this release does not decode.
    Uncovered {
        /// Which.
        entry: Entry,
        /// The call's number.
        number: i64,
    },
}
