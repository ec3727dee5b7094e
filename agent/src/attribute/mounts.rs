//! The mount table of the initial mount namespace: from a file system's own path to the path on the host.

use std::sync::Arc;

use graven_record::v1::MountKind;

use crate::decode::observed::DentryPath;
use crate::quick::QuickMap;

/// Mounts read: the kernel's own bound per namespace (fs.mount-max) is 100,000.
const MOUNTS: usize = 100_000;
/// Other names listed of one file: a container host may bind one directory hundreds of times.
const ALIASES: usize = 8;
/// Mounts looked at for one file, for the same reason.
const CANDIDATES: usize = 256;
/// Names of one path: PATH_MAX has room for 2,048.
const DEPTH: usize = 2048;

/// The table.
#[derive(Clone, Debug, Default)]
pub(super) struct Mounts {
    mounts: Vec<Mount>,
    /// Visible mounts of a device: deepest root first, then lowest id.
    by_device: QuickMap<u64, Vec<usize>>,
    by_id: QuickMap<u32, usize>,
    /// What is mounted on a mount: mount id → mount point → mount.
    on: QuickMap<u32, QuickMap<Vec<u8>, usize>>,
    /// Whether something is mounted at a path of so many bytes: most prefixes of a path need not be looked up.
    lengths: Vec<bool>,
    top: Option<usize>,
    /// Lines that could not be read, or were beyond the bound.
    pub(super) unread: u64,
}

#[derive(Clone, Debug, PartialEq)]
struct Mount {
    id: u32,
    parent: u32,
    device: u64,
    root: Vec<u8>,
    point: Vec<u8>,
    filesystem: Arc<str>,
    /// What is mounted, as whoever mounted it said.
    source: Vec<u8>,
    /// The mount, or all of its file system.
    read_only: bool,
}

/// A mount that is there, gone, elsewhere or otherwise than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Changed<'a> {
    pub(super) kind: MountKind,
    pub(super) point: &'a [u8],
    pub(super) source: &'a [u8],
    pub(super) filesystem: &'a str,
}

/// A host path and its other names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) path: Vec<u8>,
    pub(super) aliases: Vec<Vec<u8>>,
}

