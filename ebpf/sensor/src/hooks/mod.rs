//! One file a kind of event, and the three places where they are called from: `sys_exit`, which knows who,
//! what and the result, `ctime` (with `calling`, `locate` and `note`), which knows which inodes really changed, and
//! `uring`, which knows what io_uring was asked for. On kernels that are too old for `ctime` it is `vfs` that knows them.

#[cfg(not(feature = "counted"))]
pub mod ctime;
#[cfg(not(feature = "counted"))]
pub mod calling;
#[cfg(not(feature = "counted"))]
pub mod locate;
#[cfg(not(feature = "counted"))]
pub mod note;
#[cfg(not(feature = "counted"))]
pub mod vfs;
pub mod sys_exit;
pub mod open;
pub mod modify;
pub mod create;
pub mod unlink;
pub mod rename;
pub mod attr;
pub mod truncate;
pub mod mmap;
pub mod mount;
pub mod module;
pub mod bpf;
pub mod tamper;
pub mod uring;
#[cfg(not(feature = "counted"))]
pub mod request;
pub mod exec;
pub mod fork;
pub mod exit;
pub mod uncovered;
pub mod resolve;
pub mod shape;
