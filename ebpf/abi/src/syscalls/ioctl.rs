//! Commands that change files, file systems or disks, by ioctl(2) or by io_uring's `uring_cmd`.

/// Those that set inode flags (chattr): FS_IOC_SETFLAGS, its 32-bit form, FS_IOC_FSSETXATTR,
/// FAT_IOCTL_SET_ATTRIBUTES.
pub const FLAGS: [u32; 4] = [0x4008_6602, 0x4004_6602, 0x401c_5820, 0x4004_7211];
/// FS_IOC_FSSETXATTR: the flags are the first field of a struct.
pub const FSSETXATTR: u32 = 0x401c_5820;

/// All others, with their names.
pub const CHANGES: &[(u32, &str)] = &[
    (0x4004_9409, "FICLONE"),
    (0x4020_940d, "FICLONERANGE"),
    (0xc018_9436, "FIDEDUPERANGE"),
    (0x5000_9401, "BTRFS_IOC_SNAP_CREATE"),
    (0x5000_9417, "BTRFS_IOC_SNAP_CREATE_V2"),
    (0x5000_940e, "BTRFS_IOC_SUBVOL_CREATE"),
    (0x5000_9418, "BTRFS_IOC_SUBVOL_CREATE_V2"),
    (0x5000_940f, "BTRFS_IOC_SNAP_DESTROY"),
    (0x5000_943f, "BTRFS_IOC_SNAP_DESTROY_V2"),
    (0x4008_9413, "BTRFS_IOC_DEFAULT_SUBVOL"),
    (0x4008_941a, "BTRFS_IOC_SUBVOL_SETFLAGS"),
    (0xc0c8_9425, "BTRFS_IOC_SET_RECEIVED_SUBVOL"),
    (0x0000_6611, "EXT4_IOC_SWAP_BOOT"),
    (0xc028_660f, "EXT4_IOC_MOVE_EXT"),
    (0x4028_5881, "XFS_IOC_EXCHANGE_RANGE"),
    (0xc0c0_586d, "XFS_IOC_SWAPEXT"),
    (0x4080_6685, "FS_IOC_ENABLE_VERITY"),
    (0x4100_9432, "FS_IOC_SETFSLABEL"),
    (0x0000_125d, "BLKROSET"),
    (0x0000_1277, "BLKDISCARD"),
    (0x0000_127d, "BLKSECDISCARD"),
    (0x0000_127f, "BLKZEROOUT"),
    (0x0000_4c00, "LOOP_SET_FD"),
    (0x0000_4c01, "LOOP_CLR_FD"),
    (0x0000_4c04, "LOOP_SET_STATUS64"),
    (0x0000_4c06, "LOOP_CHANGE_FD"),
    (0x0000_4c0a, "LOOP_CONFIGURE"),
    (0x0000_ab00, "NBD_SET_SOCK"),
    (0x0000_ab03, "NBD_DO_IT"),
    (0xc004_5877, "FIFREEZE"),
    (0xc004_5878, "FITHAW"),
    (0x0000_2285, "SG_IO"),
    (0xc048_4e41, "NVME_IOCTL_ADMIN_CMD"),
    (0x4030_4e42, "NVME_IOCTL_SUBMIT_IO"),
    (0xc048_4e43, "NVME_IOCTL_IO_CMD"),
    (0x0000_4e44, "NVME_IOCTL_RESET"),
    (0xc050_4e47, "NVME_IOCTL_ADMIN64_CMD"),
    (0xc050_4e48, "NVME_IOCTL_IO64_CMD"),
    (0xc050_4e49, "NVME_IOCTL_IO64_CMD_VEC"),
    (0xc048_4e80, "NVME_URING_CMD_IO"),
    (0xc048_4e81, "NVME_URING_CMD_IO_VEC"),
    (0xc048_4e82, "NVME_URING_CMD_ADMIN"),
    (0xc048_4e83, "NVME_URING_CMD_ADMIN_VEC"),
    (0x0000_1200, "BLOCK_URING_CMD_DISCARD"),
    (0xc138_fd01, "DM_REMOVE_ALL"),
    (0xc138_fd03, "DM_DEV_CREATE"),
    (0xc138_fd04, "DM_DEV_REMOVE"),
    (0xc138_fd05, "DM_DEV_RENAME"),
    (0xc138_fd06, "DM_DEV_SUSPEND"),
    (0xc138_fd09, "DM_TABLE_LOAD"),
    (0xc138_fd0a, "DM_TABLE_CLEAR"),
    (0xc138_fd0e, "DM_TARGET_MSG"),
];

/// Is it one that sets inode flags?
#[inline(always)]
pub const fn sets_flags(command: u32) -> bool {
    matches!(command, 0x4008_6602 | 0x4004_6602 | 0x401c_5820 | 0x4004_7211)
}

/// Does it change something else?
#[inline(always)]
pub const fn changes(command: u32) -> bool {
    // Most commands are of terminals and sockets: one comparison each tells them apart.
    match (command >> 8) & 0xff {
        0x94 | 0x66 | 0x58 | 0x12 | 0x4c | 0xab | 0x22 | 0x4e | 0xfd => listed(command),
        _ => false,
    }
}

#[inline(always)]
const fn listed(command: u32) -> bool {
    let mut i = 0;
    while i < CHANGES.len() {
        if CHANGES[i].0 == command {
            return true;
        }
        i += 1;
    }
    false
}

/// Its name.
pub fn name(command: u32) -> Option<&'static str> {
    if command == FLAGS[0] || command == FLAGS[1] {
        return Some("FS_IOC_SETFLAGS");
    }
    if command == FSSETXATTR {
        return Some("FS_IOC_FSSETXATTR");
    }
    CHANGES.iter().find(|(listed, _)| *listed == command).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_command_is_recognised_and_a_terminals_is_not() {
        assert!(CHANGES.iter().all(|(command, _)| changes(*command)));
        assert!(FLAGS.iter().all(|command| sets_flags(*command) && !changes(*command)));
        // TCGETS, FIONREAD, TIOCGWINSZ
        assert!(![0x5401, 0x541b, 0x5413].iter().any(|command| changes(*command) || sets_flags(*command)));
    }
}
