//! Which program hangs on what, what each is needed for, and in which order they are attached.
//!
//! In: the kernel's version. Out: what is wanted of it. Decides only.

/// Can the sensor do without it?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Required {
    /// No: without it there is nothing to say.
    Yes,
    /// Yes, but records are weaker: what is missing is said in the start record and by `doctor`.
    No,
}

/// What a program hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    /// The BTF tracepoint of the program's own name.
    Btf,
    /// A classic tracepoint: category and name.
    Classic(&'static str, &'static str),
    /// The beginning of this function.
    Begin(&'static str),
    /// The end of this function.
    End(&'static str),
    /// The beginning of this function; the second program hangs on its end.
    Around(&'static str, &'static str),
}

/// A thing to be seen, and the programs that can see it, best first.
pub(super) struct Wanted {
    pub(super) name: &'static str,
    pub(super) programs: &'static [(&'static str, On)],
    pub(super) required: Required,
    pub(super) without: &'static str,
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
/// `attach`. Without them the outcome is `reported` and the name the caller's.
pub(super) static FUNCTIONS: [Wanted; 19] = [
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
    wanted("file_update_time", &[("file_update_time", On::End("file_update_time"))], WRITES),
    wanted("file_modified", &[("file_modified", On::End("file_modified"))], WRITES),
    wanted("kiocb_modified", &[("kiocb_modified", On::End("kiocb_modified"))], WRITES),
    wanted("vfs_fallocate", &[("vfs_fallocate", On::End("vfs_fallocate"))], WRITES),
    wanted(
        "do_dentry_open",
        &[("do_dentry_open", On::Begin("do_dentry_open"))],
        "files that are made by an open that fails then, or by one outside system calls",
    ),
];

const WRITES: &str = "writes by other ways than calls on a descriptor";

/// From 7.0 on a BTF tracepoint program is skipped when it is entered again on a CPU after a preemption; one on the
/// classic tracepoint is not. What is skipped all the same is counted.
const UNSKIPPED: [(&str, On); 2] =
    [("sys_exit_classic", On::Classic("raw_syscalls", "sys_exit")), ("sys_exit", On::Btf)];

/// See [`UNSKIPPED`].
pub(super) const UNSKIPPED_FROM: Version = Version(7, 0);

/// Between these the arguments of io_uring's tracepoint changed with each release.
const IO_URING_UNSETTLED: std::ops::Range<Version> = Version(5, 12)..Version(6, 1);

/// Functions that came later than the others: vfs_set_acl and vfs_remove_acl with 6.2 (before, an access control list is set
/// as an extended attribute), kiocb_modified with 6.0 (before, file_modified alone). Distributions have them earlier.
pub(super) const LATER: [&str; 3] = ["vfs_set_acl", "vfs_remove_acl", "kiocb_modified"];

/// Everything on a kernel. `later`: those of [`LATER`] that it has, if it has no inode-time tracepoints, else none.
pub(super) fn all(later: Option<&[&str]>) -> impl Iterator<Item = &'static Wanted> {
    let is_there = move |wanted: &&Wanted| {
        later.is_some_and(|later| !LATER.contains(&wanted.name) || later.contains(&wanted.name))
    };
    WANTED.iter().chain(FUNCTIONS.iter().filter(is_there))
}

/// The programs for a thing on this kernel.
pub(super) fn programs(wanted: &Wanted, kernel: Version) -> &'static [(&'static str, On)] {
    if wanted.name == "io_uring" && IO_URING_UNSETTLED.contains(&kernel) {
        return &wanted.programs[..1];
    }
    if wanted.name == "sys_exit" && kernel >= UNSKIPPED_FROM { &UNSKIPPED } else { wanted.programs }
}

/// Major and minor of the running kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(pub(super) u32, pub(super) u32);

impl Version {
    pub(super) fn running() -> Self {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        // A release that is no number is a kernel newer than all rules here.
        Self::parse(&release).unwrap_or(Self(u32::MAX, 0))
    }

    fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(['.', '-']);
        Some(Self(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }
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
}