impl Mounts {
    /// Reads a `mountinfo` file.
    pub(super) fn parse(text: &[u8]) -> Self {
        let mut table = Self::default();
        for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            match mount(line) {
                Some(mount) if table.mounts.len() < MOUNTS => table.mounts.push(mount),
                _ => table.unread += 1,
            }
        }
        table.link();
        table
    }

    /// Every mount point that can be seen.
    pub(super) fn points(&self) -> impl Iterator<Item = &[u8]> {
        let visible = self.by_device.values().flatten().filter_map(|at| self.mounts.get(*at));
        visible.map(|mount| mount.point.as_slice())
    }

    /// Whether a mount of this device is visible.
    pub(super) fn knows(&self, device: u64) -> bool {
        self.by_device.contains_key(&device)
    }

    /// Type of the file system on a device; "" when it is not mounted here.
    pub(super) fn filesystem(&self, device: u64) -> &str {
        let of_device = self.by_device.get(&device).and_then(|mounts| self.mounts.get(*mounts.first()?));
        of_device.map_or("", |mount| &mount.filesystem)
    }

    /// Where the unified cgroup hierarchy is mounted.
    pub(super) fn unified_cgroup(&self) -> Option<&[u8]> {
        let visible = self.by_device.values().flatten().filter_map(|at| self.mounts.get(*at));
        let cgroup = visible.filter(|mount| &*mount.filesystem == "cgroup2" && mount.root == b"/");
        cgroup.min_by_key(|mount| mount.id).map(|mount| mount.point.as_slice())
    }

    /// The names of a dentry on the host. No mount shows it: `fs:MAJOR:MINOR:/path`.
    pub(super) fn resolve(&self, dentry: &DentryPath) -> Names {
        let inner = if dentry.names.is_empty() { b"/" } else { dentry.names.as_slice() };
        let mut names = Names::default();
        for &at in self.by_device.get(&dentry.device).into_iter().flatten().take(CANDIDATES) {
            let Some(path) = self.mounts.get(at).and_then(|mount| self.through(mount, at, inner)) else {
                continue;
            };
            if names.path.is_empty() {
                names.path = path;
            } else if names.aliases.len() < ALIASES && path != names.path {
                names.aliases.push(path);
            }
        }
        if names.path.is_empty() {
            names.path = self.by_mount(dentry, inner).unwrap_or_else(|| hidden(dentry.device, inner));
        }
        names
    }

    /// `s_dev` of the file system that a path leads into: what stat says differs on btrfs.
    pub(super) fn device_of(&self, path: &[u8]) -> Option<u64> {
        Some(self.mounts.get(self.at_path(path)?)?.device)
    }

    /// Whether what a path leads to has another path too.
    pub(super) fn is_elsewhere(&self, path: &[u8]) -> bool {
        let mount = self.at_path(path).and_then(|at| self.mounts.get(at));
        mount.is_some_and(|mount| {
            let rest = below(path, &mount.point).unwrap_or_default();
            let inner = if rest.is_empty() {
                mount.root.clone()
            } else {
                [trimmed(&mount.root), b"/", rest].concat()
            };
            self.has_other_name(mount, &inner, path)
        })
    }

    fn has_other_name(&self, mount: &Mount, inner: &[u8], path: &[u8]) -> bool {
        let mounts = self.by_device.get(&mount.device).into_iter().flatten();
        let mut others = mounts.filter_map(|&at| self.through(self.mounts.get(at)?, at, inner));
        others.any(|other| other != path)
    }

    /// Where stat's device and the superblock's differ, the mount still leads there.
    fn by_mount(&self, dentry: &DentryPath, inner: &[u8]) -> Option<Vec<u8>> {
        if self.knows(dentry.device) {
            return None;
        }
        let at = *self.by_id.get(&dentry.mount?)?;
        self.mounts.get(at).and_then(|mount| self.through(mount, at, inner))
    }

    /// The path of `inner` through one mount, if it is in the mounted part and nothing is mounted over it.
    fn through(&self, mount: &Mount, at: usize, inner: &[u8]) -> Option<Vec<u8>> {
        let rest = below(inner, &mount.root)?;
        let path =
            if rest.is_empty() { mount.point.clone() } else { [trimmed(&mount.point), b"/", rest].concat() };
        (self.at_path(&path)? == at).then_some(path)
    }

    /// What differs from an earlier table. A mount's number is used again once it is gone: with another file system or another
    /// part of one it is another mount.
    pub(super) fn changes_since<'a>(&'a self, before: &'a Self) -> Vec<Changed<'a>> {
        // What is mounted may have got another name, or the mount another place; not both.
        let same = |one: &Mount, other: &Mount| {
            one.device == other.device && (one.root == other.root || one.point == other.point)
        };
        let counterpart = |of: &Mount, table: &'a Self| {
            let mount = table.mounts.get(*table.by_id.get(&of.id)?)?;
            same(mount, of).then_some(mount)
        };
        let gone = before.mounts.iter().filter(|mount| counterpart(mount, self).is_none());
        let gone = gone.map(|mount| mount.changed(MountKind::Unmount));
        let now = self.mounts.iter().filter_map(|mount| {
            let kind = match counterpart(mount, before) {
                None if mount.root == b"/" => MountKind::Mount,
                None => MountKind::Bind,
                Some(then) if then.point != mount.point => MountKind::Move,
                Some(then) if then.read_only != mount.read_only => MountKind::Remount,
                Some(_) => return None,
            };
            Some(mount.changed(kind))
        });
        gone.chain(now).collect()
    }

    fn link(&mut self) {
        for (at, mount) in self.mounts.iter().enumerate() {
            self.by_id.insert(mount.id, at);
            self.on.entry(mount.parent).or_default().insert(mount.point.clone(), at);
            let length = mount.point.len();
            self.lengths.resize(self.lengths.len().max(length + 1), false);
            self.lengths[length] = true;
        }
        let is_top = |mount: &&Mount| mount.point == b"/" && !self.is_stacked(mount);
        self.top = self.mounts.iter().find(is_top).and_then(|mount| self.by_id.get(&mount.id).copied());
        let visible =
            self.mounts.iter().enumerate().filter(|(at, mount)| self.at_path(&mount.point) == Some(*at));
        let mut by_device = QuickMap::<u64, Vec<usize>>::default();
        for (at, mount) in visible {
            by_device.entry(mount.device).or_default().push(at);
        }
        for mounts in by_device.values_mut() {
            mounts.sort_by_key(|at| {
                let mount = &self.mounts[*at];
                let depth = mount.root.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).count();
                (std::cmp::Reverse(depth), mount.id)
            });
        }
        self.by_device = by_device;
    }

    fn is_stacked(&self, mount: &Mount) -> bool {
        mount.parent != mount.id && self.by_id.contains_key(&mount.parent)
    }

    /// The mount that a path look-up ends in: follows what is mounted on what, name by name.
    fn at_path(&self, path: &[u8]) -> Option<usize> {
        let mut at = self.stacked(self.top?, b"/");
        let ends = (1..path.len()).filter(|&end| path[end] == b'/').chain(std::iter::once(path.len()));
        for end in ends.take(DEPTH) {
            if self.lengths.get(end) == Some(&true) {
                at = self.stacked(at, &path[..end]);
            }
        }
        Some(at)
    }

    /// What is on top of `at` at this path; every step leads to another mount, so it ends.
    fn stacked(&self, mut at: usize, path: &[u8]) -> usize {
        for _ in 0..self.mounts.len() {
            let upper = self.mounts.get(at).and_then(|mount| self.on.get(&mount.id)?.get(path));
            match upper {
                Some(&upper) if upper != at => at = upper,
                _ => break,
            }
        }
        at
    }
}

