//! Is a change of this inode kept? Decided on inodes: the nearest marked directory above it.
//!
//! Order: the inode's own mark → more than one link (any of them may be protected) → the parent's
//! remembered verdict → the walk up. `MUTABLE` can only be the answer when the walk ended at such a mark,
//! within the bound, with no directory moving meanwhile; everything unclear is kept.

use graven_abi::filter::{InodeKey, Mark, Verdict, class};
use graven_abi::limits::DEPTH;

use crate::kernel::dentry::Dentry;
use crate::kernel::inode::{ALIASES, Inode, is_directory, older_alias};
use crate::kernel::maps;
use crate::kernel::offset::offset;
use crate::kernel::scratch::Scratch;

/// The class of a change of `inode`. The name that it follows from, `alias` or a stricter one, is what the scratch
/// looks at then. A global function, see `kernel::dentry`.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn classify(owner: u32, inode: u64, alias: u64) -> u32 {
    let Some(scratch) = Scratch::of(owner) else { return class::KEEP };
    let (inode, alias) = (Inode(inode), Dentry(alias));
    scratch.look_from(alias.0);
    if let Some(mark) = maps::mark(inode.0) {
        return of_mark(mark, inode.number(), inode.generation());
    }
    let head = scratch.block(inode.0);
    let (mode, links): (u16, u32) = (head.field(offset!(inode_mode)), head.field(offset!(inode_nlink)));
    if is_directory(mode.into()) {
        return of_directory(owner, alias.0);
    }
    let class = of_directory(owner, alias.parent().0);
    let other = older_alias(alias.0);
    if class == class::PROTECT || (other == 0 && links <= 1) {
        return class;
    }
    // A file with several names: protected if any that is in memory is, else kept for user space.
    scratch.look_from(other);
    let protected = strictest(owner);
    scratch.look_from(if protected == 0 { alias.0 } else { protected });
    if protected == 0 { class::KEEP } else { class::PROTECT }
}

/// The first dentry of those to look at whose directory is protected; 0 = none. A global function with its
/// state in the scratch map, see `kernel::dentry`.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn strictest(owner: u32) -> u64 {
    let Some(scratch) = Scratch::of(owner) else { return 0 };
    for _ in 0..ALIASES {
        let alias = scratch.looking();
        if alias == 0 {
            return 0;
        }
        if of_directory(owner, Dentry(alias).parent().0) == class::PROTECT {
            return alias;
        }
        scratch.look_from(older_alias(alias));
    }
    0
}

#[inline(always)]
pub fn of_mark(mark: &Mark, number: u64, generation: u32) -> u32 {
    let same = mark.inode == number && mark.generation == generation;
    // A mutable root that moves, or is carried along, takes its mark to where it may not be mutable.
    let believed = same && (mark.class != class::MUTABLE || maps::settled() != 0);
    if believed { mark.class } else { class::KEEP }
}

/// The class of what lies in a directory.
#[inline(always)]
fn of_directory(owner: u32, directory: u64) -> u32 {
    if directory == 0 {
        return class::KEEP;
    }
    let inode = Inode(Dentry(directory).inode());
    if inode.0 == 0 {
        return class::KEEP;
    }
    of_content(owner, directory, inode.0, inode.number(), inode.generation())
}

/// The same, of a directory whose inode is known. A global function likewise.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn of_content(owner: u32, directory: u64, inode: u64, number: u64, generation: u32) -> u32 {
    let key = InodeKey { pointer: inode, inode: number, generation, padding: 0 };
    let (finished, started) = maps::generation();
    let still = finished == started;
    if still
        && let Some(known) = maps::verdict(&key)
        && known.generation == finished
    {
        return known.class;
    }
    let Some(scratch) = Scratch::of(owner) else { return class::KEEP };
    scratch.walk_from(directory);
    let found = walk_marks(owner);
    let (finished_after, started_after) = maps::generation();
    if !still || finished_after != finished || started_after != started {
        return if found == class::MUTABLE { class::KEEP } else { found };
    }
    // Without a generation another directory can have the same address and number a moment later.
    if key.generation != 0 {
        maps::remember(&key, &Verdict { generation: finished, class: found, padding: 0 });
    }
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
            return of_mark(mark, inode.number(), inode.generation());
        }
        let parent = dentry.parent();
        if parent.0 == dentry.0 || parent.0 == 0 {
            return class::NONE;
        }
        scratch.walk_to(parent.0);
    }
    class::KEEP
}
