//! `struct dentry`: the names of files, and the way up to the root of their file system.

use graven_abi::limits::{DEPTH, PATH};
use graven_abi::path::{Path, flag};

use super::inode::{Inode, is_in_tree};
use super::maps;
use super::offset::{WITNESSED, load, offset};
use super::read::at;
use super::scratch::{Block, Scratch};

/// DCACHE_OP_REVALIDATE of `dentry.d_flags`: its file system asks somebody else whether the name still holds.
pub const REVALIDATES: u32 = 4;

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

    /// The same, by its beginning.
    #[inline(always)]
    pub fn is_unhashed(head: Block) -> bool {
        head.field::<u64>(offset!(dentry_hash) + offset!(bl_node_pprev)) == 0
    }
}

/// Appends the names from `leaf` up to the root of its file system, leaf first, to the path that has been begun.
/// What is known of the path then: its length, its flags << 16, its device << 32. A global function: the verifier
/// checks it once and not at each call.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn append_path(owner: u32, leaf: u64) -> u64 {
    let Some(scratch) = Scratch::of(owner) else { return 0 };
    let head = scratch.block(leaf);
    let parent: u64 = head.field(offset!(dentry_parent));
    let top = scratch.top(head.field(offset!(dentry_sb)));
    let device: u32 = top.field(offset!(super_dev));
    let in_tree = is_in_tree(top.field(offset!(super_flags)));
    let root = if in_tree { top.field(offset!(super_root)) } else { 0 };
    let mut flags = 0;
    // A memfd has no directory; its name is all there is.
    if parent == leaf && !in_tree {
        scratch.append_name(head);
        flags = flag::INTERNAL;
    }
    if parent == leaf {
        return append_below(owner, leaf, root, device) | u64::from(flags) << 16;
    }
    scratch.append_name(head);
    scratch.lies_in(parent);
    append_below(owner, parent, root, device)
}

/// The same, of a directory, of whose file system the root (0 = nobody can mount it) and the device are known.
#[inline(always)]
pub fn append_below(owner: u32, directory: u64, root: u64, device: u32) -> u64 {
    let Some(scratch) = Scratch::of(owner) else { return 0 };
    let flags = flag::PRESENT | if append_directory(owner, directory, root) != 0 { flag::CUT } else { 0 };
    scratch.is_named();
    u64::from(scratch.path_length()) | u64::from(flags) << 16 | u64::from(device) << 32
}

/// The names of a directory and of those above it, from memory if it was the last one whose names were walked. 1 when
/// they were cut.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn append_directory(owner: u32, directory: u64, root: u64) -> u32 {
    let Some(scratch) = Scratch::of(owner) else { return 1 };
    let era = maps::settled();
    let head = scratch.block(directory);
    let inode = Inode(head.field(offset!(dentry_inode))).key();
    // A server may have moved it, which shows when it is looked up and is no rename here. Without a generation another
    // directory can have the same addresses and number a moment later.
    let lasts = head.field::<u32>(offset!(dentry_flags)) & REVALIDATES == 0 && inode.generation != 0;
    let remembered = cfg!(not(feature = "counted")) && load(&WITNESSED) != 0 && era != 0 && lasts;
    if remembered && scratch.walked().is(directory, &inode, era) {
        scratch.append_walked();
        return 0;
    }
    let before = scratch.tail();
    scratch.set_root(root);
    scratch.walk_from(directory);
    let cut = walk_names(owner);
    if remembered && cut == 0 {
        scratch.have_walked(directory, &inode, era, before);
    }
    cut
}

/// The path that [`append_path`] tells of, with what else is known of it.
#[inline(always)]
pub fn path_of(told: u64, flags: u16, mount: u32) -> Path {
    Path { length: told as u16, flags: (told >> 16) as u16 | flags, mount, device: (told >> 32) as u32 }
}

/// The walk itself, 1 when the path was cut: deeper or longer than the bound, or without its ancestors: a dentry that is
/// its own parent and is not the root (open_by_handle_at of a file that is not in the cache). Its state lies in the
/// scratch map and is read again in each step, because a state in registers makes the verifier explore every depth on
/// its own.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn walk_names(owner: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner) else { return 1 };
    for _ in 0..DEPTH {
        let dentry = Dentry(scratch.walking());
        let head = scratch.block(dentry.0);
        let parent: u64 = head.field(offset!(dentry_parent));
        if parent == dentry.0 || parent == 0 {
            return (scratch.root() != 0 && scratch.root() != dentry.0).into();
        }
        if scratch.path_length() as usize > PATH - 256 {
            return 1;
        }
        scratch.append_name(head);
        scratch.walk_to(parent);
    }
    1
}
