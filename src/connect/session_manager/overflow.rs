//! Received data that is ahead of its turn and exceeds the memory limit: in a temporary file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::domain::session_manager::Overflow;

/// A file without a name, created when it is first needed. It holds bytes of the encrypted SSH stream.
#[derive(Debug, Default)]
pub(super) struct TemporaryFile(Option<File>);

impl Overflow for TemporaryFile {
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        if self.0.is_none() {
            self.0 = Some(tempfile::tempfile()?);
        }
        self.0.as_ref().map_or(Ok(()), |file| file.write_all_at(bytes, at))
    }

    fn read(&mut self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.0.as_ref().ok_or(io::ErrorKind::NotFound)?.read_exact_at(bytes, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_back_and_overwritten() {
        let mut file = TemporaryFile::default();
        let mut bytes = [0; 3];
        assert!(file.read(0, &mut bytes).is_err());
        for written in [b"abc", b"def"] {
            file.write(0, b"xyz").expect("a file");
            file.write(3, written).expect("a file");
            file.read(3, &mut bytes).expect("stored");
            assert_eq!(&bytes, written);
        }
        assert!(file.read(6, &mut bytes).is_err());
    }
}
