//! What a request of io_uring asks for: a record of its kind with outcome `reported`, when it is submitted. See `uring`.

use graven_abi::event::attr::Attr;
use graven_abi::event::create::Create;
use graven_abi::event::open::Open;
use graven_abi::event::outcome::REPORTED;
use graven_abi::event::rename::Rename;
use graven_abi::event::unlink::Unlink;
use graven_abi::filter::class;
use graven_abi::header::kind;
use graven_abi::offsets::ABSENT;
use graven_abi::syscalls::op::what;
use graven_abi::syscalls::{entry, ioctl, uring as requests};

use super::open::{O_ACCMODE, O_CREAT, O_EXCL, reads_only};
use super::{modify, uncovered, uring};
use crate::emit::{emit, ring_of};
use crate::kernel::file::{AT_FDCWD, FMODE_CREATED, FMODE_WRITE, File};
use crate::kernel::maps;
use crate::kernel::offset::offset;
use crate::kernel::read::{at, clear, copy, field};
use crate::kernel::scratch::{Scratch, owner};
use crate::kernel::task::Current;
use crate::place;

/// The descriptor is a number of the ring's own table (linux/io_uring_types.h).
const REQ_F_FIXED_FILE: u32 = 1;

/// A request is tried next. What it is about lies in its own memory, where no program can change it.
#[inline(always)]
pub fn submitted(request: u64) -> i32 {
    let Some(opcode) = field::<u8>(request, offset!(request_opcode)) else { return 0 };
    let opcode = i16::from(opcode);
    if !uring::changes(opcode) {
        return 0;
    }
    maps::set_submitted(opcode.into());
    if offset!(request_cmd) == ABSENT as u64 {
        return 0;
    }
    let Some(scratch) = Scratch::begin(owner::IO_URING) else { return 0 };
    scratch.caused_by(entry::IO_URING, opcode.into());
    let command = request + offset!(request_cmd);
    match opcode {
        requests::OPENAT | requests::OPENAT2 => open(scratch, command),
        requests::UNLINKAT => unlink(scratch, command),
        requests::RENAMEAT => rename(scratch, command),
        requests::MKDIRAT => {
            create(
                scratch,
                what::DIRECTORY,
                command,
                (offset!(io_mkdir_dfd), offset!(io_mkdir_filename)),
                None,
            );
        }
        requests::SYMLINKAT => {
            create(
                scratch,
                what::SYMLINK,
                command,
                (offset!(io_link_new_dfd), offset!(io_link_newpath)),
                None,
            );
        }
        requests::LINKAT => {
            let old = (offset!(io_link_old_dfd), offset!(io_link_oldpath));
            let new = (offset!(io_link_new_dfd), offset!(io_link_newpath));
            create(scratch, what::LINK, command, new, Some(old));
        }
        requests::SETXATTR => set(scratch, command),
        requests::URING_CMD | requests::URING_CMD128 => order(scratch, request, command, opcode),
        _ => {}
    }
    0
}

/// A name in the kernel's memory: `struct filename`, whose pointer's lowest bit is a mark from 7.0 on.
#[inline(always)]
fn describe(scratch: &Scratch, command: u64, dfd: u64, filename: u64) {
    let dfd: i32 = field(command, dfd).unwrap_or(AT_FDCWD);
    place::describe_copied(scratch, dfd, name(command, filename));
}

/// The address of the string: `filename.name`.
#[inline(always)]
fn name(command: u64, filename: u64) -> u64 {
    let filename: u64 = field(command, filename).unwrap_or(0);
    at((filename & !1) + offset!(filename_name))
}

