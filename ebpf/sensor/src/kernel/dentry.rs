//! `struct dentry`: the names of files, and the way up to the root of their file system.

use graven_abi::limits::{DEPTH, PATH};
use graven_abi::path::{Path, flag};

use super::inode::Inode;
use super::offset::offset;
use super::read::at;
use super::scratch::Scratch;

/// `struct dentry *`.
#[derive(Clone, Copy)]
pub struct Dentry(pub u64);

impl Dentry {
    #[inline(always)]
    pub fn inode(self) -> u64 {
        at(self.0 + offset!(dentry_inode))
    }

    #[inline(always)]
    pub fn parent(self) -> Self {
        Self(at(self.0 + offset!(dentry_parent)))
    }

    /// Address of the name's bytes.
    #[inline(always)]
    pub fn name(self) -> u64 {
        at(self.0 + offset!(dentry_name) + offset!(qstr_name))
    }

    /// Hash and length of the name: another name has another one.
    #[inline(always)]
    pub fn name_hash(self) -> u64 {
        at(self.0 + offset!(dentry_name) + offset!(qstr_hash_len))
    }

    #[inline(always)]
    pub fn device(self) -> u32 {
        let sb: u64 = at(self.0 + offset!(dentry_sb));
        at(sb + offset!(super_dev))
    }

    /// Is it the root of its file system? A dentry that is its own parent and is not has lost its ancestors
    /// (open_by_handle_at of a file that is not in the cache).
    #[inline(always)]
    pub fn is_root(self) -> bool {
        let sb: u64 = at(self.0 + offset!(dentry_sb));
        at::<u64>(sb + offset!(super_root)) == self.0
    }

    /// d_unhashed(): not to be found by a look-up any more.
    #[inline(always)]
    pub fn unhashed(self) -> bool {
        at::<u64>(self.0 + offset!(dentry_hash) + offset!(bl_node_pprev)) == 0
    }
}

/// Appends the names from `leaf` up to the root of its file system, leaf first, to the path that has been begun.
/// What is known of the path then: its length, its flags << 16, its device << 32. A global function: the verifier
/// checks it once and not at each call.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn append_path(owner: u32, leaf: u64) -> u64 {
    let Some(scratch) = Scratch::of(owner) else { return 0 };
    let leaf = Dentry(leaf);
    scratch.set_leaf(leaf.0);
    let mut flags = flag::PRESENT;
    // A memfd has no directory; its name is all there is.
    if leaf.parent().0 == leaf.0 && !Inode(leaf.inode()).in_tree() {
        scratch.append_kernel_string(leaf.name());
        flags |= flag::INTERNAL;
    }
    scratch.walk_from(leaf.0);
    if walk_names(owner) != 0 {
        flags |= flag::CUT;
    }
    u64::from(scratch.path_length()) | u64::from(flags) << 16 | u64::from(leaf.device()) << 32
}

/// The path that [`append_path`] tells of, with what else is known of it.
#[inline(always)]
pub fn path_of(told: u64, flags: u16, mount: u32) -> Path {
    Path { length: told as u16, flags: (told >> 16) as u16 | flags, mount, device: (told >> 32) as u32 }
}

/// The walk itself, 1 when the path was cut: deeper or longer than the bound, or without its ancestors. Its state lies in the scratch map and is read again in each step, because a state in registers
/// makes the verifier explore every depth on its own.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn walk_names(owner: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner) else { return 1 };
    for _ in 0..DEPTH {
        let dentry = Dentry(scratch.walking());
        let head = scratch.read_block(dentry.0);
        let parent: u64 = head.field(offset!(dentry_parent));
        if parent == dentry.0 || parent == 0 {
            return (Inode(head.field(offset!(dentry_inode))).in_tree() && !dentry.is_root()).into();
        }
        if scratch.path_length() as usize > PATH - 256 {
            return 1;
        }
        scratch.append_kernel_string(head.field(offset!(dentry_name) + offset!(qstr_name)));
        scratch.walk_to(parent);
    }
    1
}
