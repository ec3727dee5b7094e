//! Where a changing inode lies, and with that whether its change is kept: mostly by typed loads, since the tracepoint
//! hands over an inode that the verifier knows.

use graven_abi::filter::class;
use graven_abi::limits::TOUCHED;

use crate::filter::{classify, of_content};
use crate::kernel::dentry::Dentry;
use crate::kernel::inode::Inode;
use crate::kernel::offset::offset;
use crate::kernel::read::Typed;
use crate::kernel::scratch::Scratch;
use crate::place::slot_of;

/// An inode that changes.
pub struct Changing {
    pub typed: Typed,
    pub inode: Inode,
    /// The class of its mark, or UNKNOWN.
    pub own: u32,
    pub directory: bool,
    /// The call has changed other inodes before.
    pub noted: bool,
}

/// Where an inode lies.
pub struct Place {
    pub class: u32,
    /// The dentry that names it; 0 = none.
    pub alias: u64,
    /// See `Touched::within`.
    pub within: u64,
}

impl Place {
    #[inline(always)]
    pub fn of(scratch: &mut Scratch, changing: &Changing) -> Self {
        let Changing { typed, inode, own, directory, .. } = *changing;
        let node = typed.follow(offset!(inode_dentry));
        let first = scratch.as_number(node.address());
        if first == 0 && own == UNKNOWN {
            // It is being made (then its directory changes too, and decides) or is the file system's own (quota,
            // journal).
            return Self { class: class::MUTABLE, alias: 0, within: 0 };
        }
        // `hlist_node.next` is the node's first field.
        let one = directory || (typed.load::<u32>(offset!(inode_nlink)) == 1 && node.follow(0).is_null());
        if one && first != 0 {
            let alias = first - offset!(dentry_alias);
            if let Some(place) = Self::of_only_name(scratch, changing, alias) {
                return place;
            }
        }
        let class = classify(scratch.owner(), inode.0, inode.alias());
        Self { class, alias: scratch.looking(), within: 0 }
    }

    /// The usual case, mostly by typed loads: one name, which can be found.
    #[inline(always)]
    fn of_only_name(scratch: &mut Scratch, changing: &Changing, alias: u64) -> Option<Self> {
        let Changing { typed, inode, own, directory, noted } = *changing;
        let head = scratch.block(alias);
        let hashed: u64 = head.field(offset!(dentry_hash) + offset!(bl_node_pprev));
        let parent: u64 = head.field(offset!(dentry_parent));
        if hashed == 0 && parent != alias {
            return None;
        }
        if own != UNKNOWN {
            return Some(Self { class: own, alias, within: if directory { inode.0 } else { 0 } });
        }
        if !directory && parent == alias {
            return None;
        }
        let within = if directory { inode.0 } else { Dentry(parent).inode() };
        if within == 0 {
            return None;
        }
        let owner = scratch.owner();
        let beside = if noted { class_within(owner, within) } else { UNKNOWN };
        let class = match beside {
            UNKNOWN if directory => {
                let (number, generation) =
                    (typed.load(offset!(inode_ino)), typed.load(offset!(inode_generation)));
                of_content(owner, alias, within, number, generation)
            }
            UNKNOWN => of_content(owner, parent, within, Inode(within).number(), Inode(within).generation()),
            known => known,
        };
        Some(Self { class, alias, within })
    }
}

/// Instead of a class: the call has changed nothing in this directory yet.
pub const UNKNOWN: u32 = u32::MAX;

/// The class of what lies in a directory, from what the current call has changed before. A global function, see
/// `kernel::dentry`.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn class_within(owner: u32, directory: u64) -> u32 {
    let Some(slot) = slot_of(owner) else { return UNKNOWN };
    for index in 0..TOUCHED as u32 {
        if index >= slot.count {
            break;
        }
        let entry = slot.entry(index);
        if entry.within == directory {
            return entry.class;
        }
    }
    UNKNOWN
}
