//! Memory for what is copied out of the rings. It goes round: what the stages behind let go is filled again, and the kernel
//! need not make pages for each round anew.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Most pieces that are kept, of all rings: 4 MiB at most.
const MOST: usize = 8;
/// Most bytes of a piece that is kept: what a round takes of a ring fits.
const LARGEST: usize = 512 << 10;

/// The pieces that nobody holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Pieces(Arc<Mutex<Vec<Vec<u8>>>>);

/// One that is held; with the last of its bytes it goes home.
struct Piece {
    bytes: Vec<u8>,
    home: Pieces,
}

impl Pieces {
    /// An empty one with room for so many bytes; one that was used before may grow.
    pub(super) fn empty(&self, room: usize) -> Vec<u8> {
        self.lock().pop().unwrap_or_else(|| Vec::with_capacity(room))
    }

    /// What was filled, to be shared.
    pub(super) fn shared(&self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Piece { bytes, home: self.clone() })
    }

    /// Gives the memory back: where nothing happens none is needed.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// A list that somebody left in a panic is a list all the same.
    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        let mut kept = self.home.lock();
        if kept.len() < MOST && bytes.capacity() <= LARGEST {
            bytes.clear();
            kept.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_comes_back_empty_when_the_last_of_it_is_let_go() {
        let pieces = Pieces::default();
        let mut bytes = pieces.empty(100);
        bytes.extend_from_slice(b"one and two");
        let room = bytes.capacity();
        let mut rest = pieces.shared(bytes);
        let first = rest.split_to(3);
        drop(rest);
        assert_eq!((&first[..], pieces.lock().len()), (&b"one"[..], 0));
        drop(first);
        let again = pieces.empty(0);
        assert_eq!((again.len(), again.capacity(), pieces.lock().len()), (0, room, 0));
    }

    #[test]
    fn no_more_is_kept_than_is_needed() {
        let pieces = Pieces::default();
        let many: Vec<Bytes> = (0..=MOST).map(|_| pieces.shared(vec![7])).collect();
        drop((many, pieces.shared(Vec::with_capacity(LARGEST + 1))));
        assert_eq!(pieces.lock().len(), MOST);
        pieces.clear();
        drop(pieces.shared(Vec::with_capacity(LARGEST + 1)));
        assert!(pieces.lock().is_empty());
    }
}
