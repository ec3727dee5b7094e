//! Which native system calls of x86-64 change files, and how their arguments lie.

/// What a call does; [`op::NONE`] for all the others.
pub mod op {
    /// No operation with a kind of its own.
    pub const NONE: u8 = 0;
    /// open(path, flags)
    pub const OPEN: u8 = 1;
    /// openat(dirfd, path, flags)
    pub const OPENAT: u8 = 2;
    /// openat2(dirfd, path, how): flags are in the caller's memory
    pub const OPENAT2: u8 = 3;
    /// creat(path)
    pub const CREAT: u8 = 4;
    /// open_by_handle_at(mount, handle, flags)
    pub const OPEN_BY_HANDLE: u8 = 5;
    /// mkdir(path)
    pub const MKDIR: u8 = 6;
    /// mkdirat(dirfd, path)
    pub const MKDIRAT: u8 = 7;
    /// unlink(path)
    pub const UNLINK: u8 = 8;
    /// rmdir(path)
    pub const RMDIR: u8 = 9;
    /// unlinkat(dirfd, path, flags)
    pub const UNLINKAT: u8 = 10;
    /// rename(from, to)
    pub const RENAME: u8 = 11;
    /// renameat(fromfd, from, tofd, to) and renameat2(…, flags)
    pub const RENAMEAT: u8 = 12;
    /// chmod(path, mode)
    pub const CHMOD: u8 = 13;
    /// fchmod(fd, mode)
    pub const FCHMOD: u8 = 14;
    /// fchmodat(dirfd, path, mode) and fchmodat2(…, flags)
    pub const FCHMODAT: u8 = 15;
    /// chown(path, uid, gid) and lchown
    pub const CHOWN: u8 = 16;
    /// fchown(fd, uid, gid)
    pub const FCHOWN: u8 = 17;
    /// fchownat(dirfd, path, uid, gid, flags)
    pub const FCHOWNAT: u8 = 18;
    /// renameat2(fromfd, from, tofd, to, flags)
    pub const RENAMEAT2: u8 = 19;
}

/// The calls with a kind of their own: number and operation (`asm/unistd_64.h`).
pub const CALLS: [(u16, u8); 21] = [
    (2, op::OPEN),
    (82, op::RENAME),
    (83, op::MKDIR),
    (84, op::RMDIR),
    (85, op::CREAT),
    (87, op::UNLINK),
    (90, op::CHMOD),
    (91, op::FCHMOD),
    (92, op::CHOWN),
    (93, op::FCHOWN),
    (94, op::CHOWN),
    (257, op::OPENAT),
    (258, op::MKDIRAT),
    (260, op::FCHOWNAT),
    (263, op::UNLINKAT),
    (264, op::RENAMEAT),
    (268, op::FCHMODAT),
    (304, op::OPEN_BY_HANDLE),
    (316, op::RENAMEAT2),
    (437, op::OPENAT2),
    (452, op::FCHMODAT),
];

/// Length of [`TABLE`]: beyond the newest call number, and a power of two so that an index can be masked.
pub const TABLE_LEN: usize = 512;

/// The operation of each call number.
pub const TABLE: [u8; TABLE_LEN] = {
    let mut table = [op::NONE; TABLE_LEN];
    let mut i = 0;
    while i < CALLS.len() {
        table[CALLS[i].0 as usize] = CALLS[i].1;
        i += 1;
    }
    table
};
