//! Names for what an operation changed: from the noted inodes, from an open file, or, where there is neither, from
//! the caller's argument and the directory it starts from.
//!
//! The functions here leave what they find in the scratch's `facts`; they are global functions, see `kernel::dentry`.
#![expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]

use graven_abi::counter;
use graven_abi::event::outcome;
use graven_abi::filter::class;
use graven_abi::limits::TOUCHED;
use graven_abi::path::{Path, flag};
use graven_abi::syscalls::op;

use crate::filter::classify;
use crate::kernel::dentry::{Dentry, append_below, append_path, path_of};
use crate::kernel::file::{self, File, Opened};
use crate::kernel::inode::{Inode, is_device, is_directory, is_in_tree};
use crate::kernel::maps;
use crate::kernel::offset::offset;
use crate::kernel::read::{self, clear, copy};
use crate::kernel::scratch::Scratch;
use crate::kernel::slot::Slot;

/// Where a path argument lies.
mod memory {
    /// In the caller's memory.
    pub const CALLER: u32 = 0;
    /// In the kernel's own copy.
    pub const KERNEL: u32 = 1;
}

/// Instead of a class: there is nothing to record.
pub const NOTHING: u32 = u32::MAX;

/// The current thread's slot, of a program that knows it.
#[inline(always)]
pub fn slot_of(owner: u32) -> Option<&'static mut Slot> {
    Scratch::of(owner)?.slot()
}

/// In the current thread's slot: a record names these inodes, or has changed the entries of such a directory: nothing
/// more need be said of them. 0 = none.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn explain(owner: u32, inode: u64, other: u64) -> u32 {
    let Some(slot) = slot_of(owner) else { return 0 };
    for index in 0..TOUCHED as u32 {
        if index >= slot.count {
            break;
        }
        let entry = slot.entry(index);
        if (entry.inode == inode || entry.inode == other) && entry.class != class::MUTABLE {
            entry.class = class::MUTABLE;
            slot.kept -= 1;
        }
    }
    0
}

/// Has the current call changed this inode? 1 = yes.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn is_touched(owner: u32, inode: u64) -> u32 {
    let Some(slot) = slot_of(owner) else { return 0 };
    for index in 0..TOUCHED as u32 {
        if index >= slot.count {
            break;
        }
        if slot.entry(index).inode == inode {
            return 1;
        }
    }
    0
}

/// The number of the current call's first inode that is kept, and not of a layer of an overlay.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn first_kept(owner: u32) -> u32 {
    let Some(slot) = slot_of(owner) else { return 0 };
    for index in 0..TOUCHED as u32 {
        if index >= slot.count {
            break;
        }
        let entry = slot.entry(index);
        if entry.class != class::MUTABLE && !slot.is_layers(entry) {
            return index;
        }
    }
    0
}

/// The dentry of a directory that the current call touched; 0 = none.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn touched_directory(owner: u32) -> u64 {
    let Some(slot) = slot_of(owner) else { return 0 };
    let mut found = 0;
    for index in 0..TOUCHED as u32 {
        if index >= slot.count {
            break;
        }
        let entry = slot.entry(index);
        if is_directory(entry.facts.mode) && entry.dentry != 0 && !slot.is_layers(entry) {
            found = entry.dentry;
        }
    }
    found
}

/// The outcome of a call of which nothing but its result tells.
#[inline(always)]
pub fn unproven(scratch: &Scratch) -> u32 {
    if scratch.failed() { outcome::REFUSED } else { outcome::REPORTED }
}

/// An inode as it is now, by the name of a dentry; 0 = without a name.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn describe(owner: u32, inode: u64, dentry: u64) -> u32 {
    let Some(scratch) = Scratch::of(owner) else { return 0 };
    Inode(inode).describe(scratch);
    clear(&mut scratch.facts().base);
    scratch.begin_path();
    let path = match dentry {
        0 => Path::default(),
        _ => {
            // By the block, which the path begins with: a read of its own needs room on the stack of the longest chain of calls.
            let flags = unhashed(Dentry::is_unhashed(scratch.block(dentry)));
            path_of(append_path(owner, dentry), flags, 0)
        }
    };
    scratch.facts().path = path;
    0
}

#[inline(always)]
fn unhashed(is_so: bool) -> u16 {
    if is_so { flag::UNHASHED } else { 0 }
}

/// The first kept inode of the slot: the one the call was about. Its address.
#[inline(always)]
pub fn describe_changed(scratch: &Scratch, slot: &mut Slot) -> u64 {
    let entry = slot.entry(first_kept(scratch.owner()));
    describe(scratch.owner(), entry.inode, entry.dentry);
    entry.inode
}

/// An inode as it was when it was touched, by its name then and its directory. `index`: of the entry.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn describe_noted(owner: u32, index: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner) else { return 0 };
    let Some(slot) = scratch.slot() else { return 0 };
    let entry = slot.entry(index);
    copy(scratch.facts(), &entry.facts);
    clear(&mut scratch.facts().base);
    let mut path = Path::default();
    scratch.begin_path();
    if entry.described != 0 {
        scratch.append_noted(entry);
        scratch.lies_in(entry.parent);
        path = path_of(append_below(owner, entry.parent, entry.root, entry.facts.device), 0, 0);
    }
    scratch.facts().path = path;
    0
}

