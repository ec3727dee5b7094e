//! `struct file`, descriptors and the current directory.

use super::offset::offset;
use super::read::at;
use super::scratch::Scratch;
use super::task::Current;

/// FMODE_WRITE.
pub const FMODE_WRITE: u32 = 2;
/// FMODE_CREATED: this open made the file.
pub const FMODE_CREATED: u32 = 0x10_0000;
/// AT_FDCWD.
pub const AT_FDCWD: i32 = -100;

/// `struct file *`.
#[derive(Clone, Copy)]
pub struct File(pub u64);

/// What a file object says of itself.
pub struct Opened {
    /// FMODE_ bits.
    pub mode: u32,
    /// O_ flags.
    pub flags: u32,
    pub inode: u64,
    pub dentry: u64,
    /// `struct vfsmount *`.
    pub mount: u64,
}

impl File {
    /// All of it at once.
    #[inline(always)]
    pub fn read(self, scratch: &mut Scratch) -> Opened {
        let head = scratch.block(self.0);
        Opened {
            mode: head.field(offset!(file_mode)),
            flags: head.field(offset!(file_flags)),
            inode: head.field(offset!(file_inode)),
            dentry: head.field(offset!(file_path) + offset!(path_dentry)),
            mount: head.field(offset!(file_path) + offset!(path_mnt)),
        }
    }

    /// What a descriptor of the current task refers to: `files.fdt.fd[n]`. The kernel looks at 32 bits of a number.
    #[inline(always)]
    pub fn of_descriptor(descriptor: u64) -> Option<Self> {
        let descriptor = u64::from(descriptor as u32);
        let table = Current::get().typed().follow(offset!(task_files)).follow(offset!(files_fdt));
        let bound: u32 = table.load(offset!(fdtable_max_fds));
        if descriptor >= u64::from(bound) {
            return None;
        }
        let array: u64 = table.load(offset!(fdtable_fd));
        let file: u64 = at(array + descriptor * 8);
        // The lowest bits of an entry are no address bits on any kernel; a file is aligned to 8.
        if file == 0 { None } else { Some(Self(file & !7)) }
    }

    #[inline(always)]
    pub fn inode(self) -> u64 {
        at(self.0 + offset!(file_inode))
    }

    /// What the file's own kind keeps with it.
    #[inline(always)]
    pub fn private_data(self) -> u64 {
        at(self.0 + offset!(file_private_data))
    }
}

/// `mnt_id` of the mount around a `struct vfsmount`.
#[inline(always)]
pub fn mount_id(vfsmount: u64) -> u32 {
    if vfsmount == 0 {
        return 0;
    }
    at(vfsmount - offset!(mount_mnt) + offset!(mount_id))
}

/// Where a relative argument starts: the directory behind `dirfd`, or the current one.
/// Dentry and mount id; dentry 0 when there is none.
#[inline(always)]
pub fn base(scratch: &mut Scratch, dirfd: i32) -> (u64, u32) {
    if dirfd == AT_FDCWD {
        let fs = Current::get().typed().follow(offset!(task_fs));
        let dentry = scratch.as_number(fs.load(offset!(fs_pwd) + offset!(path_dentry)));
        return (dentry, mount_id(scratch.as_number(fs.load(offset!(fs_pwd) + offset!(path_mnt)))));
    }
    match File::of_descriptor(dirfd as u64) {
        Some(file) => {
            let Opened { dentry, mount, .. } = file.read(scratch);
            (dentry, mount_id(mount))
        }
        None => (0, 0),
    }
}
