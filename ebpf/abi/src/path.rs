//! Names of files, as the kernel's dentries give them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bits of [`Path::flags`].
pub mod flag {
    /// Deeper or longer than the bound: the components nearest the root are missing.
    pub const CUT: u16 = 1;
    /// The leaf is not in the dentry hash: deleted, or never linked. With ARGUMENT: an empty one, of a descriptor with
    /// such a leaf.
    pub const UNHASHED: u16 = 2;
    /// The tail holds one string, the caller's argument, and not components.
    pub const ARGUMENT: u16 = 4;
    /// `mount` is valid.
    pub const MOUNT: u16 = 8;
    /// There is a path.
    pub const PRESENT: u16 = 16;
    /// With ARGUMENT: `base` is the directory that changed, and only the last component of the argument counts.
    pub const LEAF: u16 = 64;
    /// Of a file system that nobody can mount: a memfd. The path is its name.
    pub const INTERNAL: u16 = 128;
    /// The dentries were those of the opened file object.
    pub const FILE: u16 = 32;
    /// In the same directory as the path before it: the tail holds the name alone.
    pub const BESIDE: u16 = 256;
}

/// A path's place in the tail: `length` bytes of NUL-terminated components, leaf first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Path {
    /// Bytes in the tail.
    pub length: u16,
    /// [`flag`] bits.
    pub flags: u16,
    /// `mount.mnt_id`, if the kernel's object had a mount.
    pub mount: u32,
    /// `s_dev` of the file system: major << 20 | minor.
    pub device: u32,
}

/// An inode and its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Inode {
    /// `i_ino`; 0 = unknown.
    pub inode: u64,
    /// `i_size`.
    pub size: u64,
    /// `i_generation`.
    pub generation: u32,
    /// `i_mode`.
    pub mode: u32,
    /// `i_uid`.
    pub uid: u32,
    /// `i_gid`.
    pub gid: u32,
    /// `i_nlink`.
    pub links: u32,
    /// `i_sb.s_dev`.
    pub device: u32,
    /// Its name, or the caller's argument.
    pub path: Path,
    /// With [`flag::ARGUMENT`] on `path`: the directory that a relative argument starts from.
    pub base: Path,
}

/// Another name of an inode that is told of beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Name {
    /// As [`Inode::path`], or the name alone, see [`flag::BESIDE`].
    pub path: Path,
    /// As [`Inode::base`].
    pub base: Path,
}

const _: () = assert!(size_of::<Path>() == 12);
const _: () = assert!(size_of::<Name>() == 24);
const _: () = assert!(size_of::<Inode>() == 64);
