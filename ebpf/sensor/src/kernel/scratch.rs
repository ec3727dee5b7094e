//! A program's own place to build a record, one per CPU: a record is larger than the stack.
//!
//! Layout: a cursor, room for header and fixed part, the tail. The fixed part lies directly before the
//! tail, so that the tail begins at the same place for every kind and the record is one piece.
//! A program is not run twice at once on a CPU (tracepoint programs run with preemption off; from 7.0 the
//! recursion guard skips the second), and each program has its own scratch; those on functions of the VFS share two, see
//! `taken`.

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel_str, bpf_probe_read_user, bpf_probe_read_user_str};
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use graven_abi::filter::InodeKey;
use graven_abi::header::Header;
use graven_abi::limits::{ARGUMENTS as ARGV, NAME, PATH, STRING, TAIL};
use graven_abi::syscalls::op::{SHAPES, SHAPES_LEN, Shape};
use graven_abi::syscalls::{ARGUMENTS, entry};
use graven_abi::{overflow, path};

use super::maps::{ModifyKey, Wrote};
use super::name;
use super::read::{at, casts, into};
use super::slot::{self, Slot, Touched};
use super::walked::{self, Walked};

/// Room for a header and the largest fixed part (rename).
pub const FIXED: usize = 352;
/// A string is read in one piece of at most this, so the tail has that much slack.
const SLACK: usize = PATH;

/// Bytes of a struct that are read at once: an inode's fields up to its size, a dentry's up to its inode.
const BLOCK: usize = 128;

/// The beginning of a struct of the kernel's.
#[derive(Clone, Copy)]
pub struct Block {
    address: u64,
    bytes: *const u8,
}

impl Block {
    /// Where the struct lies.
    #[inline(always)]
    pub fn address(self) -> u64 {
        self.address
    }

    /// A field: from the block, or, where this kernel has it further behind, from the struct. A cast costs as little as the
    /// question.
    #[inline(always)]
    pub fn field<T: Copy + Default>(self, offset: u64) -> T {
        if casts() || offset as usize + size_of::<T>() > BLOCK {
            return at(self.address + offset);
        }
        // SAFETY: within the block, of which any bytes are a value of a plain type.
        unsafe { self.bytes.add(offset as usize).cast::<T>().read_volatile() }
    }
}

/// Where no struct lies.
const NOWHERE: u64 = u64::MAX;

/// The block that was read last, and where from in this run, or [`NOWHERE`].
#[repr(C)]
struct LastRead {
    from: u64,
    bytes: [u8; BLOCK],
}

impl LastRead {
    #[inline(always)]
    fn read(&mut self, address: u64) -> Block {
        if casts() {
            return Block { address, bytes: core::ptr::null() };
        }
        // SAFETY: a field of a live value; volatile, so that it is a plain number to the verifier.
        let before = unsafe { core::ptr::read_volatile(&raw const self.from) };
        if before != address {
            into(&mut self.bytes, address);
            self.from = address;
        }
        Block { address, bytes: self.bytes.as_ptr() }
    }
}

/// See the module's text.
#[repr(C)]
pub struct Scratch {
    walking: u64,
    looking: u64,
    /// The directory that the record's first path lies in; 0 = none yet.
    directory: u64,
    /// Where its names begin in the tail, and end; 0 = not yet.
    names: u32,
    names_end: u32,
    tail: u32,
    path_start: u32,
    owner: u32,
    /// Number of the current thread's slot.
    slot: u32,
    /// 1 = a program that may be preempted has it.
    pub(super) taken: u64,
    call: Call,
    /// What a tracepoint or a function has told of the call; `thread` is 0 = nothing.
    pub wrote: Wrote,
    facts: path::Inode,
    overflow: overflow::Key,
    modified: ModifyKey,
    /// The root of the file system whose names are walked; 0 = nobody can mount it.
    root: u64,
    block: LastRead,
    top: LastRead,
    walked: Walked,
    fixed: [u8; FIXED],
    bytes: [u8; TAIL + SLACK],
}

/// The last error number (MAX_ERRNO).
const MAX_ERRNO: i64 = 4095;