impl Mount {
    fn changed(&self, kind: MountKind) -> Changed<'_> {
        Changed { kind, point: &self.point, source: &self.source, filesystem: &self.filesystem }
    }
}

fn hidden(device: u64, inner: &[u8]) -> Vec<u8> {
    let (major, minor) = (device >> 20, device & 0xf_ffff);
    [format!("fs:{major}:{minor}:").as_bytes(), inner].concat()
}

/// What is left of `path` below `root`; none when it is not below.
fn below<'a>(path: &'a [u8], root: &[u8]) -> Option<&'a [u8]> {
    let rest = path.strip_prefix(trimmed(root))?;
    match rest.first() {
        None => Some(rest),
        Some(b'/') => Some(&rest[1..]),
        Some(_) => None,
    }
}

fn trimmed(path: &[u8]) -> &[u8] {
    path.strip_suffix(b"/").unwrap_or(path)
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw`
fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let mut device = fields.next()?.split(|&byte| byte == b':');
    let (major, minor) = (number(device.next()?)?, number(device.next()?)?);
    let root = unescaped(fields.next()?);
    let point = unescaped(fields.next()?);
    let options = fields.next()?;
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    let filesystem = fields.next()?;
    let source = fields.next().map(unescaped).unwrap_or_default();
    let of_all = fields.next().unwrap_or_default();
    let read_only = [options, of_all]
        .into_iter()
        .any(|options| options.split(|&byte| byte == b',').any(|one| one == b"ro"));
    let device = (u64::from(major) << 20) | u64::from(minor);
    let filesystem = String::from_utf8_lossy(filesystem).into();
    // Namespace files and the like have a root that is no path; a removed root ends in "//deleted".
    let mount = Mount { id, parent, device, root, point, filesystem, source, read_only };
    mount.point.starts_with(b"/").then_some(mount)
}

fn number(field: &[u8]) -> Option<u32> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// The kernel writes space, tab, newline, backslash and `#` as `\ooo`.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| first == b'\\').and_then(octal);
        match octal {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    bytes
}

fn octal(digits: &[u8]) -> Option<u8> {
    let text =
        std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    u8::from_str_radix(text, 8).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROOT: u64 = 254 << 20;

    const TABLE: &[u8] = b"\
22 27 0:21 / /proc rw,relatime - proc proc rw
24 27 0:6 / /dev rw,relatime - devtmpfs devtmpfs rw
26 24 0:24 / /dev/pts rw - devpts devpts rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
29 26 0:26 / /dev/pts rw - devpts devpts rw
40 27 8:1 /@/srv /srv rw shared:1 - btrfs /dev/sda1 rw
41 27 8:1 / /mnt/my\\040disk rw - btrfs /dev/sda1 rw
42 27 254:0 /etc /mnt/etc rw - ext4 /dev/vda rw
50 27 0:50 / /var/lib/x rw - tmpfs tmpfs rw
51 50 0:51 / /var/lib/x/in rw - tmpfs tmpfs rw
52 27 0:52 / /var/lib rw - tmpfs tmpfs rw
31 27 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw
";

    fn dentry(device: u64, path: &str) -> DentryPath {
        let names = path.trim_end_matches('/').into();
        DentryPath { device, names, ..DentryPath::default() }
    }

    fn resolve(device: u64, path: &str) -> (String, Vec<String>) {
        let names = Mounts::parse(TABLE).resolve(&dentry(device, path));
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        (text(&names.path), names.aliases.iter().map(text).collect())
    }

    fn path(device: u64, path: &str) -> String {
        resolve(device, path).0
    }

    #[test]
    fn a_dentry_is_named_through_the_visible_mount_of_its_file_system() {
        assert_eq!(path(ROOT, "/usr/bin/ls"), "/usr/bin/ls");
        assert_eq!(path(ROOT, "/"), "/");
        assert_eq!(path(0x6, "/null"), "/dev/null");
        assert_eq!(path(0x6, "/"), "/dev");
    }

    #[test]
    fn the_deepest_root_names_it_and_the_others_are_aliases() {
        let bind = resolve(ROOT, "/etc/passwd");
        assert_eq!(bind, ("/mnt/etc/passwd".to_owned(), vec!["/etc/passwd".to_owned()]));
        let subvolume = resolve(8 << 20 | 1, "/@/srv/www/x");
        assert_eq!(subvolume, ("/srv/www/x".to_owned(), vec!["/mnt/my disk/@/srv/www/x".to_owned()]));
        assert_eq!(path(8 << 20 | 1, "/@/srvx"), "/mnt/my disk/@/srvx");
    }

    #[test]
    fn what_is_mounted_over_is_not_a_host_path() {
        assert_eq!(path(24, "/3"), "fs:0:24:/3", "a second mount on the same point hides the first");
        assert_eq!(path(26, "/3"), "/dev/pts/3");
        assert_eq!(path(ROOT, "/var/lib/dpkg"), "fs:254:0:/var/lib/dpkg");
        assert_eq!(path(50, "/a"), "fs:0:50:/a", "a mount over its parent directory hides it");
        assert_eq!(path(51, "/a"), "fs:0:51:/a");
        assert_eq!(path(52, "/a"), "/var/lib/a");
    }

    #[test]
    fn an_unknown_device_is_named_by_its_mount_or_said_to_be_unnamed() {
        assert_eq!(path(99, "/a/b"), "fs:0:99:/a/b");
        let mounts = Mounts::parse(TABLE);
        let by_mount = DentryPath { mount: Some(52), ..dentry(99, "/a") };
        assert_eq!(mounts.resolve(&by_mount).path, b"/var/lib/a");
        let lost = DentryPath { mount: Some(1234), ..dentry(99, "/a") };
        assert_eq!(mounts.resolve(&lost).path, b"fs:0:99:/a");
    }

    #[test]
    fn names_that_are_not_utf_8_survive() {
        let bytes = DentryPath { names: b"/a\xff".to_vec(), ..dentry(ROOT, "/") };
        assert_eq!(Mounts::parse(TABLE).resolve(&bytes).path, b"/a\xff");
    }

    #[test]
    fn a_second_root_covers_the_first() {
        let mounts = Mounts::parse(b"1 1 0:1 / / rw - rootfs rootfs rw\n2 1 254:0 / / rw - ext4 x rw\n");
        assert_eq!(mounts.resolve(&dentry(ROOT, "/etc")).path, b"/etc");
        assert_eq!(mounts.resolve(&dentry(1, "/etc")).path, b"fs:0:1:/etc");
    }

    #[test]
    fn mount_points_are_the_visible_ones_and_what_is_at_two_places_is_known() {
        let mounts = Mounts::parse(TABLE);
        let mut points =
            mounts.points().map(|point| String::from_utf8_lossy(point).into_owned()).collect::<Vec<_>>();
        points.sort();
        let all = [
            "/",
            "/dev",
            "/dev/pts",
            "/mnt/etc",
            "/mnt/my disk",
            "/proc",
            "/srv",
            "/sys/fs/cgroup",
            "/var/lib",
        ];
        assert_eq!(points, all);
        assert!(mounts.is_elsewhere(b"/mnt/etc/ssh") && mounts.is_elsewhere(b"/etc/ssh"));
        assert!(mounts.is_elsewhere(b"/srv"));
        assert!(
            !mounts.is_elsewhere(b"/usr")
                && !mounts.is_elsewhere(b"/")
                && !mounts.is_elsewhere(b"/var/lib/a")
        );
        let whole = Mounts::parse(b"1 0 254:0 / / rw - ext4 x rw\n2 1 254:0 / /tmp/m rw - ext4 x rw\n");
        assert!(whole.is_elsewhere(b"/") && whole.is_elsewhere(b"/etc"));
    }

    #[test]
    fn types_and_the_cgroup_root_are_known() {
        let mounts = Mounts::parse(TABLE);
        assert_eq!(mounts.filesystem(ROOT), "ext4");
        assert_eq!(mounts.filesystem(99), "");
        assert_eq!(mounts.unified_cgroup(), Some(b"/sys/fs/cgroup".as_slice()));
    }

    #[test]
    fn a_broken_line_is_counted_and_costs_no_other() {
        let mounts =
            Mounts::parse(b"27 1 254:0 / / rw - ext4 x rw\nnonsense\n28 27 x:y / /a rw - ext4 x rw\n");
        assert_eq!(mounts.unread, 2);
        assert!(mounts.knows(ROOT));
    }

    #[test]
    fn this_hosts_own_table_names_this_hosts_root() -> std::io::Result<()> {
        let mounts = Mounts::parse(&std::fs::read("/proc/self/mountinfo")?);
        assert_eq!(mounts.unread, 0);
        let top = mounts.top.and_then(|at| mounts.mounts.get(at)).map_or(0, |mount| mount.device);
        assert_eq!(mounts.resolve(&dentry(top, "/etc")).path, b"/etc");
        Ok(())
    }

    proptest! {
        #[test]
        fn any_table_resolves_any_dentry_to_a_path_or_to_none(
            lines in prop::collection::vec((1..9u32, 1..9u32, 0..3u32, "(/[ab]){0,2}/?", "(/[ab]){0,3}/?"), 0..12),
            names in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..4), 0..5),
            device in 0..4u64,
            mount in prop::option::of(0..9u32),
        ) {
            let text = lines.iter().map(|(id, parent, minor, root, point)| {
                format!("{id} {parent} 0:{minor} {root} {point} rw - tmpfs t rw\n")
            }).collect::<String>();
            let mounts = Mounts::parse(text.as_bytes());
            let names = names.iter().flat_map(|name| [b"/", name.as_slice()].concat()).collect();
            let dentry = DentryPath { device, mount, names, ..DentryPath::default() };
            let names = mounts.resolve(&dentry);
            prop_assert!(names.path.starts_with(b"/") || names.path.starts_with(b"fs:"));
            prop_assert!(names.aliases.iter().all(|alias| alias.starts_with(b"/")));
        }

        #[test]
        fn hostile_bytes_never_panic(text in prop::collection::vec(any::<u8>(), 0..400)) {
            Mounts::parse(&text);
        }
    }
}
