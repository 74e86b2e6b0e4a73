//! Digests for change detection. SHA-256, because some of the content comes from people who could try to cause collisions.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// The first 128 bits of a SHA-256 digest over all parts and their lengths, as 32 hexadecimal digits.
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
    fn the_boundaries_between_parts_count() {
        assert_eq!(of([b"ab".as_slice(), b"c"]).len(), 32);
        assert_ne!(of([b"ab".as_slice(), b"c"]), of([b"a".as_slice(), b"bc"]));
    }
}
