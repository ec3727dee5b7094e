//! Requests of io_uring that change files (`enum io_uring_op`, linux/io_uring.h).

/// The opcode of each, and its name.
pub const REQUESTS: &[(i16, &str)] = &[
    (2, "writev"),
    (5, "write_fixed"),
    (17, "fallocate"),
    (18, "openat"),
    (23, "write"),
    (28, "openat2"),
    (30, "splice"),
    (35, "renameat"),
    (36, "unlinkat"),
    (37, "mkdirat"),
    (38, "symlinkat"),
    (39, "linkat"),
    (41, "fsetxattr"),
    (42, "setxattr"),
    (46, "uring_cmd"),
    (55, "ftruncate"),
    (56, "bind"),
    (61, "writev_fixed"),
    (64, "uring_cmd128"),
];

/// IORING_OP_OPENAT and IORING_OP_OPENAT2.
pub const OPENAT: i16 = 18;
/// See [`OPENAT`].
pub const OPENAT2: i16 = 28;
/// IORING_OP_RENAMEAT
pub const RENAMEAT: i16 = 35;
/// IORING_OP_UNLINKAT
pub const UNLINKAT: i16 = 36;
/// IORING_OP_MKDIRAT
pub const MKDIRAT: i16 = 37;
/// IORING_OP_SYMLINKAT
pub const SYMLINKAT: i16 = 38;
/// IORING_OP_LINKAT
pub const LINKAT: i16 = 39;
/// IORING_OP_SETXATTR
pub const SETXATTR: i16 = 42;

/// IORING_OP_URING_CMD
pub const URING_CMD: i16 = 46;
/// IORING_OP_URING_CMD128
pub const URING_CMD128: i16 = 64;

/// The name of a request that may change a file.
pub fn name(opcode: i16) -> Option<&'static str> {
    REQUESTS.iter().find(|(listed, _)| *listed == opcode).map(|(_, name)| *name)
}
