//! What a call does and where its arguments lie: one number for each pair of both.

/// Argument number that stands for the current directory: [`super::ARGUMENTS`] has AT_FDCWD there.
pub const CWD: u8 = 6;
/// Argument number of one that the call does not have; it reads as 0.
pub const NONE: u8 = 7;

/// What a call does.
pub mod deed {
    /// Makes an open file: `hooks::open`.
    pub const OPEN: u8 = 1;
    /// Makes a name: `hooks::create`.
    pub const CREATE: u8 = 2;
    /// Removes a name: `hooks::unlink`.
    pub const UNLINK: u8 = 3;
    /// Moves a name: `hooks::rename`.
    pub const RENAME: u8 = 4;
    /// Sets what is known of a file beside its content: `hooks::attr`.
    pub const ATTR: u8 = 5;
    /// Sets a size: `hooks::truncate`.
    pub const TRUNCATE: u8 = 6;
    /// Maps a file: `hooks::mmap`.
    pub const MMAP: u8 = 7;
    /// Changes mounts, swap or accounting: `hooks::mount`.
    pub const MOUNT: u8 = 8;
    /// Loads or removes kernel code: `hooks::module`.
    pub const MODULE: u8 = 9;
    /// Loads or attaches BPF: `hooks::bpf`.
    pub const BPF: u8 = 10;
    /// Acts on another process: `hooks::tamper`.
    pub const TAMPER: u8 = 11;
    /// Writes into a file by its descriptor: `hooks::modify`.
    pub const MODIFY: u8 = 12;
}

/// Numbers in [`Shape::what`], each within its deed.
pub mod what {
    /// create: a directory.
    pub const DIRECTORY: u8 = 1;
    /// create: a device, FIFO, socket or file by mknod.
    pub const NODE: u8 = 2;
    /// create: a symbolic link.
    pub const SYMLINK: u8 = 3;
    /// create: one more name of a file.
    pub const LINK: u8 = 4;
    /// create: a bound socket.
    pub const SOCKET: u8 = 5;
    /// create: a pinned BPF object.
    pub const PIN: u8 = 6;
    /// create: a file, where the open's own object could not be had.
    pub const FILE: u8 = 7;
    /// unlink: what is removed is a directory.
    pub const REMOVE_DIRECTORY: u8 = 1;
    /// attr: mode.
    pub const MODE: u8 = 1;
    /// attr: owner.
    pub const OWNER: u8 = 2;
    /// attr: times.
    pub const TIMES: u8 = 3;
    /// attr: an extended attribute (ACLs and capabilities are such) was set.
    pub const XATTR: u8 = 4;
    /// attr: one was removed.
    pub const XATTR_REMOVED: u8 = 5;
    /// attr: inode flags (chattr).
    pub const FLAGS: u8 = 6;
    /// attr: owner by 16-bit numbers, where 0xffff means leave.
    pub const OWNER16: u8 = 7;
    /// mount(2).
    pub const MOUNT: u8 = 1;
    /// umount, umount2.
    pub const UNMOUNT: u8 = 2;
    /// pivot_root.
    pub const PIVOT_ROOT: u8 = 3;
    /// move_mount.
    pub const MOVE: u8 = 4;
    /// mount_setattr, open_tree_attr.
    pub const ATTRIBUTES: u8 = 5;
    /// fsconfig(FSCONFIG_CMD_RECONFIGURE).
    pub const RECONFIGURE: u8 = 6;
    /// swapon.
    pub const SWAP_ON: u8 = 7;
    /// swapoff.
    pub const SWAP_OFF: u8 = 8;
    /// acct.
    pub const ACCOUNTING: u8 = 9;
    /// module: loaded.
    pub const LOAD: u8 = 1;
    /// module: loaded from a descriptor.
    pub const LOAD_FILE: u8 = 2;
    /// module: removed.
    pub const UNLOAD: u8 = 3;
    /// module: another kernel was prepared.
    pub const KEXEC: u8 = 4;
    /// module: another kernel was prepared from a descriptor.
    pub const KEXEC_FILE: u8 = 5;
    /// tamper: a signal.
    pub const SIGNAL: u8 = 1;
    /// tamper: ptrace.
    pub const PTRACE: u8 = 2;
    /// tamper: process_vm_writev.
    pub const MEMORY: u8 = 3;
}

