//! Changes of files, one for each hook.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{
    CWD, FallocateFlags, FileType, IFlags, Mode, OFlags, XattrFlags, fallocate, fchmod, fremovexattr,
    fsetxattr, ioctl_getflags, ioctl_setflags, major, minor, mknodat,
};
use rustix::io::Errno;

use crate::sys;

/// Longer than a tick of the coarsest clock (CONFIG_HZ=100): a change after it has another time.
const TICK: Duration = Duration::from_millis(15);
/// Changes at once: of these, two fall into one tick.
const AT_ONCE: usize = 8;

/// Bytes of the mount table that are read.
const MOUNTINFO: u64 = 16 << 20;

type Hooks = &'static [&'static str];

/// A deed, and the hooks that it goes through where it does not fail.
type Deed = (fn(&Path) -> io::Result<()>, Hooks);

/// Each in an empty folder, which it leaves empty, or with what the next needs.
static DEEDS: [Deed; 10] = [
    (node, &["vfs_create", "vfs_mknod", "vfs_unlink"]),
    (folder, &["vfs_mkdir", "vfs_rmdir"]),
    (link, &["vfs_symlink", "vfs_link", "vfs_rename"]),
    (mode, &["notify_change"]),
    (attribute, &["vfs_setxattr", "vfs_removexattr"]),
    (set_acl, &["vfs_set_acl"]),
    (remove_acl, &["vfs_remove_acl"]),
    (flags, &["vfs_fileattr_set"]),
    (room, &["vfs_fallocate"]),
    (write, &["do_dentry_open"]),
];

/// A minimal access control list (posix_acl_xattr_header and posix_acl_xattr_entry of linux/posix_acl_xattr.h): the owner may
/// read and write, others nothing.
const ACL: [u8; 28] = [
    2, 0, 0, 0, // version
    1, 0, 6, 0, 0xff, 0xff, 0xff, 0xff, // ACL_USER_OBJ
    4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, // ACL_GROUP_OBJ
    0x20, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, // ACL_OTHER
];
const ACL_NAME: &str = "system.posix_acl_access";
const ATTRIBUTE: &str = "user.graven";

/// Does what these hooks hang on, as far as it can be done in this folder: the hooks that it went through.
pub(super) fn all(folder: &Path, wanted: &BTreeSet<&'static str>) -> Vec<&'static str> {
    let is_wanted = |hooks: Hooks| hooks.iter().any(|hook| wanted.contains(hook));
    let mut hooks = Vec::new();
    clear(folder);
    for (deed, goes_through) in DEEDS.iter().filter(|(_, hooks)| is_wanted(hooks)) {
        if deed(folder).is_ok() {
            hooks.extend(*goes_through);
        }
    }
    let of_kind = kind(folder).map_or(&[][..], |kind| by_kind(&kind));
    if is_wanted(of_kind) && write(folder).is_ok() && times(folder).is_ok() {
        hooks.extend(of_kind);
    }
    clear(folder);
    hooks
}

/// The type of the file system, by the mount table: ext2, ext3 and ext4 have one number in statfs(2).
fn kind(folder: &Path) -> Option<String> {
    let device = fs::metadata(folder).ok()?.dev();
    let device = format!("{}:{}", major(device), minor(device));
    let mut table = String::new();
    File::open("/proc/self/mountinfo").ok()?.take(MOUNTINFO).read_to_string(&mut table).ok()?;
    let line = table.lines().find(|line| line.split(' ').nth(2) == Some(&device))?;
    line.split_once(" - ")?.1.split(' ').next().map(str::to_owned)
}

/// What a file system of this kind goes through when a file is written to and its mode is set.
fn by_kind(kind: &str) -> Hooks {
    match kind {
        "tmpfs" => &["file_update_time", "ctime_ns_xchg", "ctime_xchg_skip"],
        "ext4" => &["file_modified", "ctime_ns_xchg", "ctime_xchg_skip"],
        "xfs" => &["kiocb_modified"],
        _ => &[],
    }
}

/// What is done outside of folders: a call, which makes a pipe, whose inode has no multigrain times.
pub(super) fn elsewhere() -> Vec<&'static str> {
    let mut hooks = Vec::new();
    if io::pipe().is_ok() {
        hooks.extend(["sys_exit", "inode_set_ctime_to_ts"]);
    }
    if sys::request_nothing().is_ok() {
        hooks.push("io_uring");
    }
    hooks
}

/// What an earlier run may have left.
fn clear(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        // What cannot be removed makes the deed fail that needs its name.
        let _removed = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
    }
}

fn node(folder: &Path) -> io::Result<()> {
    for kind in [FileType::RegularFile, FileType::Fifo] {
        let path = folder.join("node");
        mknodat(CWD, &path, kind, Mode::RUSR, 0)?;
        fs::remove_file(path)?;
    }
    Ok(())
}

fn folder(folder: &Path) -> io::Result<()> {
    let path = folder.join("folder");
    fs::create_dir(&path)?;
    fs::remove_dir(path)
}

fn link(folder: &Path) -> io::Result<()> {
    let [link, other, renamed] = ["link", "other", "renamed"].map(|name| folder.join(name));
    std::os::unix::fs::symlink("link", &link)?;
    fs::hard_link(&link, &other)?;
    fs::rename(&other, &renamed)?;
    fs::remove_file(renamed)?;
    fs::remove_file(link)
}

fn file(folder: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    options.open(folder.join("file"))
}

fn write(folder: &Path) -> io::Result<()> {
    file(folder)?.write_all(b"graven")
}

fn mode(folder: &Path) -> io::Result<()> {
    Ok(fchmod(file(folder)?, Mode::RUSR | Mode::WUSR)?)
}

/// One after a tick, and several within one.
fn times(folder: &Path) -> io::Result<()> {
    let file = file(folder)?;
    std::thread::sleep(TICK);
    (0..AT_ONCE).try_for_each(|_| fchmod(&file, Mode::RUSR | Mode::WUSR))?;
    Ok(())
}

fn attribute(folder: &Path) -> io::Result<()> {
    let file = file(folder)?;
    asked(fsetxattr(&file, ATTRIBUTE, b"1", XattrFlags::empty()))?;
    asked(fremovexattr(&file, ATTRIBUTE))
}

fn set_acl(folder: &Path) -> io::Result<()> {
    asked(fsetxattr(file(folder)?, ACL_NAME, &ACL, XattrFlags::empty()))
}

fn remove_acl(folder: &Path) -> io::Result<()> {
    asked(fremovexattr(file(folder)?, ACL_NAME))
}

/// The flags that the file has: whoever asks for these asks for no change.
fn flags(folder: &Path) -> io::Result<()> {
    let file = file(folder)?;
    asked(ioctl_setflags(&file, ioctl_getflags(&file).unwrap_or(IFlags::empty())))
}

fn room(folder: &Path) -> io::Result<()> {
    asked(fallocate(file(folder)?, FallocateFlags::KEEP_SIZE, 0, 1))
}

/// The function that is hung on is asked, and it is the file system that does not know the matter.
fn asked(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Errno::NOTSUP | Errno::NODATA | Errno::NOTTY) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
