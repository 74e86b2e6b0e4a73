//! Stream data from the agent: put in order, and held until the reader takes it.

use std::collections::{BTreeMap, VecDeque};

use super::payload_type;

/// Most bytes held, in order and ahead. A payload costs its length and this.
const LIMIT: usize = 512 * 1024;
const OVERHEAD: usize = 96;
/// Ahead of the expected sequence number, at most so many messages are held. The agent, at 900 messages a second,
/// needs some 300 ms to repair a loss.
const WINDOW: i64 = 512;
/// From this number of bytes in order that the reader has not taken, the connection should not be read.
const READER_LIMIT: usize = 64 * 1024;

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Taken, now or before: acknowledge it.
    Acknowledge,
    /// No room: the agent sends it again.
    Drop,
}

/// A message of stream data that is not the user's data.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Control {
    pub(super) payload_type: u32,
    pub(super) payload: Box<[u8]>,
}

/// The receiving half.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    /// The sequence number of the next message in order.
    expected: i64,
    ahead: BTreeMap<i64, Control>,
    ahead_bytes: usize,
    output: VecDeque<Box<[u8]>>,
    output_bytes: usize,
    /// Bytes of the first chunk of `output` that the reader has taken.
    taken: usize,
}

impl Inbound {
    /// Takes a message. Control messages that are now in order are appended to `controls`.
    pub(super) fn receive(
        &mut self,
        sequence: i64,
        payload_type: u32,
        payload: &[u8],
        controls: &mut Vec<Control>,
    ) -> Verdict {
        if sequence < self.expected || self.ahead.contains_key(&sequence) {
            return Verdict::Acknowledge;
        }
        let in_order = sequence == self.expected;
        // The message in order must always find room, or one that was taken ahead would block it for ever.
        let has_room = if in_order {
            !self.is_reader_slow()
        } else {
            sequence - self.expected < WINDOW && self.held() + payload.len() + OVERHEAD <= LIMIT
        };
        if !has_room {
            return Verdict::Drop;
        }
        let control = Control { payload_type, payload: payload.into() };
        if in_order {
            self.pass(control, controls);
            while let Some(next) = self.ahead.remove(&self.expected) {
                self.ahead_bytes -= cost(&next.payload);
                self.pass(next, controls);
            }
        } else {
            self.ahead_bytes += cost(&control.payload);
            self.ahead.insert(sequence, control);
        }
        Verdict::Acknowledge
    }

    fn pass(&mut self, message: Control, controls: &mut Vec<Control>) {
        self.expected = self.expected.saturating_add(1);
        if message.payload_type != payload_type::OUTPUT {
            controls.push(message);
        } else if !message.payload.is_empty() {
            self.output_bytes += cost(&message.payload);
            self.output.push_back(message.payload);
        }
    }

    /// Bytes in order for the reader; empty if there are none. More may follow after [`Inbound::consume`].
    pub(super) fn output(&self) -> &[u8] {
        self.output.front().map_or(&[], |chunk| &chunk[self.taken..])
    }

    /// Removes bytes of [`Inbound::output`] that the reader has taken.
    pub(super) fn consume(&mut self, count: usize) {
        let Some(front) = self.output.front() else { return };
        self.taken = (self.taken + count).min(front.len());
        if self.taken == front.len() {
            self.output_bytes -= cost(front);
            self.output.pop_front();
            self.taken = 0;
        }
    }

    /// Whether the reader is behind, so that no more should be received.
    pub(super) fn is_reader_slow(&self) -> bool {
        self.output_bytes >= READER_LIMIT
    }

    /// Bytes of memory held.
    pub(super) fn held(&self) -> usize {
        self.ahead_bytes + self.output_bytes
    }
}

fn cost(payload: &[u8]) -> usize {
    payload.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::{Inbound, Verdict};

    #[test]
    fn order_repetition_and_limits() {
        let (mut inbound, mut controls) = (Inbound::default(), Vec::new());
        assert_eq!(inbound.receive(1, 1, b"b", &mut controls), Verdict::Acknowledge);
        assert_eq!(inbound.output(), b"");
        assert_eq!(inbound.receive(0, 1, b"a", &mut controls), Verdict::Acknowledge);
        assert_eq!(inbound.receive(0, 1, b"a", &mut controls), Verdict::Acknowledge, "again");
        assert_eq!(inbound.receive(-1, 1, b"x", &mut controls), Verdict::Acknowledge);
        assert_eq!(inbound.receive(i64::MAX, 1, b"x", &mut controls), Verdict::Drop);
        assert_eq!(inbound.receive(2, 10, b"flag", &mut controls), Verdict::Acknowledge);
        assert_eq!(controls.len(), 1);
        for expected in [b"a", b"b"] {
            assert_eq!(inbound.output(), expected);
            inbound.consume(1);
        }
        assert_eq!((inbound.output(), inbound.held()), (b"".as_slice(), 0));
    }

    #[test]
    fn a_slow_reader_stops_the_stream_and_a_full_buffer_still_takes_the_next_in_order() {
        let (mut inbound, mut controls) = (Inbound::default(), Vec::new());
        let chunk = vec![0; 32 * 1024];
        let taken = (1..400).filter(|n| inbound.receive(*n, 1, &chunk, &mut controls) == Verdict::Acknowledge).count();
        assert!((10..20).contains(&taken), "{taken}");
        assert_eq!(inbound.receive(0, 1, &chunk, &mut controls), Verdict::Acknowledge);
        let next = i64::try_from(taken).expect("small") + 1;
        assert_eq!(inbound.receive(next, 1, &chunk, &mut controls), Verdict::Drop);
        while !inbound.output().is_empty() {
            inbound.consume(1000);
        }
        assert_eq!(inbound.receive(next, 1, &chunk, &mut controls), Verdict::Acknowledge);
    }
}
