//! What the kernel offers only through raw pointers. The one file of the agent where `unsafe` may stand.
#![expect(unsafe_code, reason = "each call below has no safe form; each says why it holds")]

use std::io;

/// Keeps the memory of a value out of swap for as long as it lives at this place.
///
/// Fails where `RLIMIT_MEMLOCK` is used up.
pub(crate) fn lock_memory<T>(value: &T) -> io::Result<()> {
    let at = std::ptr::from_ref(value).cast_mut().cast();
    // SAFETY: the range is the value's own, which the reference proves mapped; mlock(2) neither reads nor
    // writes it and does not unmap it later.
    unsafe { rustix::mm::mlock(at, size_of::<T>()) }.map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_a_value_can_be_locked() {
        let value = Box::new([7_u8; 64]);
        assert!(lock_memory(&*value).is_ok());
    }
}
