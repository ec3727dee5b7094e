//! Writes that are handed to the kernel and not waited for: io_submit(2).

use std::io;

use super::{address, halves, native};

const IO_SETUP: usize = 206;
const IO_DESTROY: usize = 207;
const IO_GETEVENTS: usize = 208;
const IO_SUBMIT: usize = 209;
/// IOCB_CMD_PWRITE
const PWRITE: u16 = 1;

/// `struct iocb`.
#[repr(C)]
#[derive(Default)]
struct Request {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    priority: u16,
    descriptor: u32,
    buffer: usize,
    length: usize,
    offset: i64,
    rest: [u64; 2],
}

const _: () = assert!(size_of::<Request>() == 64);

/// Writes to the beginning of a file.
pub fn write(descriptor: i32, bytes: &[u8]) -> io::Result<()> {
    let mut context = 0_usize;
    // SAFETY: the kernel writes one word, of a context that is destroyed below.
    unsafe { native(IO_SETUP, [1, address(&raw mut context), 0, 0, 0, 0]) }?;
    let request = Request {
        opcode: PWRITE,
        descriptor: halves(usize::try_from(descriptor).map_err(io::Error::other)?)[0],
        buffer: address(bytes.as_ptr()),
        length: bytes.len(),
        ..Request::default()
    };
    let requests = [address(&raw const request)];
    // SAFETY: one request, which lives with its bytes until it is answered.
    let submitted = unsafe { native(IO_SUBMIT, [context, 1, address(requests.as_ptr()), 0, 0, 0]) };
    // `struct io_event`: data, request, result, second result.
    let mut event = [0_i64; 4];
    let answered = submitted.and_then(|_| {
        // SAFETY: room for one event.
        unsafe { native(IO_GETEVENTS, [context, 1, 1, address(event.as_mut_ptr()), 0, 0]) }
    });
    // SAFETY: a context of this function's own; it waits for what is left.
    unsafe { native(IO_DESTROY, [context, 0, 0, 0, 0, 0]) }?;
    answered?;
    match usize::try_from(event[2]) {
        Ok(written) if written == bytes.len() => Ok(()),
        Ok(_) => Err(io::ErrorKind::WriteZero.into()),
        Err(_) => Err(io::Error::from_raw_os_error(i32::try_from(-event[2]).unwrap_or_default())),
    }
}
