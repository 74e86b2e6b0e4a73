//! Stream data to the agent: cut into messages, paced, and sent again until it is acknowledged.

use std::collections::VecDeque;
use std::time::Duration;

use super::pace::Pace;
use super::payload_type;
use super::round_trip::RoundTrip;
use super::uuid::{Uuid, UuidGenerator};

/// Longest payload in bytes (`StreamDataPayloadSize` of both official ends).
const PAYLOAD: usize = 1024;
/// Most messages that are sent and not acknowledged, counted from the oldest.
const WINDOW: usize = 384;
/// Most bytes that wait to be sent for the first time.
const UNSENT: usize = 32 * 1024;

/// A message that is to be sent now.
#[derive(Debug)]
pub(super) struct Due<'a> {
    pub(super) sequence: i64,
    pub(super) id: Uuid,
    pub(super) payload_type: u32,
    pub(super) payload: &'a [u8],
}

#[derive(Debug)]
struct Sent {
    id: Uuid,
    payload_type: u32,
    payload: Box<[u8]>,
    /// When it is sent (again) if nothing acknowledges it.
    due: Duration,
    /// When it was sent for the first time.
    first: Option<Duration>,
    is_repeated: bool,
    is_acknowledged: bool,
}

/// The sending half.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    unsent: VecDeque<u8>,
    /// Consecutive messages from `first` on.
    window: VecDeque<Sent>,
    first: i64,
    pace: Pace,
    round_trip: RoundTrip,
    /// When the peer last acknowledged something, or sending became possible again.
    progress: Duration,
}

impl Outbound {
    /// How many bytes [`Outbound::push`] takes now.
    pub(super) fn room(&self) -> usize {
        UNSENT.saturating_sub(self.unsent.len())
    }

    /// Takes data of the user; returns how many bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room());
        self.unsent.extend(&bytes[..count]);
        count
    }

    /// Queues a control message behind the data that was sent.
    pub(super) fn push_control(&mut self, payload_type: u32, payload: &[u8], id: Uuid, now: Duration) {
        self.enqueue(payload_type, payload.into(), id, now);
    }

    fn enqueue(&mut self, payload_type: u32, payload: Box<[u8]>, id: Uuid, now: Duration) {
        if self.window.is_empty() {
            self.progress = now;
        }
        self.window.push_back(Sent {
            id,
            payload_type,
            payload,
            due: now,
            first: None,
            is_repeated: false,
            is_acknowledged: false,
        });
    }

    /// Whether everything was sent and acknowledged.
    pub(super) fn is_flushed(&self) -> bool {
        self.unsent.is_empty() && self.window.is_empty()
    }

    /// Since when the peer has acknowledged nothing although something waits for it.
    pub(super) fn waiting_since(&self) -> Option<Duration> {
        (!self.window.is_empty()).then_some(self.progress)
    }

    /// Counts the time without an acknowledgement from now on.
    pub(super) fn wait_from(&mut self, now: Duration) {
        self.progress = now;
    }

    /// Discards data that was never sent.
    pub(super) fn discard_unsent(&mut self) {
        self.unsent.clear();
    }

    /// The next message that may be sent now. `may_cut`: whether new data may become messages.
    pub(super) fn next_due(&mut self, now: Duration, may_cut: bool, ids: &mut UuidGenerator) -> Option<Due<'_>> {
        if self.pace.ready_at() > now {
            return None;
        }
        let overdue = self.window.iter().position(|sent| !sent.is_acknowledged && sent.due <= now);
        let at = match overdue {
            Some(at) => at,
            None if may_cut && !self.unsent.is_empty() && self.window.len() < WINDOW => {
                let count = self.unsent.len().min(PAYLOAD);
                let payload: Box<[u8]> = self.unsent.drain(..count).collect();
                self.enqueue(payload_type::OUTPUT, payload, ids.next(), now);
                self.window.len() - 1
            }
            None => return None,
        };
        self.pace.sent(now);
        let sent = &mut self.window[at];
        if sent.first.is_some() {
            sent.is_repeated = true;
            if at == 0 {
                self.round_trip.back_off();
            }
        }
        sent.first = sent.first.or(Some(now));
        sent.due = now + self.round_trip.timeout();
        let sequence = self.first + i64::try_from(at).unwrap_or(i64::MAX);
        Some(Due { sequence, id: sent.id, payload_type: sent.payload_type, payload: &sent.payload })
    }

    /// When [`Outbound::next_due`] has something next, if nothing is received until then.
    pub(super) fn deadline(&self, may_cut: bool) -> Option<Duration> {
        let waiting = self.window.iter().filter(|sent| !sent.is_acknowledged).map(|sent| sent.due).min();
        let new = (may_cut && !self.unsent.is_empty() && self.window.len() < WINDOW).then_some(Duration::ZERO);
        waiting.into_iter().chain(new).min().map(|due| due.max(self.pace.ready_at()))
    }

    /// Takes an acknowledgement; one of an unknown message is ignored.
    pub(super) fn acknowledge(&mut self, sequence: i64, now: Duration) {
        let at = sequence.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        let Some(sent) = at.and_then(|at| self.window.get_mut(at)) else { return };
        let Some(sent_at) = sent.first else { return };
        if sent.is_acknowledged {
            return;
        }
        sent.is_acknowledged = true;
        sent.payload = Box::default();
        self.progress = now;
        if !sent.is_repeated {
            self.round_trip.sample(now.saturating_sub(sent_at));
        }
        while self.window.front().is_some_and(|sent| sent.is_acknowledged) {
            self.window.pop_front();
            self.first += 1;
        }
    }

    /// After a resume or a pause everything that is not acknowledged is due again.
    pub(super) fn restart(&mut self, now: Duration) {
        self.round_trip.reset_backoff();
        self.progress = now;
        for sent in &mut self.window {
            sent.due = now;
        }
    }

    /// Bytes of memory held.
    pub(super) fn held(&self) -> usize {
        let window: usize = self.window.iter().map(|sent| sent.payload.len() + size_of::<Sent>()).sum();
        self.unsent.len() + window
    }
}
