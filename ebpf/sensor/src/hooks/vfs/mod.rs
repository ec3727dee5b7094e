//! The functions of the VFS that change names and attributes: where the kernel has no inode-time tracepoints (before 6.13)
//! they say which inodes a call really changes.
//!
//! `vfs_unlink`, `vfs_rmdir` and `vfs_rename` are entered while the names still stand (fentry); what is noted then is taken
//! back where they fail (fexit). Of the others the end is enough: `vfs_mkdir`, `vfs_create`, `vfs_mknod`, `vfs_symlink`,
//! `vfs_link`, `notify_change`, `__vfs_setxattr_noperm`, `__vfs_removexattr_locked`, `vfs_set_acl`, `vfs_remove_acl`,
//! `vfs_fileattr_set`. Whatever the way in, these do it, under the locks of the directories.
//!
//! Within a call that has a kind of its own all are noted in the thread's slot; what of them is kept is decided at
//! `sys_exit`, because the kernel skips a run of such a program (and counts it) while another run of it on the same CPU is
//! preempted: the shorter, the rarer. Any other change is a `modify` when its function ends: a request of io_uring, a thread
//! of the kernel's, a call nobody knows yet.
//!
//! All of them or none: where one is missing, what it does through an overlay would be taken for what it does to a layer.
//! Overlay's own functions are entered before its layers' and end after them; what it does to these it does with the rights
//! of who mounted it. Notes of layers alone are no evidence: the kernel may have skipped the overlay's.
//!
//! Since 5.15 (bpf_task_pt_regs); the first argument came with 5.12, `vfs_fileattr_set` with 5.13.
//!
//! `write` tells of what is written and of files that an open makes, by functions of its own.
//!
//! What they miss: what btrfs writes, which sets the times of its files itself; before 6.4 a file that
//! `open(O_CREAT | O_DIRECTORY)` makes and then refuses to open.

pub mod names;
mod note;
mod decide;
mod write;

pub use decide::decide;
