//! One file a kind of event, and the two places where they are called from: `sys_exit`, which knows who,
//! what and the result, and `ctime`, which knows which inodes really changed.

pub mod ctime;
pub mod sys_exit;
pub mod open;
pub mod modify;
pub mod create;
pub mod unlink;
pub mod rename;
pub mod attr;
pub mod exec;
pub mod fork;
pub mod exit;
pub mod uncovered;
pub mod resolve;
pub mod shape;
