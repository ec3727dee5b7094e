//! Every bound of the sensor, with its reason.

/// Bytes of the `life` ring: 1 MiB holds some 3,000 execs, so a flood of changes cannot displace them.
pub const LIFE_RING: u32 = 1 << 20;
/// Bytes of the `protected` ring: 4 MiB holds some 10,000 violations, 10 ms of the fastest writer seen.
pub const PROTECTED_RING: u32 = 4 << 20;
/// Bytes of the `activity` ring: what does not fit here is counted and costs nobody a violation.
pub const ACTIVITY_RING: u32 = 2 << 20;
/// Components of a path: the verifier accepts a walk of 64 with its state in a map; deeper is marked as cut.
pub const DEPTH: usize = 64;
/// Bytes of one component with its NUL: NAME_MAX is 255.
pub const NAME: usize = 256;
/// Bytes of one path: PATH_MAX.
pub const PATH: usize = 4096;
/// Bytes of argv that are kept: longer command lines are marked as cut.
pub const ARGUMENTS: usize = 4096;
/// Bytes of a record's tail: three paths (rename), or a path, a file name and argv.
pub const TAIL: usize = 16384;
/// Names that one system call is seen to change: rename touches five inodes, two of which may have [`OTHER_NAMES`]
/// more; a power of two, so that an index can be masked. More are reported as changes of their own.
pub const TOUCHED: usize = 16;
/// Other names of a file that are noted when one of its names goes: which one it was shows only afterwards. Beyond it
/// the name is the directory's with the last component that the caller passed.
pub const OTHER_NAMES: usize = 4;
/// Threads that are in the middle of a changing call, running or waiting for a disk: 6.6 MiB, allocated at once,
/// because memory is not to be had for certain in a tracepoint. More are reported as changes, and counted.
pub const SLOTS: u32 = 1024;
/// Policy roots, and the directories above them as far as there is room: a policy with more roots is refused.
pub const MARKS: u32 = 4096;
/// Directories whose verdict is remembered; the least used one is forgotten.
pub const VERDICTS: u32 = 16384;
/// Files whose last change is remembered, to fold a second's writes into one record.
pub const MODIFIED: u32 = 8192;
/// Files that an open has made or cut off, whose first write needs no record: of two that meet in one place the write of the
/// first is told too. A power of two.
pub const OPENED: u32 = 4096;
/// Processes remembered as having used another entry.
pub const UNCOVERED: u32 = 4096;
/// One `modify` a program run and inode in this time, ns.
pub const MODIFY_INTERVAL: u64 = 1_000_000_000;
/// Refused attempts of one program run that the agent is told of in a second, where they are folded by directory: more
/// are a flood, and counted.
pub const REFUSALS: u32 = 1024;
/// Program runs whose refusals are counted; the least used one is forgotten.
pub const REFUSING: u32 = 1024;
/// Rows of what was lost: who, where, what. More are counted without these.
pub const OVERFLOWS: u32 = 1024;
/// Bytes of a directory's name in such a row: its last components; what is longer is cut.
pub const OVERFLOW_NAME: usize = 256;
/// A write that was told is not told again by its call, unless the call takes longer, ns: the end of a call may not be seen,
/// and what it leaves must not hide another's.
pub const LONGEST_WRITE: u64 = 10_000_000_000;
/// A function of the VFS outside a call ends within this, ns: what is noted of one that has not is left of one whose end the
/// kernel has skipped.
pub const LONGEST_FUNCTION: u64 = 10_000_000_000;
/// Threads whose write to a kept file is remembered until its call ends: of two that meet in one place the write of the
/// first is told twice. A power of two.
pub const WRITERS: u32 = 1024;
/// Threads that submit requests of io_uring; the least used one is forgotten.
pub const SUBMITTERS: u32 = 4096;
/// Processes of the agent: `watch` and `ship`.
pub const OWN: u32 = 4;
/// Bytes of a name that a call is about (xattr, module, file system): XATTR_NAME_MAX with its NUL.
pub const STRING: usize = 256;
