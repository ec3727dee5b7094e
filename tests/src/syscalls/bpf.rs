//! BPF maps and programs of others, by the kernel's numbers of them: bpf(2).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::{address, native};

const BPF: usize = 321;

/// `enum bpf_cmd`
const UPDATE_ELEM: usize = 2;
const DELETE_ELEM: usize = 3;
const GET_NEXT_KEY: usize = 4;
const PROGRAM_BY_ID: usize = 13;
const MAP_BY_ID: usize = 14;
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
        let descriptor = by_id(MAP_BY_ID, id)?;
        // `struct bpf_map_info`: type, id, key_size, value_size, max_entries, map_flags, name.
        let mut info = [0; 10];
        ask(&descriptor, &mut info)?;
        let name = text(&info[6..]);
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

/// What a program is called; at most 15 bytes.
pub fn program_name(id: u32) -> io::Result<String> {
    // `struct bpf_prog_info`, up to the name.
    let mut info = [0; 20];
    ask(&by_id(PROGRAM_BY_ID, id)?, &mut info)?;
    Ok(text(&info[16..]))
}

fn by_id(command: usize, id: u32) -> io::Result<OwnedFd> {
    let number = i32::try_from(bpf(command, &[id.into(), 0])?).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made it for this process, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// What the kernel knows of it: as many words of it.
fn ask(of: &OwnedFd, info: &mut [u32]) -> io::Result<()> {
    let length = size_of_val(info) as u64;
    let number = u64::from(of.as_raw_fd().cast_unsigned());
    bpf(GET_INFO_BY_FD, &[number | length << 32, word(info.as_mut_ptr())]).map(drop)
}

/// Up to its NUL.
fn text(words: &[u32]) -> String {
    let bytes = words.iter().flat_map(|part| part.to_ne_bytes());
    let bytes: Vec<u8> = bytes.take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
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
