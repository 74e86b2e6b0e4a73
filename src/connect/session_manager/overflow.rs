//! Received data that is ahead of its turn and exceeds the memory limit: in a temporary file.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::domain::session_manager::Overflow;

/// A file without a name, created when it is first needed. It holds bytes of the encrypted SSH stream.
#[derive(Debug, Default)]
pub(super) struct TemporaryFile(Option<File>);

impl Overflow for TemporaryFile {
    fn write(&mut self, at: u64, bytes: &[u8]) -> bool {
        if self.0.is_none() {
            self.0 = tempfile::tempfile().ok();
        }
        self.0.as_ref().is_some_and(|file| file.write_all_at(bytes, at).is_ok())
    }

    fn read(&mut self, at: u64, bytes: &mut [u8]) -> bool {
        self.0.as_ref().is_some_and(|file| file.read_exact_at(bytes, at).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_back_and_overwritten() {
        let mut file = TemporaryFile::default();
        let mut bytes = [0; 3];
        assert!(!file.read(0, &mut bytes));
        for written in [b"abc", b"def"] {
            assert!(file.write(0, b"xyz") && file.write(3, written) && file.read(3, &mut bytes));
            assert_eq!(&bytes, written);
        }
        assert!(!file.read(6, &mut bytes));
    }
}