/// The call or request that a record is about.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Call {
    /// One of `syscalls::op`.
    pub operation: u32,
    /// One of `syscalls::entry`.
    pub entry: u32,
    /// Its number; -1 = none.
    pub number: i32,
    /// 1 = the generation is odd because of it.
    pub announced: u32,
    /// What it returned.
    pub result: i64,
    /// Its arguments, then AT_FDCWD and 0, see `syscalls::op`.
    pub arguments: [u64; ARGUMENTS],
}

const _: () = assert!(size_of::<Scratch>() < 32 << 10, "a per-CPU value is at most 32 KiB");
const _: () = assert!(walked::NAMES <= SLACK);
const _: () = assert!(ARGV <= SLACK && NAME <= SLACK && STRING <= SLACK);

/// Which program owns which scratch.
pub mod owner {
    pub const SYS_EXIT: u32 = 0;
    pub const CTIME_XCHG: u32 = 1;
    pub const CTIME_SKIP: u32 = 2;
    pub const CTIME_SET: u32 = 3;
    pub const FORK: u32 = 4;
    pub const EXEC: u32 = 5;
    pub const EXIT: u32 = 6;
    pub const IO_URING: u32 = 7;
    pub const SIGNAL: u32 = 8;
    /// Of the programs on functions of the VFS, which may be preempted by each other: see `kernel::taken`.
    pub const VFS: u32 = 9;
    pub const VFS_BESIDE: u32 = 10;
    pub const COUNT: u32 = 11;
}

static SHAPE_OF: [Shape; SHAPES_LEN] = SHAPES;

#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(owner::COUNT, 0);

