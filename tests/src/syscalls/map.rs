//! BPF maps of others, by their numbers: bpf(2).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::{address, native};

const BPF: usize = 321;

/// `enum bpf_cmd`
const UPDATE_ELEM: usize = 2;
const DELETE_ELEM: usize = 3;
const GET_NEXT_KEY: usize = 4;
const GET_FD_BY_ID: usize = 14;
const GET_INFO_BY_FD: usize = 15;

/// A map.
#[derive(Debug)]
pub struct Map {
    descriptor: OwnedFd,
    /// At most 15 bytes.
    pub name: String,
    key_size: usize,
    value_size: usize,
}

impl Map {
    /// By the kernel's number of it.
    pub fn of(id: u32) -> io::Result<Self> {
        let number = bpf(GET_FD_BY_ID, &[id.into(), 0])?;
        let number = i32::try_from(number).map_err(io::Error::other)?;
        // SAFETY: the kernel has just made it for this process, and nobody else knows it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
        // `struct bpf_map_info`: type, id, key_size, value_size, max_entries, map_flags, name.
        let mut info = [0_u32; 10];
        let length = size_of_val(&info) as u64;
        bpf(
            GET_INFO_BY_FD,
            &[descriptor.as_raw_fd().cast_unsigned() as u64 | length << 32, word(info.as_mut_ptr())],
        )?;
        let name: Vec<u8> =
            info[6..].iter().flat_map(|part| part.to_ne_bytes()).take_while(|byte| *byte != 0).collect();
        let name = String::from_utf8_lossy(&name).into_owned();
        Ok(Self { descriptor, name, key_size: info[2] as usize, value_size: info[3] as usize })
    }

    /// Bytes of a key.
    pub fn key_size(&self) -> usize {
        self.key_size
    }

    /// All keys.
    pub fn keys(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        loop {
            let mut next = vec![0; self.key_size];
            let key = keys.last().map_or(0, |key| word(key.as_ptr()));
            match self.with(GET_NEXT_KEY, key, word(next.as_mut_ptr())) {
                Ok(()) => keys.push(next),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(keys),
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes one.
    pub fn delete(&self, key: &[u8]) -> io::Result<()> {
        assert_eq!(key.len(), self.key_size);
        self.with(DELETE_ELEM, word(key.as_ptr()), 0)
    }

    /// Writes zeros.
    pub fn clear(&self, key: &[u8]) -> io::Result<()> {
        assert_eq!(key.len(), self.key_size);
        // The greatest machine's processors: of a map with a value for each of them the kernel reads as many.
        let zeros = vec![0_u8; self.value_size.next_multiple_of(8) * 1024];
        self.with(UPDATE_ELEM, word(key.as_ptr()), word(zeros.as_ptr()))
    }

    /// `key` and `value`: addresses of whole ones.
    fn with(&self, command: usize, key: u64, value: u64) -> io::Result<()> {
        bpf(command, &[self.descriptor.as_raw_fd().cast_unsigned().into(), key, value, 0]).map(drop)
    }
}

fn word<T>(of: *const T) -> u64 {
    address(of) as u64
}

fn bpf(command: usize, attributes: &[u64]) -> io::Result<usize> {
    let (place, length) = (address(attributes.as_ptr()), size_of_val(attributes));
    // SAFETY: the kernel reads the attributes, and writes a key or what it knows of a map where these say, whose
    // sizes the kernel itself gave.
    unsafe { native(BPF, [command, place, length, 0, 0, 0]) }
}
