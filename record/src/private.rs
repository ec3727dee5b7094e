//! Strings that are not in the record: arguments, environment values, captured content.
//!
//! Each is an entry with its own salt; the frame's header holds the RFC 6962 root over them. So a frame
//! verifies without its private part, one entry can be shown with its path, and erasing the part breaks
//! no chain: without the salt nobody can test a guess against the root.

use sha2::{Digest, Sha256};

use crate::v1::PrivateEntry;

/// Bytes of a salt: enough that a guess cannot be tested.
pub const SALT_LEN: usize = 16;

/// RFC 6962 §2.1 Merkle tree hash over the entries, `None` when there are none.
pub fn root(entries: &[PrivateEntry]) -> Option<[u8; 32]> {
    let leaves: Vec<[u8; 32]> = entries.iter().map(leaf).collect();
    (!leaves.is_empty()).then(|| tree(&leaves))
}

/// SHA-256(0x00 ‖ salt length ‖ salt ‖ value).
fn leaf(entry: &PrivateEntry) -> [u8; 32] {
    let salt_len = (entry.salt.len() as u64).to_le_bytes();
    Sha256::new()
        .chain_update([0])
        .chain_update(salt_len)
        .chain_update(&entry.salt)
        .chain_update(&entry.value)
        .finalize()
        .into()
}

/// The largest power of two below the number of leaves splits them; depth is log2, so recursion is bounded.
fn tree(leaves: &[[u8; 32]]) -> [u8; 32] {
    if let [only] = leaves {
        return *only;
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    Sha256::new().chain_update([1]).chain_update(tree(left)).chain_update(tree(right)).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: &str) -> PrivateEntry {
        PrivateEntry { salt: vec![7; SALT_LEN], value: value.into() }
    }

    #[test]
    fn the_root_depends_on_every_entry_and_its_place() {
        let abc = [entry("a"), entry("b"), entry("c")];
        let acb = [entry("a"), entry("c"), entry("b")];
        assert_ne!(root(&abc), root(&acb));
        assert_ne!(root(&abc), root(&abc[..2]));
        assert_eq!(root(&[]), None);
    }

    #[test]
    fn three_leaves_split_two_and_one_as_rfc_6962_says() {
        let entries = [entry("a"), entry("b"), entry("c")];
        let [a, b, c] = entries.clone().map(|e| leaf(&e));
        assert_eq!(root(&entries), Some(tree(&[tree(&[a, b]), c])));
    }
}
