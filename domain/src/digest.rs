//! Digests that tell whether something is what it was. SHA-256, since some of it is written by people who would profit.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// The digest of all parts, each with its length, in 32 hexadecimal digits.
#[must_use]
pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.finalize()[..16].iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn parts_count_and_not_only_their_bytes() {
        assert_eq!(of([b"ab".as_slice(), b"c"]).len(), 32);
        assert_ne!(of([b"ab".as_slice(), b"c"]), of([b"a".as_slice(), b"bc"]));
    }
}
