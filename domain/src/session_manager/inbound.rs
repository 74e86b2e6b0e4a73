//! Stream data from the agent: put in order, and held until the reader takes it.
//!
//! The agent sends only its oldest unacknowledged message again, ten times in a second, and goes on with new ones at its
//! full rate meanwhile. A message that is dropped here costs 100 ms later; if more are dropped than are repaired, the
//! download falls to ten messages a second for good. What is ahead of a gap is therefore kept, as far as an SSH window of
//! 2 MiB for each of several channels reaches, and what exceeds the memory limit goes to an [`Overflow`].

use std::collections::VecDeque;

use super::overflow::Overflow;
use super::payload_type;

/// Most bytes held in memory, in order and ahead. A payload costs its length and [`OVERHEAD`].
const MEMORY_LIMIT: usize = 512 * 1024;
const OVERHEAD: usize = 96;
/// Ahead of the expected sequence number, at most so many messages are held.
const WINDOW: usize = 8192;
/// Most bytes of the overflow.
const OVERFLOW_LIMIT: u64 = 16 * 1024 * 1024;
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

/// The overflow does not return what it has stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost;

/// A message of stream data that is not the user's data.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Control {
    pub(super) payload_type: u32,
    pub(super) payload: Box<[u8]>,
}

/// A message ahead of its turn.
#[derive(Debug)]
enum Ahead {
    Memory(Control),
    Overflow { payload_type: u32, at: u64, length: usize },
}

/// The receiving half.
#[derive(Debug)]
pub(super) struct Inbound {
    /// The sequence number of the next message in order, the place of the first element of `ahead`.
    expected: i64,
    ahead: VecDeque<Option<Ahead>>,
    /// Memory of the messages in `ahead`.
    ahead_bytes: usize,
    overflow: Box<dyn Overflow + Send>,
    /// Messages in the overflow, and the offset behind the last of them.
    overflowed: usize,
    overflow_end: u64,
    output: VecDeque<Box<[u8]>>,
    output_bytes: usize,
    /// Bytes of the first chunk of `output` that the reader has taken.
    taken: usize,
}

impl Inbound {
    pub(super) fn new(overflow: Box<dyn Overflow + Send>) -> Self {
        Self {
            expected: 0,
            ahead: VecDeque::new(),
            ahead_bytes: 0,
            overflow,
            overflowed: 0,
            overflow_end: 0,
            output: VecDeque::new(),
            output_bytes: 0,
            taken: 0,
        }
    }

    /// Takes a message. Control messages that are now in order are appended to `controls`.
    ///
    /// # Errors
    ///
    /// [`Lost`].
    pub(super) fn receive(
        &mut self,
        sequence: i64,
        payload_type: u32,
        payload: &[u8],
        controls: &mut Vec<Control>,
    ) -> Result<Verdict, Lost> {
        if sequence < self.expected {
            return Ok(Verdict::Acknowledge);
        }
        let place = usize::try_from(sequence - self.expected).unwrap_or(usize::MAX);
        if matches!(self.ahead.get(place), Some(Some(_))) {
            return Ok(Verdict::Acknowledge);
        }
        if place >= WINDOW || (place == 0 && self.is_reader_slow()) {
            return Ok(Verdict::Drop);
        }
        if place == 0 {
            self.ahead.pop_front();
            self.pass(Control { payload_type, payload: payload.into() }, controls);
            self.pass_ahead(controls)?;
            return Ok(Verdict::Acknowledge);
        }
        let Some(ahead) = self.store(payload_type, payload) else { return Ok(Verdict::Drop) };
        if self.ahead.len() <= place {
            self.ahead.resize_with(place + 1, || None);
        }
        self.ahead[place] = Some(ahead);
        Ok(Verdict::Acknowledge)
    }

    /// Keeps a message that is ahead of its turn; `None`: there is no room.
    fn store(&mut self, payload_type: u32, payload: &[u8]) -> Option<Ahead> {
        if self.ahead_bytes + self.output_bytes + cost(payload) <= MEMORY_LIMIT {
            self.ahead_bytes += cost(payload);
            return Some(Ahead::Memory(Control { payload_type, payload: payload.into() }));
        }
        let (at, length) = (self.overflow_end, payload.len());
        let end = at.checked_add(u64::try_from(length).ok()?).filter(|end| *end <= OVERFLOW_LIMIT)?;
        if !self.overflow.write(at, payload) {
            return None;
        }
        self.overflowed += 1;
        self.overflow_end = end;
        Some(Ahead::Overflow { payload_type, at, length })
    }