/// What [`describe_noted`] has just described, by its name now: that alone where it lies in the same directory.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn describe_moved(owner: u32, index: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner) else { return 0 };
    let Some(slot) = scratch.slot() else { return 0 };
    let entry = slot.entry(index);
    scratch.begin_path();
    if entry.described != 0 && entry.parent_now == entry.parent {
        let head = scratch.block(entry.dentry);
        scratch.append_name(head);
        let length = scratch.path_length();
        let path = &mut scratch.facts().path;
        path.flags |= if length == 0 { flag::CUT } else { flag::BESIDE };
        path.length = length;
    } else {
        scratch.facts().path = path_of(append_path(owner, entry.dentry), 0, 0);
    }
    0
}

/// An open file with its path, and its class; NOTHING when it needs no record.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn describe_file(owner: u32, file: u64) -> u32 {
    let Some(scratch) = Scratch::of(owner) else { return NOTHING };
    let Opened { inode, dentry, mount, .. } = File(file).read(scratch);
    let sb: u64 = scratch.block(inode).field(offset!(inode_sb));
    if !is_in_tree(scratch.top(sb).field(offset!(super_flags))) {
        return NOTHING;
    }
    let class = classify(owner, inode, dentry);
    if class == class::MUTABLE && !is_device(Inode(inode).mode()) {
        maps::count(counter::IGNORED);
        return NOTHING;
    }
    describe_opened(scratch, inode, dentry, mount);
    if class == class::MUTABLE { class::KEEP } else { class }
}

/// What a file object is about, by its own names, wherever it lies.
#[inline(always)]
pub fn describe_opened(scratch: &mut Scratch, inode: u64, dentry: u64, mount: u64) {
    describe(scratch.owner(), inode, dentry);
    let facts = scratch.facts();
    facts.path.flags |= flag::FILE | flag::MOUNT;
    facts.path.mount = file::mount_id(mount);
}

/// The file behind the descriptor that the call was given, likewise.
#[inline(always)]
pub fn describe_descriptor(scratch: &Scratch, descriptor: u64) -> u32 {
    match File::of_descriptor(descriptor) {
        Some(file) => describe_file(scratch.owner(), file.0),
        None => NOTHING,
    }
}

/// What a call says it was about: its path, or its descriptor's file. NOTHING when it needs no record.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn describe_claimed(owner: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner) else { return NOTHING };
    let shape = scratch.shape();
    // utimensat without a path is about the descriptor too.
    if shape.path != op::NONE && scratch.argument(shape.path) != 0 {
        describe_first(scratch, 0);
        return class::KEEP;
    }
    describe_descriptor(scratch, scratch.argument(shape.dirfd))
}

/// The first path of the call. `touched`: the directory that was touched, then only the path's last component counts.
#[inline(always)]
pub fn describe_first(scratch: &Scratch, touched: u64) {
    let shape = scratch.shape();
    let dirfd = scratch.argument(shape.dirfd) as u32;
    describe_argument(scratch.owner(), dirfd, scratch.argument(shape.path), touched, memory::CALLER);
}

/// The second path of the call.
#[inline(always)]
pub fn describe_second(scratch: &Scratch) {
    let shape = scratch.shape();
    let dirfd = scratch.argument(shape.dirfd2) as u32;
    describe_argument(scratch.owner(), dirfd, scratch.argument(shape.path2), 0, memory::CALLER);
}

/// A path that the kernel has copied.
#[inline(always)]
pub fn describe_copied(scratch: &Scratch, dirfd: i32, address: u64) {
    describe_argument(scratch.owner(), dirfd as u32, address, 0, memory::KERNEL);
}

/// A path argument, and its base: the directory that was touched if there is one, else the directory it is relative
/// to. Nothing else is known of the file.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn describe_argument(owner: u32, dirfd: u32, address: u64, touched: u64, memory: u32) -> u32 {
    let Some(scratch) = Scratch::of(owner) else { return 0 };
    let mut path = Path { flags: flag::PRESENT | flag::ARGUMENT, ..Path::default() };
    scratch.begin_path();
    let first: u8 = if memory == memory::KERNEL {
        scratch.append_kernel_path(address);
        read::at(address)
    } else {
        scratch.append_user_path(address);
        read::user(address)
    };
    path.length = scratch.path_length();
    let mut base = Path::default();
    scratch.begin_path();
    if touched != 0 {
        path.flags |= flag::LEAF;
        scratch.lies_in(touched);
        base = path_of(append_path(owner, touched), 0, 0);
    } else if first != b'/' {
        let (dentry, mount) = file::base(scratch, dirfd as i32);
        if dentry != 0 {
            scratch.lies_in(dentry);
            base = path_of(append_path(owner, dentry), flag::MOUNT, mount);
            // No argument: the descriptor's file itself, which may have no name (AT_EMPTY_PATH).
            if first == 0 {
                path.flags |= unhashed(Dentry(dentry).unhashed());
            }
        }
    }
    let facts = scratch.facts();
    clear(facts);
    facts.path = path;
    facts.base = base;
    0
}
