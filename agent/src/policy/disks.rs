//! What is done to disks, and to the kernel's memory, below the file systems: by device nodes, wherever these lie.
//!
//! Numbers from the kernel's Documentation/admin-guide/devices.txt; those that the kernel gives as drivers come are named in
//! `/proc/devices`, as it was when the policy was read.

use std::path::Path;

use graven_abi::syscalls::ioctl;
use graven_record::v1::record::Event;

use super::host::Host;

/// S_IFMT, S_IFBLK and S_IFCHR of `st_mode`.
const TYPE: u32 = 0o170_000;
const BLOCK: u32 = 0o060_000;
const CHARACTER: u32 = 0o020_000;

/// Bits of a device's number that are the minor one.
const MINOR_BITS: u32 = 20;

/// Character devices: /dev/mem, kmem and port; /dev/mapper/control.
const NODES: [(u64, u64); 4] = [(1, 1), (1, 2), (1, 4), (10, 236)];
/// Character devices of one major number: SCSI's generic ones, memory technology devices, raw ones (up to 5.13).
const GENERIC: [u64; 3] = [21, 90, 162];
/// Drivers whose numbers are given as they come.
const DRIVERS: [&str; 3] = ["bsg", "nvme", "nvme-generic"];

const DEVICES: &str = "/proc/devices";
/// Bytes of it that are read: a line for each of at most 512 major numbers.
const LIMIT: u64 = 64 << 10;

/// Which character devices write to disks.
#[derive(Clone, Debug, Default)]
pub(super) struct Disks {
    majors: Vec<u64>,
}

impl Disks {
    pub(super) fn of(host: &dyn Host) -> Self {
        let text = host.read(Path::new(DEVICES), LIMIT).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        // Block devices come behind a heading of their own, and are known by their mode.
        let characters = text.lines().take_while(|line| !line.starts_with("Block devices"));
        let driver = |line: &str| {
            let (major, name) = line.trim().split_once(' ')?;
            DRIVERS.contains(&name).then(|| major.parse().ok())?
        };
        let majors = characters.filter_map(driver).chain(GENERIC).collect();
        Self { majors }
    }

    /// Why an event is kept though its node lies in a mutable place; none if it is about no disk.
    pub(super) fn reason(&self, event: &Event) -> Option<&'static str> {
        match event {
            Event::Open(open) => {
                let mode = open.file.as_ref()?.mode;
                match mode & TYPE {
                    BLOCK => Some(
                        "a disk was opened below its file system; its node lies in a place that may change",
                    ),
                    CHARACTER if self.writes(open.node_device) => {
                        Some("a device was opened that writes to disks or memory below all file systems")
                    }
                    _ => None,
                }
            }
            // All commands that are told of change something. What is written to an open disk its opening stands
            // for, and what else is written to a node is a terminal's.
            Event::Modify(modify) => match (command(&modify.operation)?, modify.file.as_ref()?.mode & TYPE) {
                (_, BLOCK | CHARACTER) => {
                    Some("a disk or its driver was given a command that changes something")
                }
                (name, _) if is_whole(name) => {
                    Some("a command changed a whole file system, the disks below it, or a file by its handle")
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn writes(&self, device: u64) -> bool {
        let (major, minor) = (device >> MINOR_BITS, device & ((1 << MINOR_BITS) - 1));
        NODES.contains(&(major, minor)) || self.majors.contains(&major)
    }
}

/// What was told by ioctl(2), or by the request of io_uring that stands for it; empty: a command without a name.
fn command(operation: &str) -> Option<&str> {
    let ways = ["ioctl", "io_uring uring_cmd128", "io_uring uring_cmd"];
    ways.iter().find_map(|way| operation.strip_prefix(way)).map(str::trim_start)
}

fn is_whole(name: &str) -> bool {
    ioctl::WHOLE.iter().any(|(_, whole)| *whole == name)
}

#[cfg(test)]
mod tests {
    use graven_record::v1::{File, Modify, Open};

    use super::super::host::fake::FakeHost;
    use super::*;

    const TEXT: &[u8] = b"Character devices:\n  1 mem\n 21 sg\n241 nvme\n242 nvme-generic\n\nBlock devices:\n  8 sd\n259 bsg\n";

    fn disks() -> Disks {
        Disks::of(&FakeHost::new(&["/proc"]).file(DEVICES, TEXT))
    }

    fn open(mode: u32, major: u64, minor: u64) -> Event {
        let file = Some(File { mode, ..File::default() });
        Event::Open(Open { file, node_device: major << MINOR_BITS | minor, ..Open::default() })
    }

    #[test]
    fn devices_that_write_to_disks_are_known_by_their_numbers() {
        let kept = |mode, major, minor| disks().reason(&open(mode, major, minor)).is_some();
        assert!(kept(0o060_660, 8, 0), "/dev/sda");
        for (major, minor) in [(21, 3), (241, 0), (242, 7), (1, 1), (1, 4), (10, 236)] {
            assert!(kept(0o020_600, major, minor), "{major}:{minor}");
        }
        for (major, minor) in [(1, 3), (5, 0), (136, 2), (10, 229), (259, 0)] {
            assert!(!kept(0o020_666, major, minor), "{major}:{minor}");
        }
        assert!(!kept(0o100_644, 0, 0));
    }

    #[test]
    fn a_command_to_a_device_is_kept_and_one_to_a_file_is_judged_by_its_place() {
        let kept = |mode, operation: &str| {
            let file = Some(File { mode, ..File::default() });
            let modify = Modify { file, operation: operation.to_owned(), ..Modify::default() };
            disks().reason(&Event::Modify(modify)).is_some()
        };
        assert!(kept(0o060_660, "ioctl BLKDISCARD") && kept(0o020_600, "ioctl SG_IO"));
        assert!(kept(0o020_600, "io_uring uring_cmd128 NVME_URING_CMD_IO"));
        assert!(
            kept(0o040_755, "ioctl BTRFS_IOC_ADD_DEV") && kept(0o100_644, "ioctl XFS_IOC_OPEN_BY_HANDLE")
        );
        assert!(!kept(0o100_644, "ioctl FICLONE") && !kept(0o020_620, "write") && !kept(0o060_660, "write"));
    }
}