#[inline(always)]
fn open(scratch: &mut Scratch, command: u64) {
    let flags: u64 = field(command, offset!(io_open_how)).unwrap_or(1);
    if reads_only(flags) {
        return;
    }
    describe(scratch, command, offset!(io_open_dfd), offset!(io_open_filename));
    let (_, event) = scratch.record::<Open>();
    *event = Open { outcome: REPORTED, flags: flags as u32, ..Open::default() };
    let writes = if flags & O_ACCMODE != 0 { FMODE_WRITE } else { 0 };
    // With both, the open makes the file or fails.
    let makes = if flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL { FMODE_CREATED } else { 0 };
    event.mode = writes | makes;
    copy(&mut event.file, scratch.facts());
    emit::<Open>(scratch, kind::OPEN, ring_of(class::KEEP));
}

#[inline(always)]
fn unlink(scratch: &mut Scratch, command: u64) {
    describe(scratch, command, offset!(io_unlink_dfd), offset!(io_unlink_filename));
    let (_, event) = scratch.record::<Unlink>();
    event.outcome = REPORTED;
    event.padding = 0;
    copy(&mut event.file, scratch.facts());
    emit::<Unlink>(scratch, kind::UNLINK, ring_of(class::KEEP));
}

#[inline(always)]
fn rename(scratch: &mut Scratch, command: u64) {
    maps::distrust_for(maps::DISTRUST);
    let (_, event) = scratch.record::<Rename>();
    describe(scratch, command, offset!(io_rename_old_dfd), offset!(io_rename_oldpath));
    copy(&mut event.from, scratch.facts());
    describe(scratch, command, offset!(io_rename_new_dfd), offset!(io_rename_newpath));
    event.to = scratch.name();
    clear(&mut event.replaced);
    event.outcome = REPORTED;
    event.flags = 0;
    emit::<Rename>(scratch, kind::RENAME, ring_of(class::KEEP));
}

/// A new name; of a hard link the old one too.
#[inline(always)]
fn create(scratch: &mut Scratch, what: u8, command: u64, new: (u64, u64), old: Option<(u64, u64)>) {
    describe(scratch, command, new.0, new.1);
    let (_, event) = scratch.record::<Create>();
    copy(&mut event.file, scratch.facts());
    clear(&mut event.from);
    if let Some(old) = old {
        describe(scratch, command, old.0, old.1);
        copy(&mut event.from, scratch.facts());
    }
    let target = match what {
        // Where a hard link has its old name.
        what::SYMLINK => scratch.append_kernel_path(name(command, offset!(io_link_oldpath))),
        _ => 0,
    };
    event.outcome = REPORTED;
    event.what = what.into();
    event.target = target;
    event.padding = 0;
    emit::<Create>(scratch, kind::CREATE, ring_of(class::KEEP));
}

#[inline(always)]
fn set(scratch: &mut Scratch, command: u64) {
    describe(scratch, command, ABSENT.into(), offset!(io_xattr_filename));
    let (_, event) = scratch.record::<Attr>();
    *event = Attr { outcome: REPORTED, what: what::XATTR.into(), ..Attr::default() };
    event.uid = u32::MAX;
    event.gid = u32::MAX;
    copy(&mut event.file, scratch.facts());
    emit::<Attr>(scratch, kind::ATTR, ring_of(class::KEEP));
}

/// A command for a file's own driver, as by ioctl(2).
#[inline(always)]
fn order(scratch: &mut Scratch, request: u64, command: u64, opcode: i16) {
    let number: u32 = field(command, offset!(io_uring_cmd_op)).unwrap_or(0);
    if !ioctl::changes(number) {
        return;
    }
    let flags: u32 = field(request, offset!(request_flags)).unwrap_or(REQ_F_FIXED_FILE);
    let descriptor: u32 = field(request, offset!(request_cqe_fd)).unwrap_or(u32::MAX);
    let file = if flags & REQ_F_FIXED_FILE == 0 { File::of_descriptor(descriptor.into()) } else { None };
    let is_told = file.is_some_and(|file| modify::commanded(scratch, file, number));
    if !is_told {
        // The descriptor may be another file when the request's turn comes, and a file of the ring's own has none.
        uncovered::record(owner::IO_URING, Current::get(), entry::IO_URING, opcode.into());
    }
}
