//! Names for what an operation changed: from the noted inodes, or, where there are none, from the caller's
//! argument and the directory it starts from.

use graven_abi::filter::class;
use graven_abi::limits::TOUCHED;
use graven_abi::path::{Path, flag};

use crate::kernel::dentry::{Dentry, append_path};
use crate::kernel::file;
use crate::kernel::inode::is_directory;
use crate::kernel::read;
use crate::kernel::scratch::Scratch;
use crate::kernel::slot::{Slot, Touched};

/// AT_FDCWD as it stands in a register.
const AT_FDCWD: i32 = -100;

/// A path argument: where it lies in the caller's memory and what it is relative to.
#[derive(Clone, Copy)]
pub struct Argument {
    dirfd: i32,
    address: u64,
}

impl Argument {
    #[inline(always)]
    pub fn at_cwd(address: u64) -> Self {
        Self { dirfd: AT_FDCWD, address }
    }

    #[inline(always)]
    pub fn at(dirfd: u64, address: u64) -> Self {
        Self { dirfd: dirfd as i32, address }
    }
}

/// In the current thread's slot: a record names this inode, or has changed the entries of this directory: nothing more need be said of it.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn explain(inode: u64) -> u32 {
    let Some(slot) = Slot::current() else { return 0 };
    for index in 0..TOUCHED as u32 {
        if index >= slot.count {
            break;
        }
        let entry = slot.entry(index);
        if entry.inode == inode {
            entry.class = class::MUTABLE;
        }
    }
    0
}

/// Has the current call changed this inode? 1 = yes. A global function, see `kernel::dentry`.
#[expect(unsafe_code, reason = "a symbol's linkage is part of the object's format")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn is_touched(inode: u64) -> u32 {
    let Some(slot) = Slot::current() else { return 0 };
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

/// The strictest class among what was touched.
#[inline(always)]
pub fn class_of(slot: &mut Slot) -> u32 {
    let mut found = class::KEEP;
    for index in 0..TOUCHED as u32 {
        if index >= slot.count {
            break;
        }
        if slot.entry(index).class == class::PROTECT {
            found = class::PROTECT;
        }
    }
    found
}

/// Appends the argument and its base: the directory that was touched if there is one (then only the
/// argument's last component counts), else the directory it is relative to.
#[inline(always)]
pub fn argument(
    scratch: &mut Scratch,
    task: u64,
    argument: Argument,
    slot: Option<&mut Slot>,
) -> (Path, Path) {
    let mut path = Path { flags: flag::PRESENT | flag::ARGUMENT, ..Path::default() };
    scratch.begin_path();
    scratch.append_user_path(argument.address);
    path.length = scratch.path_length();
    let mut base = Path::default();
    let touched = match slot {
        Some(slot) => touched_directory(slot),
        None => 0,
    };
    scratch.begin_path();
    if touched != 0 {
        path.flags |= flag::LEAF;
        append_path(scratch, Dentry(touched), &mut base);
    } else if read::user::<u8>(argument.address) != b'/' {
        let (dentry, mount) = file::base(task, argument.dirfd);
        if dentry != 0 {
            base.mount = mount;
            base.flags |= flag::MOUNT;
            append_path(scratch, Dentry(dentry), &mut base);
        }
    }
    (path, base)
}

/// The dentry of a directory that was touched; 0 = none.
#[inline(always)]
pub fn touched_directory(slot: &mut Slot) -> u64 {
    let mut found = 0;
    for index in 0..TOUCHED as u32 {
        if index >= slot.count {
            break;
        }
        let entry = slot.entry(index);
        if is_directory(entry.facts.mode) && entry.dentry != 0 {
            found = entry.dentry;
        }
    }
    found
}

/// Appends the path that an inode had when it was touched: its name then, and its directory.
#[inline(always)]
pub fn noted(scratch: &mut Scratch, entry: &Touched) -> Path {
    let mut path = Path::default();
    scratch.begin_path();
    if entry.described == 0 {
        return path;
    }
    scratch.append_kernel_string(entry.name_address());
    append_path(scratch, Dentry(entry.parent), &mut path);
    path
}
