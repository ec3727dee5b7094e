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
    /// mknod(path)
    pub const MKNOD: u8 = 20;
    /// mknodat(dirfd, path)
    pub const MKNODAT: u8 = 21;
    /// symlink(target, path), link(old, path)
    pub const LINK: u8 = 22;
    /// symlinkat(target, dirfd, path)
    pub const SYMLINKAT: u8 = 23;
    /// linkat(olddirfd, old, dirfd, path)
    pub const LINKAT: u8 = 24;
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

/// The calls with a kind of their own: number, operation and name (`asm/unistd_64.h`).
pub const CALLS: [(u16, u8, &str); 27] = [
    (2, op::OPEN, "open"),
    (82, op::RENAME, "rename"),
    (83, op::MKDIR, "mkdir"),
    (84, op::RMDIR, "rmdir"),
    (85, op::CREAT, "creat"),
    (86, op::LINK, "link"),
    (87, op::UNLINK, "unlink"),
    (88, op::LINK, "symlink"),
    (90, op::CHMOD, "chmod"),
    (91, op::FCHMOD, "fchmod"),
    (92, op::CHOWN, "chown"),
    (93, op::FCHOWN, "fchown"),
    (94, op::CHOWN, "lchown"),
    (133, op::MKNOD, "mknod"),
    (257, op::OPENAT, "openat"),
    (258, op::MKDIRAT, "mkdirat"),
    (259, op::MKNODAT, "mknodat"),
    (260, op::FCHOWNAT, "fchownat"),
    (263, op::UNLINKAT, "unlinkat"),
    (264, op::RENAMEAT, "renameat"),
    (265, op::LINKAT, "linkat"),
    (266, op::SYMLINKAT, "symlinkat"),
    (268, op::FCHMODAT, "fchmodat"),
    (304, op::OPEN_BY_HANDLE, "open_by_handle_at"),
    (316, op::RENAMEAT2, "renameat2"),
    (437, op::OPENAT2, "openat2"),
    (452, op::FCHMODAT, "fchmodat2"),
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

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::format;
    use std::println;
    use std::string::String;

    const HEADER: &str = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h";

    #[test]
    fn every_number_is_the_headers_number_of_that_name() {
        let Ok(header) = std::fs::read_to_string(HEADER) else {
            println!("skipped: syscall_header: the kernel's headers (linux-libc-dev) are not installed");
            return;
        };
        let numbers: std::collections::BTreeMap<&str, &str> =
            header.lines().filter_map(|line| line.strip_prefix("#define __NR_")?.split_once(' ')).collect();
        let wrong: std::vec::Vec<String> = CALLS
            .iter()
            .filter(|(_, _, name)| numbers.contains_key(name))
            .filter(|(number, _, name)| numbers[name].trim() != format!("{number}"))
            .map(|(number, _, name)| format!("{name} is not {number}"))
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        // Headers may be older than the newest call in the table, not older than all of it.
        assert!(CALLS.iter().filter(|(_, _, name)| numbers.contains_key(name)).count() > 20);
    }

    #[test]
    fn the_table_holds_each_call_once() {
        let listed = TABLE.iter().filter(|operation| **operation != op::NONE).count();
        assert_eq!(listed, CALLS.len());
    }
}
