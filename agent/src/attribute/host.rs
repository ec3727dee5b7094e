//! What attribution asks of the host: `/proc` and `/etc/passwd`. The only I/O of this stage.

use std::ffi::OsString;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, Stat, major, minor};
use rustix::io::Errno;

/// Bytes read of a small file of `/proc/PID`.
const SMALL: u64 = 64 << 10;
/// Bytes of a command line that are read: as many as the sensor keeps.
const ARGUMENTS: u64 = 4096;
/// Bytes of a mount table that are read: 100,000 mounts (fs.mount-max) of some 160 bytes.
const MOUNTINFO: u64 = 16 << 20;
/// Process 1 is in the initial mount namespace; where it is not to be read, the agent's own stands in.
const MOUNTINFOS: [&str; 2] = ["/proc/1/mountinfo", "/proc/self/mountinfo"];
/// Likewise its number.
const NAMESPACES: [&str; 2] = ["/proc/1/ns/mnt", "/proc/self/ns/mnt"];
/// Bytes of `/etc/passwd` that are read.
const PASSWD: u64 = 8 << 20;
/// PF_KTHREAD of `task.flags`.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// What `/proc` says of a process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Start in ticks since boot.
    pub start: u64,
    /// Process id of the parent as it is now; 0 = the kernel.
    pub parent: u32,
    /// `comm`.
    pub comm: Vec<u8>,
    /// A kernel thread.
    pub kernel_thread: bool,
    /// NUL-joined argv, cut at a bound.
    pub arguments: Vec<u8>,
    /// Whether it was cut.
    pub arguments_cut: bool,
    /// Its program; none for kernel threads, and when it ended meanwhile.
    pub exe: Option<Exe>,
    /// The text of `cgroup`.
    pub cgroup: Vec<u8>,
}

/// The program of a process as `/proc/PID/exe` shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exe {
    /// The link's text: a path in the mount namespace of the process.
    pub link: Vec<u8>,
    /// Device by stat, as major << 20 | minor.
    pub device: u64,
    /// Inode by stat.
    pub inode: u64,
    /// No link leads to it any more.
    pub deleted: bool,
    /// The process is in this mount namespace.
    pub here: bool,
}

/// The host as attribution sees it, so that tests can be one.
pub trait Host {
    /// Every process there is.
    fn processes(&self) -> std::io::Result<Vec<u32>>;
    /// One of them; none when it is gone.
    fn facts(&self, pid: u32) -> Option<Facts>;
    /// The text of its `cgroup` file, if it is still the process that started at this tick.
    fn cgroup(&self, pid: u32, start: u64) -> Option<Vec<u8>>;
    /// Inode of a directory: for the unified cgroup hierarchy the kernel's cgroup id.
    fn inode(&self, path: &Path) -> Option<u64>;
    /// Whether a path leads to this file.
    fn is(&self, path: &[u8], device: u64, inode: u64) -> bool;
    /// The mount table of the initial mount namespace.
    fn mountinfo(&self) -> std::io::Result<Vec<u8>>;
    /// `ns.inum` of the initial mount namespace; 0 = not to be had.
    fn mount_namespace(&self) -> u32 {
        0
    }
    /// The passwd file, if it changed since it was asked for last.
    fn passwd(&mut self) -> Option<Vec<u8>>;
}

/// This host.
#[derive(Debug, Default)]
pub struct ThisHost {
    /// Inode, modification time in s and ns, size.
    passwd: Option<(u64, i64, u64, i64)>,
}

impl Host for ThisHost {
    fn processes(&self) -> std::io::Result<Vec<u32>> {
        let entries = std::fs::read_dir("/proc")?;
        // An entry that cannot be read is a process that ended.
        Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
    }

    fn facts(&self, pid: u32) -> Option<Facts> {
        // The directory stays that of this process even when the pid is used again.
        let directory = open_process(pid)?;
        let mut facts = parse_stat(&read_at(&directory, "stat", SMALL)?)?;
        facts.cgroup = read_at(&directory, "cgroup", SMALL)?;
        if !facts.kernel_thread {
            let arguments = read_at(&directory, "cmdline", ARGUMENTS + 1)?;
            facts.arguments_cut = arguments.len() as u64 > ARGUMENTS;
            let length = arguments.len().min(usize::try_from(ARGUMENTS).unwrap_or(usize::MAX));
            facts.arguments =
                arguments[..length].strip_suffix(b"\0").unwrap_or(&arguments[..length]).to_vec();
            facts.exe = exe(&directory);
        }
        Some(facts)
    }

    fn cgroup(&self, pid: u32, start: u64) -> Option<Vec<u8>> {
        let directory = open_process(pid)?;
        let facts = parse_stat(&read_at(&directory, "stat", SMALL)?)?;
        (facts.start == start).then(|| read_at(&directory, "cgroup", SMALL)).flatten()
    }

    fn inode(&self, path: &Path) -> Option<u64> {
        Some(rustix::fs::stat(path).ok()?.st_ino)
    }