/// Where a call's arguments lie: numbers of arguments, [`CWD`] or [`NONE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Shape {
    /// One of [`deed`].
    pub deed: u8,
    /// One of [`what`].
    pub what: u8,
    /// The directory's descriptor that `path` starts from; of a call without a path, the file's descriptor.
    pub dirfd: u8,
    /// The path; NONE = the call is about a descriptor.
    pub path: u8,
    /// The second path's directory.
    pub dirfd2: u8,
    /// The second path, or a string that the call is about.
    pub path2: u8,
    /// Flags, mode, uid, command: what the deed's file says.
    pub value: u8,
    /// A second number.
    pub value2: u8,
}

/// A call about paths.
const fn at(deed: u8, what: u8, paths: [u8; 4], values: [u8; 2]) -> Shape {
    let [dirfd, path, dirfd2, path2] = paths;
    Shape { deed, what, dirfd, path, dirfd2, path2, value: values[0], value2: values[1] }
}

/// A call about a descriptor.
const fn on(deed: u8, what: u8, descriptor: u8, string: u8, values: [u8; 2]) -> Shape {
    at(deed, what, [descriptor, NONE, NONE, string], values)
}

macro_rules! operations {
    ($(#[doc = $doc:literal] $name:ident = $number:literal: $shape:expr;)+) => {
        $(#[doc = $doc] pub const $name: u8 = $number;)+

        /// The shape of each operation.
        pub const SHAPES: [Shape; SHAPES_LEN] = {
            let mut shapes = [at(0, 0, [NONE; 4], [NONE; 2]); SHAPES_LEN];
            $(shapes[$number] = $shape;)+
            shapes
        };
    };
}

/// Length of [`SHAPES`]: a power of two, so that an index can be masked.
pub const SHAPES_LEN: usize = 128;
/// The operations up to this one are noted by the inode-time tracepoints, or the functions of the VFS, and used up at `sys_exit`.
pub const LAST_NOTED: u8 = FTRUNCATE;
/// No operation with a kind of its own.
pub const NOTHING: u8 = 0;

operations! {
    /// open(path, flags)
    OPEN = 1: at(deed::OPEN, 0, [CWD, 0, NONE, NONE], [1, NONE]);
    /// openat(dirfd, path, flags)
    OPENAT = 2: at(deed::OPEN, 0, [0, 1, NONE, NONE], [2, NONE]);
    /// openat2(dirfd, path, how): the flags are in the caller's memory
    OPENAT2 = 3: at(deed::OPEN, 0, [0, 1, NONE, NONE], [NONE, NONE]);
    /// creat(path)
    CREAT = 4: at(deed::OPEN, 0, [CWD, 0, NONE, NONE], [NONE, NONE]);
    /// open_by_handle_at(mount, handle, flags)
    OPEN_BY_HANDLE = 5: at(deed::OPEN, 0, [NONE, NONE, NONE, NONE], [2, NONE]);
    /// mkdir(path)
    MKDIR = 6: at(deed::CREATE, what::DIRECTORY, [CWD, 0, NONE, NONE], [NONE, NONE]);
    /// mkdirat(dirfd, path)
    MKDIRAT = 7: at(deed::CREATE, what::DIRECTORY, [0, 1, NONE, NONE], [NONE, NONE]);
    /// mknod(path)
    MKNOD = 8: at(deed::CREATE, what::NODE, [CWD, 0, NONE, NONE], [NONE, NONE]);
    /// mknodat(dirfd, path)
    MKNODAT = 9: at(deed::CREATE, what::NODE, [0, 1, NONE, NONE], [NONE, NONE]);
    /// symlink(target, path)
    SYMLINK = 10: at(deed::CREATE, what::SYMLINK, [CWD, 1, NONE, 0], [NONE, NONE]);
    /// symlinkat(target, dirfd, path)
    SYMLINKAT = 11: at(deed::CREATE, what::SYMLINK, [1, 2, NONE, 0], [NONE, NONE]);
    /// link(old, path)
    LINK = 12: at(deed::CREATE, what::LINK, [CWD, 1, CWD, 0], [NONE, NONE]);
    /// linkat(olddirfd, old, dirfd, path)
    LINKAT = 13: at(deed::CREATE, what::LINK, [2, 3, 0, 1], [NONE, NONE]);
    /// bind(fd, address)
    BIND = 14: at(deed::CREATE, what::SOCKET, [CWD, 1, NONE, NONE], [NONE, NONE]);
    /// bpf(BPF_OBJ_PIN, attributes)
    PIN = 15: at(deed::CREATE, what::PIN, [CWD, 1, NONE, NONE], [NONE, NONE]);
    /// unlink(path), mq_unlink(name)
    UNLINK = 16: at(deed::UNLINK, 0, [CWD, 0, NONE, NONE], [NONE, NONE]);
    /// rmdir(path)
    RMDIR = 17: at(deed::UNLINK, what::REMOVE_DIRECTORY, [CWD, 0, NONE, NONE], [NONE, NONE]);
    /// unlinkat(dirfd, path, flags)
    UNLINKAT = 18: at(deed::UNLINK, 0, [0, 1, NONE, NONE], [2, NONE]);
    /// rename(from, to)
    RENAME = 19: at(deed::RENAME, 0, [CWD, 0, CWD, 1], [NONE, NONE]);
    /// renameat(fromfd, from, tofd, to)
    RENAMEAT = 20: at(deed::RENAME, 0, [0, 1, 2, 3], [NONE, NONE]);
    /// renameat2(fromfd, from, tofd, to, flags)
    RENAMEAT2 = 21: at(deed::RENAME, 0, [0, 1, 2, 3], [4, NONE]);
    /// chmod(path, mode)
    CHMOD = 22: at(deed::ATTR, what::MODE, [CWD, 0, NONE, NONE], [1, NONE]);
    /// fchmod(fd, mode)
    FCHMOD = 23: on(deed::ATTR, what::MODE, 0, NONE, [1, NONE]);
    /// fchmodat(dirfd, path, mode), fchmodat2(…, flags)
    FCHMODAT = 24: at(deed::ATTR, what::MODE, [0, 1, NONE, NONE], [2, NONE]);
    /// chown(path, uid, gid), lchown
    CHOWN = 25: at(deed::ATTR, what::OWNER, [CWD, 0, NONE, NONE], [1, 2]);
    /// fchown(fd, uid, gid)
    FCHOWN = 26: on(deed::ATTR, what::OWNER, 0, NONE, [1, 2]);
    /// fchownat(dirfd, path, uid, gid, flags)
    FCHOWNAT = 27: at(deed::ATTR, what::OWNER, [0, 1, NONE, NONE], [2, 3]);
    /// chown and lchown with 16-bit numbers
    CHOWN16 = 28: at(deed::ATTR, what::OWNER16, [CWD, 0, NONE, NONE], [1, 2]);
    /// fchown with 16-bit numbers
    FCHOWN16 = 29: on(deed::ATTR, what::OWNER16, 0, NONE, [1, 2]);
    /// utime(path, times), utimes
    UTIME = 30: at(deed::ATTR, what::TIMES, [CWD, 0, NONE, NONE], [NONE, NONE]);
    /// utimensat(dirfd, path, times, flags), futimesat
    UTIMENSAT = 31: at(deed::ATTR, what::TIMES, [0, 1, NONE, NONE], [NONE, NONE]);
    /// setxattr(path, name, value, size, flags), lsetxattr
    SETXATTR = 32: at(deed::ATTR, what::XATTR, [CWD, 0, NONE, 1], [NONE, NONE]);
    /// fsetxattr(fd, name, value, size, flags)
    FSETXATTR = 33: on(deed::ATTR, what::XATTR, 0, 1, [NONE, NONE]);
    /// setxattrat(dirfd, path, at_flags, name, args, size)
    SETXATTRAT = 34: at(deed::ATTR, what::XATTR, [0, 1, NONE, 3], [NONE, NONE]);
    /// removexattr(path, name), lremovexattr
    REMOVEXATTR = 35: at(deed::ATTR, what::XATTR_REMOVED, [CWD, 0, NONE, 1], [NONE, NONE]);
    /// fremovexattr(fd, name)
    FREMOVEXATTR = 36: on(deed::ATTR, what::XATTR_REMOVED, 0, 1, [NONE, NONE]);
    /// removexattrat(dirfd, path, at_flags, name)
    REMOVEXATTRAT = 37: at(deed::ATTR, what::XATTR_REMOVED, [0, 1, NONE, 3], [NONE, NONE]);
    /// file_setattr(dirfd, path, attributes, size, at_flags)
    FILE_SETATTR = 38: at(deed::ATTR, what::FLAGS, [0, 1, NONE, NONE], [NONE, NONE]);
    /// ioctl(fd, FS_IOC_SETFLAGS and the like, argument)
    SETFLAGS = 39: on(deed::ATTR, what::FLAGS, 0, NONE, [1, 2]);
    /// truncate(path, length)
    TRUNCATE = 40: at(deed::TRUNCATE, 0, [CWD, 0, NONE, NONE], [NONE, NONE]);
    /// ftruncate(fd, length)
    FTRUNCATE = 41: on(deed::TRUNCATE, 0, 0, NONE, [NONE, NONE]);

    /// ioctl(fd, command, argument): which it is the command decides
    IOCTL = 42: on(deed::MODIFY, 0, 0, NONE, [1, 2]);
    /// mmap(address, length, protection, flags, fd)
    MMAP = 43: on(deed::MMAP, 0, 4, NONE, [2, 3]);
    /// the i386 mmap, whose arguments lie in memory
    OLD_MMAP = 44: on(deed::MMAP, 0, 4, NONE, [2, 3]);
    /// mount(source, target, type, flags, data)
    MOUNT = 45: at(deed::MOUNT, what::MOUNT, [CWD, 1, CWD, 0], [3, 2]);
    /// umount(target)
    UMOUNT = 46: at(deed::MOUNT, what::UNMOUNT, [CWD, 0, NONE, NONE], [NONE, NONE]);
    /// umount2(target, flags)
    UMOUNT2 = 47: at(deed::MOUNT, what::UNMOUNT, [CWD, 0, NONE, NONE], [1, NONE]);
    /// pivot_root(new, old)
    PIVOT_ROOT = 48: at(deed::MOUNT, what::PIVOT_ROOT, [CWD, 0, CWD, 1], [NONE, NONE]);
    /// move_mount(fromfd, from, tofd, to, flags)
    MOVE_MOUNT = 49: at(deed::MOUNT, what::MOVE, [2, 3, 0, 1], [4, NONE]);
    /// mount_setattr(dirfd, path, flags, attributes, size)
    MOUNT_SETATTR = 50: at(deed::MOUNT, what::ATTRIBUTES, [0, 1, NONE, NONE], [2, NONE]);
    /// open_tree_attr(dirfd, path, flags, attributes, size)
    OPEN_TREE_ATTR = 51: at(deed::MOUNT, what::ATTRIBUTES, [0, 1, NONE, NONE], [2, NONE]);
    /// fsconfig(fd, command, key, value, aux)
    FSCONFIG = 52: on(deed::MOUNT, what::RECONFIGURE, 0, NONE, [1, NONE]);
    /// swapon(path, flags)
    SWAPON = 53: at(deed::MOUNT, what::SWAP_ON, [CWD, 0, NONE, NONE], [1, NONE]);
    /// swapoff(path)
    SWAPOFF = 54: at(deed::MOUNT, what::SWAP_OFF, [CWD, 0, NONE, NONE], [NONE, NONE]);
    /// acct(path)
    ACCT = 55: at(deed::MOUNT, what::ACCOUNTING, [CWD, 0, NONE, NONE], [NONE, NONE]);
    /// init_module(image, length, parameters)
    INIT_MODULE = 56: on(deed::MODULE, what::LOAD, NONE, NONE, [NONE, NONE]);
    /// finit_module(fd, parameters, flags)
    FINIT_MODULE = 57: on(deed::MODULE, what::LOAD_FILE, 0, NONE, [NONE, NONE]);
    /// delete_module(name, flags)
    DELETE_MODULE = 58: on(deed::MODULE, what::UNLOAD, NONE, 0, [NONE, NONE]);
    /// kexec_load(entry, count, segments, flags)
    KEXEC_LOAD = 59: on(deed::MODULE, what::KEXEC, NONE, NONE, [NONE, NONE]);
    /// kexec_file_load(fd, …)
    KEXEC_FILE_LOAD = 60: on(deed::MODULE, what::KEXEC_FILE, 0, NONE, [NONE, NONE]);
    /// bpf(command, attributes, size)
    BPF = 61: on(deed::BPF, 0, NONE, NONE, [0, 1]);
    /// ptrace(request, pid)
    PTRACE = 62: on(deed::TAMPER, what::PTRACE, NONE, NONE, [0, 1]);
    /// process_vm_writev(pid, …)
    PROCESS_VM_WRITEV = 63: on(deed::TAMPER, what::MEMORY, NONE, NONE, [NONE, 0]);
    /// write(fd, …) and its kin, sendfile(out, …)
    WRITE = 64: on(deed::MODIFY, 0, 0, NONE, [NONE, NONE]);
    /// copy_file_range(in, off, out, …), splice(in, off, out, …)
    COPY = 65: on(deed::MODIFY, 0, 2, NONE, [NONE, NONE]);
    /// socketcall(call, arguments) of i386: bind is one of its calls
    SOCKETCALL = 66: on(deed::CREATE, what::SOCKET, 0, NONE, [NONE, NONE]);
    /// ioctl(fd, a command that changes something, argument)
    CHANGE = 67: on(deed::MODIFY, 0, 0, NONE, [1, NONE]);
    /// fallocate(fd, …), which returns 0
    ALLOCATE = 68: on(deed::MODIFY, 0, 0, NONE, [NONE, NONE]);
}