    /// Passes on what is in order now, but no more than the reader keeps up with.
    fn pass_ahead(&mut self, controls: &mut Vec<Control>) -> Result<(), Lost> {
        while !self.is_reader_slow()
            && let Some(next) = self.ahead.pop_front_if(|next| next.is_some()).flatten()
        {
            let message = match next {
                Ahead::Memory(message) => {
                    self.ahead_bytes -= cost(&message.payload);
                    message
                }
                Ahead::Overflow { payload_type, at, length } => {
                    let mut payload = vec![0; length];
                    if !self.overflow.read(at, &mut payload) {
                        return Err(Lost);
                    }
                    self.overflowed -= 1;
                    Control { payload_type, payload: payload.into() }
                }
            };
            self.pass(message, controls);
        }
        if self.overflowed == 0 {
            self.overflow_end = 0;
        }
        if self.ahead.is_empty() {
            // Gaps are rare: an idle session keeps no memory for them.
            self.ahead = VecDeque::new();
        }
        Ok(())
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

    /// Removes bytes of [`Inbound::output`] that the reader has taken. Control messages that are now in order are
    /// appended to `controls`.
    ///
    /// # Errors
    ///
    /// [`Lost`].
    pub(super) fn consume(&mut self, count: usize, controls: &mut Vec<Control>) -> Result<(), Lost> {
        let Some(front) = self.output.front() else { return Ok(()) };
        self.taken = (self.taken + count).min(front.len());
        if self.taken < front.len() {
            return Ok(());
        }
        self.output_bytes -= cost(front);
        self.output.pop_front();
        self.taken = 0;
        self.pass_ahead(controls)
    }

    /// Whether the reader is behind, so that no more should be received.
    pub(super) fn is_reader_slow(&self) -> bool {
        self.output_bytes >= READER_LIMIT
    }

    /// Bytes of memory held.
    pub(super) fn held(&self) -> usize {
        self.ahead_bytes + self.output_bytes + self.ahead.capacity() * size_of::<Option<Ahead>>()
    }
}

fn cost(payload: &[u8]) -> usize {
    payload.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::super::overflow::NoOverflow;
    use super::super::tests::MemoryOverflow;
    use super::*;

    fn without_overflow() -> Inbound {
        Inbound::new(Box::new(NoOverflow))
    }

    fn receive(inbound: &mut Inbound, sequence: i64, payload: &[u8]) -> Verdict {
        inbound.receive(sequence, 1, payload, &mut Vec::new()).expect("readable")
    }

    fn consume(inbound: &mut Inbound, count: usize) {
        inbound.consume(count, &mut Vec::new()).expect("readable");
    }

    #[test]
    fn order_repetition_and_limits() {
        let (mut inbound, mut controls) = (without_overflow(), Vec::new());
        assert_eq!(receive(&mut inbound, 1, b"b"), Verdict::Acknowledge);
        assert_eq!(inbound.output(), b"");
        assert_eq!(receive(&mut inbound, 0, b"a"), Verdict::Acknowledge);
        assert_eq!(receive(&mut inbound, 0, b"a"), Verdict::Acknowledge, "again");
        assert_eq!(receive(&mut inbound, -1, b"x"), Verdict::Acknowledge);
        assert_eq!(receive(&mut inbound, i64::MAX, b"x"), Verdict::Drop);
        assert_eq!(inbound.receive(2, 10, b"flag", &mut controls).expect("readable"), Verdict::Acknowledge);
        assert_eq!(controls.len(), 1);
        for expected in [b"a", b"b"] {
            assert_eq!(inbound.output(), expected);
            consume(&mut inbound, 1);
        }
        assert_eq!((inbound.output(), inbound.held()), (b"".as_slice(), 0));
    }

    #[test]
    fn a_slow_reader_stops_the_stream_and_a_full_buffer_still_takes_the_next_in_order() {
        let mut inbound = without_overflow();
        let chunk = vec![0; 32 * 1024];
        let taken = (1..400).filter(|n| receive(&mut inbound, *n, &chunk) == Verdict::Acknowledge).count();
        assert!((10..20).contains(&taken), "{taken}");
        assert_eq!(receive(&mut inbound, 0, &chunk), Verdict::Acknowledge);
        let next = i64::try_from(taken).expect("small") + 1;
        assert_eq!(receive(&mut inbound, next, &chunk), Verdict::Drop);
        while !inbound.output().is_empty() {
            consume(&mut inbound, 1000);
        }
        assert_eq!(receive(&mut inbound, next, &chunk), Verdict::Acknowledge);
    }

    #[test]
    fn what_exceeds_the_memory_limit_comes_back_from_the_overflow_in_order() {
        let mut inbound = Inbound::new(Box::new(MemoryOverflow::default()));
        let chunk = |n: i64| vec![u8::try_from(n % 251).expect("a byte"); 1024];
        let window = i64::try_from(WINDOW).expect("small");
        for round in 0..3 {
            let first = round * window;
            for n in first + 1..first + window {
                assert_eq!(receive(&mut inbound, n, &chunk(n)), Verdict::Acknowledge, "{n}");
            }
            assert_eq!(receive(&mut inbound, first + window, &chunk(0)), Verdict::Drop);
            assert!(inbound.held() < 1024 * 1024, "{}", inbound.held());
            assert_eq!(receive(&mut inbound, first, &chunk(first)), Verdict::Acknowledge);
            for n in first..first + window {
                assert_eq!(inbound.output(), chunk(n), "{n}");
                assert!(inbound.output_bytes < 2 * READER_LIMIT);
                consume(&mut inbound, 1024);
            }
            assert_eq!((inbound.output(), inbound.held(), inbound.overflow_end), (b"".as_slice(), 0, 0));
        }
    }
}
