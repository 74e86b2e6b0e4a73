//! Where received data goes that is ahead of its turn and exceeds the memory limit.

use std::fmt;

/// Storage outside of this process's memory, addressed by byte offsets. It is written from offset 0 upwards, and again
/// from 0 when nothing in it is needed any more.
pub trait Overflow: fmt::Debug {
    /// Stores bytes at an offset. False: they cannot be stored, are not acknowledged, and the agent sends them again.
    fn write(&mut self, at: u64, bytes: &[u8]) -> bool;

    /// Reads bytes that were stored at this offset. False: the session ends, since they were acknowledged.
    fn read(&mut self, at: u64, bytes: &mut [u8]) -> bool;
}

/// No storage: only what fits into memory is kept.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoOverflow;

impl Overflow for NoOverflow {
    fn write(&mut self, _: u64, _: &[u8]) -> bool {
        false
    }

    fn read(&mut self, _: u64, _: &mut [u8]) -> bool {
        false
    }
}