    fn mount_namespace(&self) -> u32 {
        let link = NAMESPACES.iter().find_map(|path| std::fs::read_link(path).ok());
        link.and_then(|link| namespace(link.as_os_str().as_bytes())).unwrap_or(0)
    }

    fn is(&self, path: &[u8], device: u64, inode: u64) -> bool {
        let path = PathBuf::from(OsString::from_vec(path.to_vec()));
        rustix::fs::stat(&path).is_ok_and(|stat| device_of(&stat) == device && stat.st_ino == inode)
    }

    fn mountinfo(&self) -> std::io::Result<Vec<u8>> {
        read(MOUNTINFOS[0], MOUNTINFO).or_else(|_| read(MOUNTINFOS[1], MOUNTINFO))
    }

    fn passwd(&mut self) -> Option<Vec<u8>> {
        let stat = rustix::fs::stat("/etc/passwd").ok()?;
        let stamp = (stat.st_ino, stat.st_mtime, stat.st_mtime_nsec, stat.st_size);
        if self.passwd == Some(stamp) {
            return None;
        }
        let text = read("/etc/passwd", PASSWD).ok()?;
        self.passwd = Some(stamp);
        Some(text)
    }
}

fn read(path: &str, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn open_process(pid: u32) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(format!("/proc/{pid}"), flags, Mode::empty()).ok()
}

fn read_at(directory: &impl AsFd, name: &str, limit: u64) -> Option<Vec<u8>> {
    let file = rustix::fs::openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut bytes = Vec::new();
    std::fs::File::from(file).take(limit).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn exe(directory: &impl AsFd) -> Option<Exe> {
    let link = rustix::fs::readlinkat(directory, "exe", Vec::new()).ok()?.into_bytes();
    let stat = rustix::fs::statat(directory, "exe", AtFlags::empty()).ok()?;
    let namespace = |link: Result<std::ffi::CString, Errno>| link.ok();
    let here = namespace(rustix::fs::readlinkat(directory, "ns/mnt", Vec::new())).is_some_and(|theirs| {
        Some(theirs) == namespace(rustix::fs::readlink("/proc/self/ns/mnt", Vec::new()))
    });
    Some(Exe { link, device: device_of(&stat), inode: stat.st_ino, deleted: stat.st_nlink == 0, here })
}

/// As the kernel has it inside: major << 20 | minor.
fn device_of(stat: &Stat) -> u64 {
    u64::from(major(stat.st_dev)) << 20 | u64::from(minor(stat.st_dev))
}

/// `/proc/PID/stat`: the name may hold anything, so the fields are counted from its last parenthesis.
fn parse_stat(text: &[u8]) -> Option<Facts> {
    let open = text.iter().position(|&byte| byte == b'(')?;
    let close = text.iter().rposition(|&byte| byte == b')')?;
    let comm = text.get(open + 1..close)?.to_vec();
    let rest = std::str::from_utf8(text.get(close + 1..)?).ok()?;
    // Field 3 (state) comes first here.
    let fields = rest.split_ascii_whitespace().collect::<Vec<_>>();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Facts {
        start: number(22)?,
        parent: u32::try_from(number(4)?).ok()?,
        comm,
        kernel_thread: number(9)? & KERNEL_THREAD != 0,
        ..Facts::default()
    })
}

/// The directory of a cgroup below the mount of the unified hierarchy.
pub(super) fn cgroup_directory(mount: &[u8], group: &str) -> PathBuf {
    Path::new(std::ffi::OsStr::from_bytes(mount)).join(group.trim_start_matches('/'))
}

/// The number in `mnt:[4026531832]`.
fn namespace(link: &[u8]) -> Option<u32> {
    let number = link.strip_prefix(b"mnt:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_process_is_called() {
        let line = b"42 (a) b (c) S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 227839 1 1\n";
        let facts = parse_stat(line).unwrap();
        assert_eq!((facts.comm.as_slice(), facts.parent, facts.start), (b"a) b (c".as_slice(), 7, 227_839));
        assert!(!facts.kernel_thread);
        assert!(
            parse_stat(b"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 3 0 0\n")
                .unwrap()
                .kernel_thread
        );
    }

    #[test]
    fn this_process_finds_itself() {
        let mut host = ThisHost::default();
        let pid = std::process::id();
        assert!(host.processes().unwrap().contains(&pid));
        let facts = host.facts(pid).unwrap();
        assert!(!facts.arguments.is_empty());
        let exe = facts.exe.unwrap();
        assert!(exe.here && !exe.deleted);
        assert!(host.is(&exe.link, exe.device, exe.inode));
        assert_eq!(host.cgroup(pid, facts.start).as_deref(), Some(facts.cgroup.as_slice()));
        assert_eq!(host.cgroup(pid, facts.start + 1), None, "another process of that pid");
        assert!(host.passwd().is_some());
        assert!(host.passwd().is_none(), "it did not change");
        assert!(!host.mountinfo().unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn hostile_stat_lines_never_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
            parse_stat(&text);
        }
    }
}
