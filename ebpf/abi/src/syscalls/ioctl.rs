//! Commands that change files, file systems or disks, by ioctl(2) or by io_uring's `uring_cmd`.

/// Those that set inode flags (chattr): FS_IOC_SETFLAGS, its 32-bit form, FS_IOC_FSSETXATTR,
/// FAT_IOCTL_SET_ATTRIBUTES.
pub const FLAGS: [u32; 4] = [0x4008_6602, 0x4004_6602, 0x401c_5820, 0x4004_7211];
/// FS_IOC_FSSETXATTR: the flags are the first field of a struct.
pub const FSSETXATTR: u32 = 0x401c_5820;

/// A table, and whether a command is in it: as a `match`, because a table of strings in the sensor would be a map that
/// anybody can write.
macro_rules! commands {
    ($(#[$about:meta])* $table:ident, $(#[$asked:meta])* $is:ident: $($number:literal $name:literal,)+) => {
        $(#[$about])*
        pub const $table: &[(u32, &str)] = &[$(($number, $name)),+];

        $(#[$asked])*
        #[inline(always)]
        pub const fn $is(command: u32) -> bool {
            matches!(command, $($number)|+)
        }
    };
}

commands! {
    /// What changes the file or the device that it is called with, by name.
    CHANGES,
    /// Is it one of these?
    is_of_file:
    0x4004_9409 "FICLONE",
    0x4020_940d "FICLONERANGE",
    0xc018_9436 "FIDEDUPERANGE",
    0x5000_9401 "BTRFS_IOC_SNAP_CREATE",
    0x5000_9417 "BTRFS_IOC_SNAP_CREATE_V2",
    0x5000_940e "BTRFS_IOC_SUBVOL_CREATE",
    0x5000_9418 "BTRFS_IOC_SUBVOL_CREATE_V2",
    0x5000_940f "BTRFS_IOC_SNAP_DESTROY",
    0x5000_943f "BTRFS_IOC_SNAP_DESTROY_V2",
    0x4008_941a "BTRFS_IOC_SUBVOL_SETFLAGS",
    0xc0c8_9425 "BTRFS_IOC_SET_RECEIVED_SUBVOL",
    0xc0c0_9425 "BTRFS_IOC_SET_RECEIVED_SUBVOL_32",
    0x0000_6611 "EXT4_IOC_SWAP_BOOT",
    0xc028_660f "EXT4_IOC_MOVE_EXT",
    0x4028_5881 "XFS_IOC_EXCHANGE_RANGE",
    0xc0c0_586d "XFS_IOC_SWAPEXT",
    0x4058_5883 "XFS_IOC_COMMIT_RANGE",
    0x0000_f501 "F2FS_IOC_START_ATOMIC_WRITE",
    0x0000_f502 "F2FS_IOC_COMMIT_ATOMIC_WRITE",
    0x0000_f503 "F2FS_IOC_START_VOLATILE_WRITE",
    0x0000_f505 "F2FS_IOC_ABORT_ATOMIC_WRITE",
    0xc020_f509 "F2FS_IOC_MOVE_RANGE",
    0x4004_f50d "F2FS_IOC_SET_PIN_FILE",
    0x8008_f512 "F2FS_IOC_RELEASE_COMPRESS_BLOCKS",
    0x8008_f513 "F2FS_IOC_RESERVE_COMPRESS_BLOCKS",
    0x4018_f514 "F2FS_IOC_SEC_TRIM_FILE",
    0x4002_f516 "F2FS_IOC_SET_COMPRESS_OPTION",
    0x0000_f517 "F2FS_IOC_DECOMPRESS_FILE",
    0x0000_f518 "F2FS_IOC_COMPRESS_FILE",
    0x4080_6685 "FS_IOC_ENABLE_VERITY",
    0x0000_125d "BLKROSET",
    0x0000_1269 "BLKPG",
    0x0000_1277 "BLKDISCARD",
    0x0000_127d "BLKSECDISCARD",
    0x0000_127f "BLKZEROOUT",
    0x0000_4c00 "LOOP_SET_FD",
    0x0000_4c01 "LOOP_CLR_FD",
    0x0000_4c04 "LOOP_SET_STATUS64",
    0x0000_4c06 "LOOP_CHANGE_FD",
    0x0000_4c0a "LOOP_CONFIGURE",
    0x0000_ab00 "NBD_SET_SOCK",
    0x0000_ab03 "NBD_DO_IT",
    0x0000_2285 "SG_IO",
    0xc048_4e41 "NVME_IOCTL_ADMIN_CMD",
    0x4030_4e42 "NVME_IOCTL_SUBMIT_IO",
    0xc048_4e43 "NVME_IOCTL_IO_CMD",
    0x0000_4e44 "NVME_IOCTL_RESET",
    0xc050_4e47 "NVME_IOCTL_ADMIN64_CMD",
    0xc050_4e48 "NVME_IOCTL_IO64_CMD",
    0xc050_4e49 "NVME_IOCTL_IO64_CMD_VEC",
    0xc048_4e80 "NVME_URING_CMD_IO",
    0xc048_4e81 "NVME_URING_CMD_IO_VEC",
    0xc048_4e82 "NVME_URING_CMD_ADMIN",
    0xc048_4e83 "NVME_URING_CMD_ADMIN_VEC",
    0x0000_1200 "BLOCK_URING_CMD_DISCARD",
    0x4080_9440 "BTRFS_IOC_ENCODED_WRITE",
    0x4078_9440 "BTRFS_IOC_ENCODED_WRITE_32",
    0x0000_4c02 "LOOP_SET_STATUS",
    0xc048_b300 "MMC_IOC_CMD",
    0xc008_b301 "MMC_IOC_MULTI_CMD",
    0x0000_031d "HDIO_DRIVE_TASKFILE",
    0x0000_031e "HDIO_DRIVE_TASK",
    0x0000_031f "HDIO_DRIVE_CMD",
    0x4014_0921 "ADD_NEW_DISK",
    0x0000_0922 "HOT_REMOVE_DISK",
    0x4048_0923 "SET_ARRAY_INFO",
    0x0000_0928 "HOT_ADD_DISK",
    0x0000_0929 "SET_DISK_FAULTY",
    0x400c_0930 "RUN_ARRAY",
    0x0000_0932 "STOP_ARRAY",
    0xc138_fd01 "DM_REMOVE_ALL",
    0xc138_fd03 "DM_DEV_CREATE",
    0xc138_fd04 "DM_DEV_REMOVE",
    0xc138_fd05 "DM_DEV_RENAME",
    0xc138_fd06 "DM_DEV_SUSPEND",
    0xc138_fd09 "DM_TABLE_LOAD",
    0xc138_fd0a "DM_TABLE_CLEAR",
    0xc138_fd0e "DM_TARGET_MSG",
}

commands! {
    /// What changes a whole file system, the disks below it, or a file by its handle: whatever file it is called with.
    WHOLE,
    /// Is it about more than the file that it is called with?
    is_whole:
    0xc004_5877 "FIFREEZE",
    0xc004_5878 "FITHAW",
    0x8004_587d "FS_IOC_SHUTDOWN",
    0x4100_9432 "FS_IOC_SETFSLABEL",
    0x4008_9413 "BTRFS_IOC_DEFAULT_SUBVOL",
    0x5000_9403 "BTRFS_IOC_RESIZE",
    0x5000_940a "BTRFS_IOC_ADD_DEV",
    0x5000_940b "BTRFS_IOC_RM_DEV",
    0x5000_943a "BTRFS_IOC_RM_DEV_V2",
    0xca28_9435 "BTRFS_IOC_DEV_REPLACE",
    0x4008_6607 "EXT4_IOC_GROUP_EXTEND",
    0x4028_6608 "EXT4_IOC_GROUP_ADD",
    0x4008_6610 "EXT4_IOC_RESIZE_FS",
    0x4004_6607 "EXT4_IOC32_GROUP_EXTEND",
    0x4024_6608 "EXT4_IOC32_GROUP_ADD",
    0x4008_662c "EXT4_IOC_SETFSUUID",
    0x40e8_662e "EXT4_IOC_SET_TUNE_SB_PARAM",
    0x4008_f50a "F2FS_IOC_FLUSH_DEVICE",
    0x4008_f510 "F2FS_IOC_RESIZE_FS",
    0x4010_586e "XFS_IOC_FSGROWFSDATA",
    0x400c_586e "XFS_IOC_FSGROWFSDATA_32",
    0x4010_5870 "XFS_IOC_FSGROWFSRT",
    0xc038_586b "XFS_IOC_OPEN_BY_HANDLE",
    0xc01c_586b "XFS_IOC_OPEN_BY_HANDLE_32",
    0x4048_587b "XFS_IOC_ATTRMULTI_BY_HANDLE",
    0x4024_587b "XFS_IOC_ATTRMULTI_BY_HANDLE_32",
}

/// Device mapper looks at the lowest 16 bits alone (`ctl_ioctl`): the command that it takes this one for.
#[inline(always)]
pub const fn meant(command: u32) -> u32 {
    match (command >> 8) & 0xff {
        0xfd => 0xc138_0000 | (command & 0xffff),
        _ => command,
    }
}

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
        0x03 | 0x09 | 0x12 | 0x22 | 0x4c | 0x4e | 0x58 | 0x66 | 0x94 | 0xab | 0xb3 | 0xf5 | 0xfd => {
            is_of_file(meant(command)) || is_whole(command)
        }
        _ => false,
    }
}

/// Its name.
pub fn name(command: u32) -> Option<&'static str> {
    if command == FLAGS[0] || command == FLAGS[1] {
        return Some("FS_IOC_SETFLAGS");
    }
    if command == FSSETXATTR {
        return Some("FS_IOC_FSSETXATTR");
    }
    CHANGES.iter().chain(WHOLE).find(|(listed, _)| *listed == meant(command)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_command_is_recognised_and_a_terminals_is_not() {
        assert!(CHANGES.iter().chain(WHOLE).all(|(command, _)| changes(*command)));
        assert!(WHOLE.iter().all(|(command, _)| is_whole(*command)));
        assert!(CHANGES.iter().all(|(command, _)| !is_whole(*command)));
        assert!(FLAGS.iter().all(|command| sets_flags(*command) && !changes(*command)));
        assert!(changes(0xfd04) && name(0xfd04) == Some("DM_DEV_REMOVE"));
        // TCGETS, FIONREAD, TIOCGWINSZ
        assert!(![0x5401, 0x541b, 0x5413].iter().any(|command| changes(*command) || sets_flags(*command)));
    }
}
