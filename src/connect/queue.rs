//! Bytes on their way to a descriptor that does not take them at once.

use std::io;

/// The size of one read; pages of the buffer are touched only when used.
const BLOCK: usize = 64 * 1024;

/// A first-in, first-out buffer. The code that fills it keeps it small: it reads only while the buffer is empty, or up to a limit.
#[derive(Debug, Default)]
pub struct Queue {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Queue {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A queue that holds these bytes.
    #[must_use]
    pub fn with(buffer: Vec<u8>) -> Self {
        Self { start: 0, end: buffer.len(), buffer }
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// How many bytes wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Appends bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.truncate(self.end);
        self.buffer.drain(..self.start);
        self.buffer.extend_from_slice(bytes);
        (self.start, self.end) = (0, self.buffer.len());
    }

    /// Fills an empty queue by one read and returns the number of bytes, 0 at the end of the input.
    ///
    /// # Errors
    ///
    /// The read's own.
    pub fn fill(&mut self, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        debug_assert!(self.is_empty(), "bytes would be lost");
        if self.buffer.len() < BLOCK {
            self.buffer = vec![0; BLOCK];
        }
        let count = read(&mut self.buffer[..BLOCK])?;
        (self.start, self.end) = (0, count);
        Ok(count)
    }

    /// Writes as much as is taken now; the rest stays.
    ///
    /// # Errors
    ///
    /// The write's own, other than that it would block.
    pub fn flush(&mut self, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<()> {
        while !self.is_empty() {
            match write(&self.buffer[self.start..self.end]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.start += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Flushes to stdout, past std's line buffer.
    ///
    /// # Errors
    ///
    /// If its reader has gone.
    pub fn flush_to_stdout(&mut self) -> io::Result<()> {
        self.flush(|bytes| rustix::io::write(rustix::stdio::stdout(), bytes).map_err(io::Error::from))
    }

    /// Drops what waits.
    pub fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Takes everything out.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        let bytes = self.buffer[self.start..self.end].to_vec();
        self.clear();
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_come_out_as_they_went_in_however_they_are_taken(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20),
            takes in prop::collection::vec(1_usize..40, 1..20),
        ) {
            let (mut queue, mut out) = (Queue::new(), Vec::new());
            for (piece, most) in pieces.iter().zip(takes.iter().cycle()) {
                queue.push(piece);
                let mut room = *most;
                queue.flush(|bytes| {
                    let count = bytes.len().min(room);
                    room -= count;
                    out.extend_from_slice(&bytes[..count]);
                    if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
                }).unwrap();
                prop_assert_eq!(out.len() + queue.len(), pieces.concat().len().min(out.len() + queue.len()));
            }
            out.extend(queue.take());
            prop_assert!(queue.is_empty());
            prop_assert_eq!(out, pieces.concat());
        }
    }

    #[test]
    fn it_is_filled_by_one_read_and_keeps_what_is_not_taken() {
        let mut queue = Queue::new();
        assert_eq!(
            queue
                .fill(|buffer| {
                    buffer[..3].copy_from_slice(b"abc");
                    Ok(3)
                })
                .unwrap(),
            3
        );
        let mut first = true;
        let once = |_: &[u8]| if std::mem::take(&mut first) { Ok(2) } else { Err(io::ErrorKind::WouldBlock.into()) };
        queue.flush(once).unwrap();
        queue.push(b"d");
        assert_eq!(queue.take(), b"cd");
        assert_eq!(queue.fill(|_| Ok(0)).unwrap(), 0);
        assert!(queue.flush(|_| Err(io::ErrorKind::BrokenPipe.into())).is_ok(), "there is nothing to write");
    }
}
