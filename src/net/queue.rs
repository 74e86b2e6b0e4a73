//! A bounded queue of bytes.

/// Bytes that a queue takes before it is full.
pub(super) const LIMIT: usize = 64 * 1024;

/// Bytes in order. Its limit holds for [`Queue::push`]; one received block may exceed it.
#[derive(Debug, Default)]
pub struct Queue {
    bytes: Vec<u8>,
    start: usize,
}

impl Queue {
    /// How many bytes it takes at the moment.
    #[must_use]
    pub fn room(&self) -> usize {
        LIMIT.saturating_sub(self.as_slice().len())
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// All bytes, oldest first.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Takes as many bytes as there is room for and returns their number.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room());
        self.append(&bytes[..count]);
        count
    }

    /// Removes the oldest bytes.
    pub fn consume(&mut self, count: usize) {
        self.start += count.min(self.as_slice().len());
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    /// Removes and returns everything.
    pub fn take(&mut self) -> Vec<u8> {
        let bytes = self.as_slice().to_vec();
        self.clear();
        bytes
    }

    /// Takes all bytes, whatever the limit.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        if self.start > 0 && self.bytes.len() + bytes.len() > self.bytes.capacity() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn clear(&mut self) {
        self.consume(usize::MAX);
    }
}
