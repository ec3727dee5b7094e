//! `struct inode`.

use graven_abi::filter::InodeKey;
use graven_abi::path;

use super::dentry::Dentry;
use super::offset::{INODE_LEAVING, load, offset};
use super::read::{Typed, at};
use super::scratch::Scratch;

/// S_IFMT, S_IFDIR.
const TYPE: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
/// S_IFBLK, S_IFCHR.
const BLOCK: u32 = 0o060_000;
const CHARACTER: u32 = 0o020_000;
/// SB_NOUSER: pipes, sockets, memfds, anonymous inodes: no tree that a policy could name.
const SB_NOUSER: u64 = 1 << 31;

/// Magic numbers (linux/magic.h) of procfs, sysfs, cgroup v1 and v2: their inodes get a change time when they
/// are looked up, whoever looks.
const MADE_ON_LOOKUP: [u64; 4] = [0x9fa0, 0x6265_6572, 0x0027_e0eb, 0x6367_7270];

/// OVERLAYFS_SUPER_MAGIC.
const OVERLAY: u64 = 0x794c_7630;

/// `struct inode *`.
#[derive(Clone, Copy)]
pub struct Inode(pub u64);

impl Inode {
    #[inline(always)]
    pub fn key(self) -> InodeKey {
        InodeKey { pointer: self.0, inode: self.number(), generation: self.generation(), padding: 0 }
    }

    #[inline(always)]
    pub fn number(self) -> u64 {
        at(self.0 + offset!(inode_ino))
    }

    #[inline(always)]
    pub fn generation(self) -> u32 {
        at(self.0 + offset!(inode_generation))
    }

    #[inline(always)]
    pub fn mode(self) -> u32 {
        at::<u16>(self.0 + offset!(inode_mode)).into()
    }

    /// `i_rdev`: which device a device node is.
    #[inline(always)]
    pub fn node_device(self) -> u32 {
        at(self.0 + offset!(inode_rdev))
    }

    #[inline(always)]
    fn sb(self) -> u64 {
        at(self.0 + offset!(inode_sb))
    }

    #[inline(always)]
    pub fn device(self) -> u32 {
        at(self.sb() + offset!(super_dev))
    }

    /// Does it lie in a tree that people can mount and name?
    #[inline(always)]
    pub fn in_tree(self) -> bool {
        is_in_tree(at(self.sb() + offset!(super_flags)))
    }

    /// Does another file system keep what is in it?
    #[inline(always)]
    pub fn is_layered(self) -> bool {
        is_overlay(at(self.sb() + offset!(super_magic)))
    }

    /// The newest dentry that names it and can still be found by a look-up, else the newest at all; 0 = none.
    #[inline(always)]
    pub fn alias(self) -> u64 {
        findable_alias(self.0)
    }

    /// The newest dentry that names it, whether it can be found or not; 0 = none.
    #[inline(always)]
    pub fn first_alias(self) -> u64 {
        dentry_of(at(self.0 + offset!(inode_dentry)))
    }

    /// Fills what a record says of an inode; names are added by the caller. The fields at the struct's beginning
    /// are read at once: each helper call costs more than the bytes.
    #[inline(always)]
    pub fn describe(self, scratch: &mut Scratch) {
        let head = scratch.block(self.0);
        let (mode, sb): (u16, u64) = (head.field(offset!(inode_mode)), head.field(offset!(inode_sb)));
        let device = scratch.top(sb).field(offset!(super_dev));
        let out = scratch.facts();
        out.inode = head.field(offset!(inode_ino));
        out.size = head.field(offset!(inode_size));
        out.generation = self.generation();
        out.mode = mode.into();
        out.uid = head.field(offset!(inode_uid));
        out.gid = head.field(offset!(inode_gid));
        out.links = head.field(offset!(inode_nlink));
        out.device = device;
    }
}

/// As [`Inode::describe`], of one that a tracepoint was given.
#[inline(always)]
pub fn describe(inode: Typed, out: &mut path::Inode) {
    out.inode = inode.load(offset!(inode_ino));
    out.size = inode.load(offset!(inode_size));
    out.generation = inode.load(offset!(inode_generation));
    out.mode = inode.load::<u16>(offset!(inode_mode)).into();
    out.uid = inode.load(offset!(inode_uid));
    out.gid = inode.load(offset!(inode_gid));
    out.links = inode.load(offset!(inode_nlink));
    out.device = inode.follow(offset!(inode_sb)).load(offset!(super_dev));
}

/// By `super_block.s_flags`: can people mount and name the tree it lies in?
#[inline(always)]
pub fn is_in_tree(flags: u64) -> bool {
    flags & SB_NOUSER == 0
}

/// By `super_block.s_magic`: do other file systems keep what is in it?
#[inline(always)]
pub fn is_overlay(magic: u64) -> bool {
    magic == OVERLAY
}

/// By `super_block.s_magic`: is a change time set on mere look-up no sign of a change?
#[inline(always)]
pub fn is_made_on_lookup(magic: u64) -> bool {
    MADE_ON_LOOKUP.contains(&magic)
}

/// By `inode.i_state`: being thrown out of memory; its times change, nobody changed it.
#[inline(always)]
pub fn is_leaving(state: u32) -> bool {
    state & load(&INODE_LEAVING) as u32 != 0
}

/// Names of one inode that are looked at: hard links beyond these are kept without looking.
pub const ALIASES: usize = 8;

/// See [`Inode::alias`]. A global function, see `kernel::dentry`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn findable_alias(inode: u64) -> u64 {
    let newest = dentry_of(at(inode + offset!(inode_dentry)));
    let mut alias = newest;
    for _ in 0..ALIASES {
        if alias == 0 {
            return newest;
        }
        if !Dentry(alias).unhashed() {
            return alias;
        }
        alias = older_alias(alias);
    }
    newest
}

/// The dentry around a node of `inode.i_dentry`.
#[inline(always)]
fn dentry_of(node: u64) -> u64 {
    if node == 0 { 0 } else { node - offset!(dentry_alias) }
}

/// The next name of the same inode: `hlist_node.next` is the node's first field.
#[inline(always)]
pub fn older_alias(dentry: u64) -> u64 {
    dentry_of(at(dentry + offset!(dentry_alias)))
}

/// S_ISBLK.
#[inline(always)]
pub fn is_block_device(mode: u32) -> bool {
    mode & TYPE == BLOCK
}

/// S_ISBLK or S_ISCHR.
#[inline(always)]
pub fn is_device(mode: u32) -> bool {
    matches!(mode & TYPE, BLOCK | CHARACTER)
}

/// S_ISREG.
#[inline(always)]
pub fn is_regular(mode: u32) -> bool {
    mode & TYPE == REGULAR
}

/// S_ISDIR.
#[inline(always)]
pub fn is_directory(mode: u32) -> bool {
    mode & TYPE == DIRECTORY
}
