//! UUIDs in the two forms that messages have: text in JSON, and sixteen bytes with their halves swapped in headers.

use std::fmt;

use sha2::{Digest, Sha256};

/// A UUID, its bytes in the order of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// Reads the form of a message header: the last eight bytes first.
    pub(super) fn from_swapped(bytes: [u8; 16]) -> Self {
        let mut own = bytes;
        own.rotate_left(8);
        Self(own)
    }

    /// The form of a message header: the last eight bytes first.
    pub(super) fn swapped(self) -> [u8; 16] {
        let mut bytes = self.0;
        bytes.rotate_left(8);
        bytes
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                formatter.write_str("-")?;
            }
            write!(formatter, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// Generates the UUIDs of one session from its random seed.
#[derive(Debug)]
pub(super) struct UuidGenerator {
    seed: [u8; 32],
    count: u64,
}

impl UuidGenerator {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Self { seed, count: 0 }
    }

    /// The next UUID, version 4 (RFC 9562 section 5.4).
    pub(super) fn next(&mut self) -> Uuid {
        let mut digest = Sha256::new();
        digest.update(self.seed);
        digest.update(self.count.to_be_bytes());
        self.count += 1;
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest.finalize()[..16]);
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Uuid(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::{Uuid, UuidGenerator};

    #[test]
    fn text_and_swapped_halves() {
        let uuid = Uuid([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(uuid.to_string(), "00010203-0405-0607-0809-0a0b0c0d0e0f");
        assert_eq!(uuid.swapped(), [8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(Uuid::from_swapped(uuid.swapped()), uuid);
    }

    #[test]
    fn generated_uuids_differ_and_are_version_4() {
        let mut generator = UuidGenerator::new([7; 32]);
        let (first, second) = (generator.next().to_string(), generator.next().to_string());
        assert_ne!(first, second);
        assert_eq!(first.as_bytes()[14], b'4');
        assert_eq!(UuidGenerator::new([7; 32]).next().to_string(), first);
    }
}