impl Scratch {
    /// The scratch of one program on this CPU, with an empty tail.
    #[inline(always)]
    pub fn begin(owner: u32) -> Option<&'static mut Self> {
        let scratch = Self::of(owner)?;
        scratch.restart();
        scratch.owner = owner;
        scratch.set_slot(slot::NONE);
        scratch.block.from = NOWHERE;
        scratch.top.from = NOWHERE;
        Some(scratch)
    }

    /// As [`Self::begin`], of what no call does.
    #[inline(always)]
    pub fn begin_outside(owner: u32) -> Option<&'static mut Self> {
        let scratch = Self::begin(owner)?;
        scratch.caused_by(entry::NONE, -1);
        Some(scratch)
    }

    /// What the record is about was done by this call or request, and succeeded.
    #[inline(always)]
    pub fn caused_by(&mut self, entry: u8, number: i32) {
        self.call.entry = entry.into();
        self.call.number = number;
        self.call.result = 0;
    }

    /// What the functions of `place` have found out about one inode; a hook copies it into its event.
    #[inline(always)]
    pub fn facts(&mut self) -> &mut path::Inode {
        &mut self.facts
    }

    /// Of these the name alone.
    #[inline(always)]
    pub fn name(&self) -> path::Name {
        path::Name { path: self.facts.path, base: self.facts.base }
    }

    /// The beginning of a struct, read unless it was the last that was; the block before is gone.
    #[inline(always)]
    pub fn block(&mut self, address: u64) -> Block {
        self.block.read(address)
    }

    /// The beginning of a superblock, likewise: it is asked for again and again.
    #[inline(always)]
    pub fn top(&mut self, address: u64) -> Block {
        self.top.read(address)
    }

    /// The directory whose names were walked last.
    #[inline(always)]
    pub fn walked(&self) -> &Walked {
        &self.walked
    }

    /// Appends its names.
    #[inline(always)]
    pub fn append_walked(&mut self) {
        let end = self.end();
        let length = self.walked.copy_names(end);
        self.grow(length.into());
    }

    /// The names behind `before` are this directory's.
    #[inline(always)]
    pub fn have_walked(&mut self, dentry: u64, inode: &InodeKey, era: u64, before: u32) {
        let length = self.tail().wrapping_sub(before);
        // SAFETY: within the tail, behind which SLACK bytes follow.
        let names = unsafe { self.bytes.as_ptr().add(before as usize & (TAIL - 1)) };
        self.walked.keep(dentry, inode, era, names, length);
    }

    /// Where a walk over names must end, else it is cut.
    #[inline(always)]
    pub fn set_root(&mut self, root: u64) {
        self.root = root;
    }

    #[inline(always)]
    pub fn root(&self) -> u64 {
        // SAFETY: as for `tail`.
        unsafe { core::ptr::read_volatile(&raw const self.root) }
    }

    /// Room for the key of a row of losses.
    #[inline(always)]
    pub fn overflow(&mut self) -> &'static mut overflow::Key {
        // SAFETY: a field of a live value of this program on this CPU, and nobody else's.
        unsafe { &mut *(&raw mut self.overflow) }
    }

    /// Room for the key of a change: the stack of a long chain of calls has none.
    #[inline(always)]
    pub fn modified(&mut self) -> &'static mut ModifyKey {
        // SAFETY: as above.
        unsafe { &mut *(&raw mut self.modified) }
    }

    /// The call that has ended.
    #[inline(always)]
    pub fn call(&mut self) -> &mut Call {
        &mut self.call
    }

    /// The scratch of one program on this CPU, as it stands.
    #[inline(always)]
    pub fn of(owner: u32) -> Option<&'static mut Self> {
        // SAFETY: the pointer is a value of SCRATCH or null; the program that owns it is its only user.
        unsafe { SCRATCH.get_ptr_mut(owner)?.as_mut() }
    }

    /// Whose it is.
    #[inline(always)]
    pub fn owner(&self) -> u32 {
        // SAFETY: a field of a live value; volatile, so that it is a plain number to the verifier.
        unsafe { core::ptr::read_volatile(&raw const self.owner) }
    }

    /// The current thread's slot, once [`Self::find_slot`] has found or [`Self::open_slot`] has opened it. Looked up
    /// by its number, since it is asked for again and again.
    #[inline(always)]
    pub fn slot(&self) -> Option<&'static mut Slot> {
        // SAFETY: as for `owner`.
        Slot::of(unsafe { core::ptr::read_volatile(&raw const self.slot) })
    }

    #[inline(always)]
    fn set_slot(&mut self, number: u32) {
        // SAFETY: as for `owner`.
        unsafe { core::ptr::write_volatile(&raw mut self.slot, number) }
    }

    /// The current thread's slot, if it has changed anything.
    #[inline(always)]
    pub fn find_slot(&mut self) -> Option<&'static mut Slot> {
        self.set_slot(Slot::find());
        self.slot()
    }

    /// A free one for the current thread, which has none; none when there are too many.
    #[cfg(not(feature = "counted"))]
    #[inline(always)]
    pub fn open_slot(&mut self) -> Option<&'static mut Slot> {
        self.set_slot(Slot::open());
        let slot = self.slot()?;
        slot.begin();
        Some(slot)
    }

    /// The slot is free again.
    #[inline(always)]
    pub fn free_slot(&mut self) {
        // SAFETY: as for `owner`.
        Slot::free(unsafe { core::ptr::read_volatile(&raw const self.slot) });
        self.set_slot(slot::NONE);
    }

    /// Begins another record with an empty tail.
    #[inline(always)]
    pub fn restart(&mut self) {
        self.set_tail(0);
        // SAFETY: as for `tail`.
        unsafe {
            core::ptr::write_volatile(&raw mut self.directory, 0);
            core::ptr::write_volatile(&raw mut self.names_end, 0);
        }
    }

    /// What the call was, read anew: one of `syscalls::op`.
    #[inline(always)]
    pub fn operation(&self) -> u8 {
        // SAFETY: as for `tail`.
        unsafe { core::ptr::read_volatile(&raw const self.call.operation) as u8 }
    }

    /// Where its arguments lie.
    #[inline(always)]
    pub fn shape(&self) -> &'static Shape {
        &SHAPE_OF[self.operation() as usize & (SHAPES_LEN - 1)]
    }

    /// An argument by the number that its shape has for it.
    #[inline(always)]
    pub fn argument(&self, number: u8) -> u64 {
        // SAFETY: as for `tail`; the number is masked to the array's length.
        unsafe { self.call.arguments.as_ptr().add(number as usize & (ARGUMENTS - 1)).read_volatile() }
    }

    /// What it returned.
    #[inline(always)]
    pub fn result(&self) -> i64 {
        // SAFETY: as for `tail`.
        unsafe { core::ptr::read_volatile(&raw const self.call.result) }
    }

    /// Did it fail? An address is a result, however large (IS_ERR_VALUE).
    #[inline(always)]
    pub fn failed(&self) -> bool {
        (-MAX_ERRNO..0).contains(&self.result())
    }

    /// The directory that the record's first path lies in; 0 = none.
    #[inline(always)]
    pub fn directory(&self) -> u64 {
        // SAFETY: as for `tail`.
        unsafe { core::ptr::read_volatile(&raw const self.directory) }
    }

    /// The names that come next are this directory's: it is the record's, if it is the first.
    #[inline(always)]
    pub fn lies_in(&mut self, directory: u64) {
        if self.directory() == 0 {
            self.names = self.tail();
            // SAFETY: as for `tail`.
            unsafe { core::ptr::write_volatile(&raw mut self.directory, directory) }
        }
    }

    /// They are there.
    #[inline(always)]
    pub fn is_named(&mut self) {
        if self.names_end == 0 {
            self.names_end = self.tail();
        }
    }

    #[inline(always)]
    pub fn tail(&self) -> u32 {
        // SAFETY: a field of a live value; volatile, so that the bound is not remembered in a register.
        unsafe { core::ptr::read_volatile(&raw const self.tail) }
    }

    #[inline(always)]
    fn set_tail(&mut self, tail: u32) {
        // SAFETY: as above.
        unsafe { core::ptr::write_volatile(&raw mut self.tail, tail) }
    }

    #[inline(always)]
    pub fn walking(&self) -> u64 {
        // SAFETY: as above.
        unsafe { core::ptr::read_volatile(&raw const self.walking) }
    }

    #[inline(always)]
    pub fn walk_to(&mut self, dentry: u64) {
        // SAFETY: as above.
        unsafe { core::ptr::write_volatile(&raw mut self.walking, dentry) }
    }

    /// The name of an inode that is looked at next; 0 = no more.
    #[inline(always)]
    pub fn looking(&self) -> u64 {
        // SAFETY: as above.
        unsafe { core::ptr::read_volatile(&raw const self.looking) }
    }

    #[inline(always)]
    pub fn look_from(&mut self, dentry: u64) {
        // SAFETY: as above.
        unsafe { core::ptr::write_volatile(&raw mut self.looking, dentry) }
    }

    /// A pointer as a plain number: a global function takes no pointer whose type the verifier knows.
    #[inline(always)]
    pub fn as_number(&mut self, pointer: u64) -> u64 {
        self.look_from(pointer);
        self.looking()
    }

    /// The names of that directory, and their bytes.
    #[inline(always)]
    pub fn directory_names(&self) -> (*const u8, u32) {
        // SAFETY: as for `tail`.
        let (from, end) = unsafe {
            (
                core::ptr::read_volatile(&raw const self.names),
                core::ptr::read_volatile(&raw const self.names_end),
            )
        };
        // SAFETY: within the tail, behind which SLACK bytes follow.
        (unsafe { self.bytes.as_ptr().add(from as usize & (TAIL - 1)) }, end.wrapping_sub(from))
    }

    /// Starts walking at a dentry.
    #[inline(always)]
    pub fn walk_from(&mut self, dentry: u64) {
        self.walk_to(dentry);
    }

    /// What is appended from now on is one path.
    #[inline(always)]
    pub fn begin_path(&mut self) {
        self.path_start = self.tail();
    }

    /// Bytes appended since [`Self::begin_path`].
    #[inline(always)]
    pub fn path_length(&self) -> u16 {
        self.tail().wrapping_sub(self.path_start) as u16
    }

    /// The address in the tail where the next bytes go.
    #[inline(always)]
    fn end(&mut self) -> *mut u8 {
        let at = self.tail() as usize & (TAIL - 1);
        // SAFETY: at < TAIL, and SLACK bytes follow.
        unsafe { self.bytes.as_mut_ptr().add(at) }
    }

    #[inline(always)]
    fn grow(&mut self, length: i64) -> u32 {
        let tail = self.tail();
        if length > 0 && u64::from(tail) + length as u64 <= TAIL as u64 {
            self.set_tail(tail + length as u32);
            return length as u32;
        }
        0
    }

    /// Appends the name of a dentry, its NUL included.
    #[inline(always)]
    pub fn append_name(&mut self, dentry: Block) -> u32 {
        let length = name::copy(dentry, self.end());
        self.grow(length)
    }

    /// Appends a name that was noted.
    #[inline(always)]
    pub fn append_noted(&mut self, noted: &Touched) -> u32 {
        let length = name::copy_again(noted.name.as_ptr(), noted.name_length, self.end());
        self.grow(length)
    }

    /// Appends a longer kernel string (a path), its NUL included.
    #[inline(always)]
    pub fn append_kernel_path(&mut self, address: u64) -> u32 {
        // SAFETY: PATH bytes fit behind `end`; the helper checks the source.
        let length =
            unsafe { bpf_probe_read_kernel_str(self.end().cast(), PATH as u32, address as *const _) };
        self.grow(length)
    }

    /// Appends the caller's path argument, its NUL included.
    #[inline(always)]
    pub fn append_user_path(&mut self, address: u64) -> u32 {
        // SAFETY: PATH bytes fit behind `end`; the helper checks the source.
        let length = unsafe { bpf_probe_read_user_str(self.end().cast(), PATH as u32, address as *const _) };
        self.grow(length)
    }

    /// Appends a short string of the caller's, its NUL included.
    #[inline(always)]
    pub fn append_user_string(&mut self, address: u64) -> u32 {
        // SAFETY: STRING bytes fit behind `end`; the helper checks the source.
        let length =
            unsafe { bpf_probe_read_user_str(self.end().cast(), STRING as u32, address as *const _) };
        self.grow(length)
    }

    /// Appends `length` bytes of the caller's memory, at most [`ARGV`].
    #[inline(always)]
    pub fn append_user_bytes(&mut self, address: u64, length: u64) -> u32 {
        let length = length.min(ARGV as u64) as u32;
        // SAFETY: ARGV bytes fit behind `end`; the helper checks the source.
        let failed = unsafe { bpf_probe_read_user(self.end().cast(), length, address as *const _) };
        if failed != 0 { 0 } else { self.grow(length.into()) }
    }

    /// Header and fixed part of a record of kind E, zeroed or left from the record before: fill both.
    #[inline(always)]
    pub fn record<E>(&mut self) -> (&'static mut Header, &'static mut E) {
        let header_at = FIXED - size_of::<Header>() - size_of::<E>();
        let event_at = FIXED - size_of::<E>();
        let fixed = self.fixed.as_mut_ptr();
        // SAFETY: both lie within `fixed`, do not overlap, and are aligned to 8 as all abi sizes are
        // multiples of 8; every bit pattern is a value of either.
        unsafe { (&mut *fixed.add(header_at).cast(), &mut *fixed.add(event_at).cast()) }
    }

    /// The header of a record whose fixed part has `size` bytes; none when there is no such kind.
    #[inline(always)]
    pub fn header(&mut self, size: u32) -> Option<&'static mut Header> {
        let at = self.begins_at(size)?;
        // SAFETY: a header and the fixed part fit between `at` and the tail; aligned to 8 as all abi sizes are
        // multiples of 8.
        unsafe { self.fixed.as_mut_ptr().add(at).cast::<Header>().as_mut() }
    }

    /// The finished record: its address and length.
    #[inline(always)]
    pub fn finished(&mut self, size: u32) -> Option<(*mut u8, u64)> {
        let at = self.begins_at(size)?;
        let tail = u64::from(self.tail()).min(TAIL as u64);
        // SAFETY: as above.
        let start = unsafe { self.fixed.as_mut_ptr().add(at) };
        Some((start, (FIXED - at) as u64 + tail))
    }

    /// Where in `fixed` a record begins. Read anew, so that the verifier sees the bound on the very number that is
    /// added to the address.
    #[inline(always)]
    fn begins_at(&self, size: u32) -> Option<usize> {
        let at = (FIXED - size_of::<Header>()).wrapping_sub(size as usize);
        // SAFETY: a local variable.
        let at = unsafe { core::ptr::read_volatile(&raw const at) };
        (at <= FIXED - size_of::<Header>()).then_some(at)
    }
}
