//! Where fields lie in the running kernel. The agent reads them from its BTF; rustc writes no BTF
//! relocations, so the sensor has them as read-only data that is set before it is loaded.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Stands for the offset of a field that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// Number of a helper that no kernel has: the agent puts a call of bpf_rdonly_cast in its place.
pub const CAST: u32 = 0x4752_4156;

/// Stands for BTF's number of `struct pt_regs`, which what is called in its place is told. No word of the sensor's data: its
/// address would be kept in a register, or on the stack, through each function that reads the kernel's memory.
pub const CAST_TO: u32 = 0x5641_5247;

macro_rules! offsets {
    ($($field:ident = $struct:literal . $path:literal,)+) => {
        /// Byte offsets, named `struct_field`.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(C)]
        pub struct Offsets {
            $(
                #[doc = concat!("`", $struct, ".", $path, "`")]
                pub $field: u32,
            )+
        }

        /// How many there are.
        pub const COUNT: usize = [$($struct),+].len();

        /// The struct and the field path of each, in the struct's order. `|` separates names of different
        /// kernels; `?` at the end: the sensor can do without, and finds [`ABSENT`] instead of an offset.
        pub const FIELDS: [(&str, &str); COUNT] = [$(($struct, $path)),+];
    };
}

offsets! {
    pt_regs_orig_ax = "pt_regs"."orig_ax",
    pt_regs_ax = "pt_regs"."ax",
    pt_regs_di = "pt_regs"."di",
    pt_regs_si = "pt_regs"."si",
    pt_regs_dx = "pt_regs"."dx",
    pt_regs_r10 = "pt_regs"."r10",
    pt_regs_r8 = "pt_regs"."r8",
    pt_regs_r9 = "pt_regs"."r9",
    pt_regs_bx = "pt_regs"."bx",
    pt_regs_cx = "pt_regs"."cx",
    pt_regs_bp = "pt_regs"."bp",
    task_status = "task_struct"."thread_info.status",
    task_flags = "task_struct"."flags",
    task_pid = "task_struct"."pid",
    task_tgid = "task_struct"."tgid",
    task_group_leader = "task_struct"."group_leader",
    task_real_parent = "task_struct"."real_parent",
    task_start_boottime = "task_struct"."start_boottime|real_start_time",
    task_self_exec_id = "task_struct"."self_exec_id",
    task_loginuid = "task_struct"."loginuid?",
    task_sessionid = "task_struct"."sessionid?",
    task_real_cred = "task_struct"."real_cred",
    task_cred = "task_struct"."cred",
    task_comm = "task_struct"."comm",
    task_fs = "task_struct"."fs",
    task_files = "task_struct"."files",
    task_signal = "task_struct"."signal",
    task_mm = "task_struct"."mm",
    task_exit_code = "task_struct"."exit_code",
    task_nsproxy = "task_struct"."nsproxy",
    task_worker_private = "task_struct"."worker_private?",
    nsproxy_mnt_ns = "nsproxy"."mnt_ns",
    mnt_namespace_inum = "mnt_namespace"."ns.inum?",
    worker_cur_work = "io_worker"."cur_work?",
    request_work = "io_kiocb"."work?",
    request_opcode = "io_kiocb"."opcode?",
    request_cmd = "io_kiocb"."cmd?",
    request_flags = "io_kiocb"."flags?",
    request_cqe_fd = "io_kiocb"."cqe.fd?",
    io_uring_cmd_op = "io_uring_cmd"."cmd_op?",
    io_open_dfd = "io_open"."dfd?",
    io_open_filename = "io_open"."filename?",
    io_open_how = "io_open"."how?",
    io_unlink_dfd = "io_unlink"."dfd?",
    io_unlink_filename = "io_unlink"."filename?",
    io_unlink_flags = "io_unlink"."flags?",
    io_rename_old_dfd = "io_rename"."old_dfd?",
    io_rename_new_dfd = "io_rename"."new_dfd?",
    io_rename_oldpath = "io_rename"."oldpath?",
    io_rename_newpath = "io_rename"."newpath?",
    io_mkdir_dfd = "io_mkdir"."dfd?",
    io_mkdir_filename = "io_mkdir"."filename?",
    io_link_old_dfd = "io_link"."old_dfd?",
    io_link_new_dfd = "io_link"."new_dfd?",
    io_link_oldpath = "io_link"."oldpath?",
    io_link_newpath = "io_link"."newpath?",
    io_xattr_filename = "io_xattr"."filename?",
    filename_name = "filename"."name",
    inode_rdev = "inode"."i_rdev",
    signal_tty = "signal_struct"."tty?",
    signal_live = "signal_struct"."live",
    signal_flags = "signal_struct"."flags",
    signal_group_exit_code = "signal_struct"."group_exit_code",
    tty_name = "tty_struct"."name?",
    cred_uid = "cred"."uid",
    cred_gid = "cred"."gid",
    cred_euid = "cred"."euid",
    cred_egid = "cred"."egid",
    cred_fsuid = "cred"."fsuid",
    mm_exe_file = "mm_struct"."exe_file",
    mm_arg_start = "mm_struct"."arg_start",
    mm_arg_end = "mm_struct"."arg_end",
    files_fdt = "files_struct"."fdt",
    fdtable_max_fds = "fdtable"."max_fds",
    fdtable_fd = "fdtable"."fd",
    file_mode = "file"."f_mode",
    file_flags = "file"."f_flags",
    file_inode = "file"."f_inode",
    file_path = "file"."f_path",
    file_private_data = "file"."private_data",
    kiocb_filp = "kiocb"."ki_filp",
    fs_context_root = "fs_context"."root",
    path_mnt = "path"."mnt",
    path_dentry = "path"."dentry",
    fs_pwd = "fs_struct"."pwd",
    mount_mnt = "mount"."mnt",
    mount_id = "mount"."mnt_id",
    dentry_flags = "dentry"."d_flags",
    dentry_parent = "dentry"."d_parent",
    dentry_name = "dentry"."d_name",
    dentry_inode = "dentry"."d_inode",
    dentry_alias = "dentry"."d_u.d_alias|d_alias",
    dentry_hash = "dentry"."d_hash",
    renamedata_old_dentry = "renamedata"."old_dentry?",
    renamedata_new_dentry = "renamedata"."new_dentry?",
    dentry_sb = "dentry"."d_sb",
    dentry_seq = "dentry"."d_seq",
    dentry_shortname = "dentry"."d_shortname|d_iname",
    bl_node_pprev = "hlist_bl_node"."pprev",
    qstr_name = "qstr"."name",
    qstr_hash_len = "qstr"."hash_len",
    inode_mode = "inode"."i_mode",
    inode_uid = "inode"."i_uid",
    inode_gid = "inode"."i_gid",
    inode_sb = "inode"."i_sb",
    inode_ino = "inode"."i_ino",
    inode_nlink = "inode"."i_nlink",
    inode_size = "inode"."i_size",
    inode_generation = "inode"."i_generation",
    inode_state = "inode"."i_state",
    inode_dentry = "inode"."i_dentry",
    super_dev = "super_block"."s_dev",
    super_flags = "super_block"."s_flags",
    super_magic = "super_block"."s_magic",
    super_root = "super_block"."s_root",
    bprm_filename = "linux_binprm"."filename",
    bprm_interp = "linux_binprm"."interp",
}

const _: () = assert!(size_of::<Offsets>() == COUNT * 4);
