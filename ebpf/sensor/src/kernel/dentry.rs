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

    /// d_unhashed(): not to be found by a look-up any more.
    #[inline(always)]
    pub fn unhashed(self) -> bool {
        at::<u64>(self.0 + offset!(dentry_hash) + offset!(bl_node_pprev)) == 0
    }
}

/// Appends the names from `leaf` up to the root of its file system, leaf first. `path` may already hold
/// the name of a leaf that is gone; then `leaf` is its directory.
#[inline(always)]
pub fn append_path(scratch: &mut Scratch, leaf: Dentry, path: &mut Path) {
    path.flags |= flag::PRESENT;
    path.device = leaf.device();
    // A memfd has no directory; its name is all there is.
    if leaf.parent().0 == leaf.0 && !Inode(leaf.inode()).in_tree() {
        scratch.append_kernel_string(leaf.name());
        path.flags |= flag::INTERNAL;
    }
    scratch.walk_from(leaf.0);
    let cut = walk_names(scratch.owner());
    path.length = scratch.path_length();
    if cut != 0 {
        path.flags |= flag::CUT;
    }
}

/// The walk itself, 1 when the path was cut. A global function: the verifier checks it once and not at each
/// call. Its state lies in the scratch map and is read again in each step, because a state in registers
/// makes the verifier explore every depth on its own.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn walk_names(owner: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner) else { return 1 };
    for _ in 0..DEPTH {
        let dentry = Dentry(scratch.walking());
        let parent = dentry.parent();
        if parent.0 == dentry.0 || parent.0 == 0 {
            return 0;
        }
        if scratch.path_length() as usize > PATH - 256 {
            return 1;
        }
        scratch.append_kernel_string(dentry.name());
        scratch.walk_to(parent.0);
    }
    1
}
