//! Is a change of this inode kept? Decided on inodes: the nearest marked directory above it.
//!
//! Order: the inode's own mark → more than one link (keep: another name may be protected) → the parent's
//! remembered verdict → the walk up. `MUTABLE` can only be the answer when the walk ended at such a mark,
//! within the bound, with no directory moving meanwhile; everything unclear is kept.

use graven_abi::filter::{Mark, Verdict, class};
use graven_abi::limits::DEPTH;

use crate::kernel::dentry::Dentry;
use crate::kernel::inode::{Inode, is_directory, is_regular};
use crate::kernel::maps;
use crate::kernel::scratch::Scratch;

/// The class of a change of `inode`, named by `alias`.
#[inline(always)]
pub fn classify(scratch: &mut Scratch, inode: Inode, alias: Dentry) -> u32 {
    if let Some(mark) = maps::mark(inode.0) {
        return of_mark(mark, inode);
    }
    let mode = inode.mode();
    if is_regular(mode) && inode.links() > 1 {
        return linked(scratch, alias);
    }
    let directory = if is_directory(mode) { alias } else { alias.parent() };
    of_directory(scratch, directory)
}

/// A file with several names: protected if the name at hand is, else kept for user space.
#[inline(always)]
fn linked(scratch: &mut Scratch, alias: Dentry) -> u32 {
    match of_directory(scratch, alias.parent()) {
        class::PROTECT => class::PROTECT,
        _ => class::KEEP,
    }
}

#[inline(always)]
fn of_mark(mark: &Mark, inode: Inode) -> u32 {
    let same = mark.inode == inode.number() && mark.generation == inode.generation();
    if same { mark.class } else { class::KEEP }
}

/// The class of what lies in a directory.
#[inline(always)]
pub fn of_directory(scratch: &mut Scratch, directory: Dentry) -> u32 {
    let inode = Inode(directory.inode());
    if directory.0 == 0 || inode.0 == 0 {
        return class::KEEP;
    }
    let key = inode.key();
    let (finished, started) = maps::generation();
    let still = finished == started;
    if still
        && let Some(known) = maps::verdict(&key)
        && known.generation == finished
    {
        return known.class;
    }
    scratch.walk_from(directory.0);
    let found = walk_marks(scratch.owner());
    let (finished_after, started_after) = maps::generation();
    if !still || finished_after != finished || started_after != started {
        return if found == class::MUTABLE { class::KEEP } else { found };
    }
    maps::remember(&key, &Verdict { generation: finished, class: found, padding: 0 });
    found
}

/// Up to the nearest mark. A global function with its state in the scratch map, see `kernel::dentry`.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn walk_marks(owner: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner) else { return class::KEEP };
    for _ in 0..DEPTH {
        let dentry = Dentry(scratch.walking());
        let inode = Inode(dentry.inode());
        if inode.0 == 0 {
            return class::KEEP;
        }
        if let Some(mark) = maps::mark(inode.0) {
            return of_mark(mark, inode);
        }
        let parent = dentry.parent();
        if parent.0 == dentry.0 || parent.0 == 0 {
            return class::NONE;
        }
        scratch.walk_to(parent.0);
    }
    class::KEEP
}
