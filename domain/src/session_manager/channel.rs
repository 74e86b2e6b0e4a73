//! One session: the handshake, both directions of the stream, breaks and the end, driven by the transport.

use std::collections::VecDeque;
use std::time::Duration;

use super::action::{Action, End, Failure};
use super::closed;
use super::inbound::{Control, Inbound, Verdict};
use super::link::{Link, Need};
use super::message::{Message, MessageType};
use super::outbound::Outbound;
use super::overflow::Overflow;
use super::phase::Phase;
use super::uuid::{Uuid, UuidGenerator};
use super::{content, handshake, payload_type};

/// The agent refuses data until it is connected to sshd; the server's first bytes show that it is.
const FIRST_BYTES: Duration = Duration::from_millis(300);
/// After the end of the input, at most this time for data to be acknowledged,
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// then this time for the agent to close the session.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(700);
/// A refusal in the handshake is given this time to arrive.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Without any acknowledgement for this time the session is given up (session-manager-plugin: 3000 repetitions).
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_mins(5);
/// Connections that are closed before the first message of a session; the second has a new token.
const MOST_REJECTIONS: u32 = 2;
/// Handshake requests that are answered; the agent sends one in a session.
const MOST_HANDSHAKES: u32 = 4;
/// Acknowledgements that wait to be sent.
const MOST_ACKNOWLEDGEMENTS: usize = 1024;
/// Acknowledgements that are repeated on a new connection. Those under way when a connection breaks are lost, and the
/// agent would send each of these messages again, ten in a second, before it repairs any gap behind them.
const MOST_REPEATED: usize = 512;
/// `TerminateSession` as a flag (amazon-ssm-agent `messageContracts`).
const FLAG_TERMINATE: [u8; 4] = 2_u32.to_be_bytes();
/// SYN and FIN.
const ACKNOWLEDGE_FLAGS: u64 = 3;

/// A session. `now` is the time since any fixed moment; it never goes back.
#[derive(Debug)]
pub struct Channel {
    client_id: Uuid,
    ids: UuidGenerator,
    /// Milliseconds since 1970 when `now` was zero.
    epoch: u64,
    phase: Phase,
    link: Link,
    inbound: Inbound,
    outbound: Outbound,
    acknowledgements: VecDeque<(Uuid, i64)>,
    /// The latest acknowledgements, for [`MOST_REPEATED`].
    acknowledged: VecDeque<(Uuid, i64)>,
    events: VecDeque<Action>,
    is_paused: bool,
    input_ended: Option<Duration>,
    is_end_reported: bool,
    handshakes: u32,
    /// Whether any message of the session has arrived,
    has_received: bool,
    /// and how many connections were closed before that.
    rejections: u32,
}

impl Channel {
    /// A session whose websocket is being connected. `seed` is random; `unix_ms` is the time of day at `now`.
    #[must_use]
    pub fn new(seed: [u8; 32], unix_ms: u64, now: Duration, overflow: Box<dyn Overflow + Send>) -> Self {
        let mut ids = UuidGenerator::new(seed);
        Self {
            client_id: ids.next(),
            ids,
            epoch: unix_ms.saturating_sub(millis(now)).max(1),
            phase: Phase::Handshake,
            link: Link::new(now),
            inbound: Inbound::new(overflow),
            outbound: Outbound::default(),
            acknowledgements: VecDeque::new(),
            acknowledged: VecDeque::new(),
            events: VecDeque::new(),
            is_paused: false,
            input_ended: None,
            is_end_reported: false,
            handshakes: 0,
            has_received: false,
            rejections: 0,
        }
    }

    /// A websocket is connected, the first one or one of a resumed session. The token comes from `StartSession` or
    /// `ResumeSession`; it appears in the next [`Action::SendText`] only.
    pub fn connected(&mut self, token: &str, now: Duration) {
        if self.is_over() {
            return;
        }
        self.link.connected(now);
        self.is_paused = false;
        self.outbound.restart(now);
        self.repeat_acknowledgements();
        let open = content::open_data_channel(token, self.ids.next(), self.client_id);
        self.events.retain(|event| !matches!(event, Action::SendText(_)));
        self.events.push_back(Action::SendText(open));
    }

    fn repeat_acknowledgements(&mut self) {
        let first = self.acknowledgements.front().copied();
        let lost = self.acknowledged.iter().take_while(|one| Some(**one) != first);
        let repeated: VecDeque<_> = lost.chain(&self.acknowledgements).copied().collect();
        self.acknowledgements = repeated;
    }

    /// The websocket ended, with whatever code or error, or a dial or `ResumeSession` failed in a way that may pass.
    pub fn disconnected(&mut self, now: Duration) {
        self.events.retain(|event| !matches!(event, Action::SendText(_)));
        self.rejections += u32::from(self.link.is_up() && !self.has_received);
        if self.rejections >= MOST_REJECTIONS {
            self.end(End::Failed(Failure::Rejected));
        }
        self.link.disconnected(now);
    }

    /// Any frame arrived, a pong, a ping or text too.
    pub fn frame_received(&mut self, now: Duration) {
        self.link.heard(now);
    }

    /// A binary message arrived.
    pub fn receive(&mut self, frame: &[u8], now: Duration) {
        self.link.heard(now);
        if self.is_over() {
            return;
        }
        let message = Message::decode(frame).map_err(Failure::Malformed);
        if let Err(failure) = message.and_then(|message| self.dispatch(&message, now)) {
            self.end(End::Failed(failure));
        }
    }

    fn dispatch(&mut self, message: &Message<'_>, now: Duration) -> Result<(), Failure> {
        if message.message_type != MessageType::Unknown {
            self.link.works();
            self.has_received = true;
        }
        match message.message_type {
            MessageType::OutputStreamData => self.receive_data(message, now)?,
            MessageType::Acknowledge => {
                self.outbound.acknowledge(content::acknowledged(message.payload)?, now);
            }
            MessageType::ChannelClosed => {
                let reason = closed::parse(message.payload)?;
                self.end(match &self.phase {
                    Phase::Refusing { failure, .. } => End::Failed(failure.clone()),
                    _ => End::Closed(reason),
                });
            }
            MessageType::PausePublication => self.is_paused = true,
            MessageType::StartPublication => {
                if std::mem::take(&mut self.is_paused) {
                    self.outbound.restart(now);
                }
            }
            MessageType::InputStreamData | MessageType::Unknown => {}
        }
        Ok(())
    }

    fn receive_data(&mut self, message: &Message<'_>, now: Duration) -> Result<(), Failure> {
        if self.acknowledgements.len() >= MOST_ACKNOWLEDGEMENTS {
            return Ok(());
        }
        let mut controls = Vec::new();
        let verdict = self.inbound.receive(message.sequence, message.payload_type, message.payload, &mut controls)?;
        if verdict == Verdict::Acknowledge {
            let acknowledgement = (message.id, message.sequence);
            self.acknowledgements.push_back(acknowledgement);
            self.acknowledged.push_back(acknowledgement);
            if self.acknowledged.len() > MOST_REPEATED {
                self.acknowledged.pop_front();
            }
        }
        if matches!(self.phase, Phase::Settling(_)) && !self.inbound.output().is_empty() {
            self.phase = Phase::Open;
        }
        controls.into_iter().try_for_each(|control| self.receive_control(&control, now))
    }

    fn receive_control(&mut self, control: &Control, now: Duration) -> Result<(), Failure> {
        if self.phase != Phase::Handshake {
            return Ok(());
        }
        match control.payload_type {
            payload_type::HANDSHAKE_REQUEST => {
                self.handshakes += 1;
                if self.handshakes > MOST_HANDSHAKES {
                    return Err(Failure::RepeatedHandshake);
                }
                let answer = handshake::answer(&control.payload)?;
                let id = self.ids.next();
                self.outbound.push_control(payload_type::HANDSHAKE_RESPONSE, &answer.payload, id, now);
                if let Some(failure) = answer.failure {
                    self.phase = Phase::Refusing { failure, until: now + REFUSAL_TIMEOUT };
                }
            }
            payload_type::HANDSHAKE_COMPLETE => {
                let notice = handshake::customer_message(&control.payload)?;
                self.events.extend(notice.map(Action::Notice));
                self.events.push_back(Action::Opened);
                self.phase =
                    if self.inbound.output().is_empty() { Phase::Settling(now + FIRST_BYTES) } else { Phase::Open };
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the transport should read from the websocket: not while the reader of the output is behind, nor while
    /// acknowledgements cannot be sent.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        !self.is_over() && !self.inbound.is_reader_slow() && self.acknowledgements.len() < MOST_ACKNOWLEDGEMENTS / 2
    }

    /// How many bytes of stdin [`Channel::send`] takes now; 0: do not read stdin.
    #[must_use]
    pub fn can_take(&self) -> usize {
        if self.input_ended.is_some() || self.is_over() { 0 } else { self.outbound.room() }
    }

    /// Takes bytes of stdin; returns how many.
    pub fn send(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.can_take());
        self.outbound.push(&bytes[..count])
    }

    /// Stdin ended: sends what is left, then the flag that terminates the session.
    pub fn end_input(&mut self, now: Duration) {
        self.input_ended = self.input_ended.or(Some(now));
    }

    /// Bytes for stdout, empty if there are none now. More may follow after [`Channel::consume`].
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.inbound.output()
    }

    /// Removes bytes of [`Channel::output`] that stdout has taken.
    pub fn consume(&mut self, count: usize, now: Duration) {
        let was_reading = self.wants_input();
        let mut controls = Vec::new();
        let consumed = self.inbound.consume(count, &mut controls).map_err(Failure::from);
        let received =
            consumed.and_then(|()| controls.into_iter().try_for_each(|control| self.receive_control(&control, now)));
        if let Err(failure) = received {
            self.end(End::Failed(failure));
        }
        if !was_reading && self.wants_input() {
            // Frames could not arrive while the transport did not read.
            self.link.heard(now);
        }
    }

    /// Whether the session is over; [`Action::End`] follows when all output was consumed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }

    /// Whether the handshake is complete.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Settling(_) | Phase::Open | Phase::Closing(_))
    }

    /// Bytes of memory held for the peer and the user, roughly.
    #[must_use]
    pub fn held(&self) -> usize {
        self.inbound.held()
            + self.outbound.held()
            + (self.acknowledgements.len() + self.acknowledged.len()) * size_of::<(Uuid, i64)>()
    }

    /// What to do now; `None`: nothing until [`Channel::next_deadline`] or more input. Call it while the transport
    /// can write.
    pub fn next_action(&mut self, now: Duration) -> Option<Action> {
        self.advance(now);
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        if let Phase::Ended(end) = &self.phase {
            if self.is_end_reported || !self.inbound.output().is_empty() {
                return None;
            }
            self.is_end_reported = true;
            return Some(Action::End(end.clone()));
        }
        match self.link.next_need(now) {
            Some(Need::Ping) => return Some(Action::Ping),
            Some(Need::Resume) => return Some(Action::Resume),
            Some(Need::GiveUp) => {
                self.end(End::Failed(Failure::NotResumed));
                return self.next_action(now);
            }
            None => {}
        }
        if !self.link.is_up() {
            return None;
        }
        if let Some((id, sequence)) = self.acknowledgements.pop_front() {
            return Some(Action::SendBinary(self.acknowledge(id, sequence, now)));
        }
        if self.is_paused {
            return None;
        }
        let created = self.epoch + millis(now);
        let due = self.outbound.next_due(now, matches!(self.phase, Phase::Open), &mut self.ids)?;
        let message = Message {
            message_type: MessageType::InputStreamData,
            created,
            sequence: due.sequence,
            flags: 0,
            id: due.id,
            payload_type: due.payload_type,
            payload: due.payload,
        };
        Some(Action::SendBinary(message.encode()))
    }

    /// Applies the deadlines that have passed.
    fn advance(&mut self, now: Duration) {
        if !self.wants_input() {
            // Neither pongs nor acknowledgements can arrive.
            self.link.heard(now);
            self.outbound.wait_from(now);
        }
        match &self.phase {
            Phase::Settling(until) if now >= *until => self.phase = Phase::Open,
            Phase::Refusing { failure, until } if now >= *until || self.outbound.is_flushed() => {
                let failure = failure.clone();
                self.end(End::Failed(failure));
            }
            Phase::Closing(until) if now >= *until => self.end(End::InputEnded),
            _ => {}
        }
        if let Some(ended) = self.input_ended {
            let is_late = now >= ended + FLUSH_TIMEOUT;
            match self.phase {
                Phase::Handshake => self.end(End::InputEnded),
                Phase::Open | Phase::Settling(_) if self.outbound.is_flushed() || is_late => {
                    self.outbound.discard_unsent();
                    let id = self.ids.next();
                    self.outbound.push_control(payload_type::FLAG, &FLAG_TERMINATE, id, now);
                    self.phase = Phase::Closing(now + CLOSE_TIMEOUT);
                }
                _ => {}
            }
        }
        let waiting = self.outbound.waiting_since().filter(|_| self.link.is_up() && !self.is_paused);
        if waiting.is_some_and(|since| now >= since + UNACKNOWLEDGED_TIMEOUT) && !self.is_over() {
            self.end(End::Failed(Failure::Unacknowledged));
        }
    }

    fn end(&mut self, end: End) {
        if !self.is_over() {
            self.phase = Phase::Ended(end);
            self.events.retain(|event| !matches!(event, Action::SendText(_)));
            self.acknowledgements.clear();
        }
    }

    fn acknowledge(&mut self, id: Uuid, sequence: i64, now: Duration) -> Vec<u8> {
        let payload = content::acknowledge(id, sequence);
        let message = Message {
            message_type: MessageType::Acknowledge,
            created: self.epoch + millis(now),
            sequence: 0,
            flags: ACKNOWLEDGE_FLAGS,
            id: self.ids.next(),
            payload_type: payload_type::NONE,
            payload: &payload,
        };
        message.encode()
    }

    /// When [`Channel::next_action`] has something to do next, if nothing arrives until then; not after `now`: at once.
    #[must_use]
    pub fn next_deadline(&self, now: Duration) -> Option<Duration> {
        if !self.events.is_empty() {
            return Some(now);
        }
        if self.is_over() {
            return (!self.is_end_reported && self.inbound.output().is_empty()).then_some(now);
        }
        let phase = match &self.phase {
            Phase::Settling(until) | Phase::Closing(until) | Phase::Refusing { until, .. } => Some(*until),
            _ => None,
        };
        let flush = self.input_ended.and_then(|ended| match self.phase {
            Phase::Handshake => Some(now),
            Phase::Open | Phase::Settling(_) if self.outbound.is_flushed() => Some(now),
            Phase::Open | Phase::Settling(_) => Some(ended + FLUSH_TIMEOUT),
            _ => None,
        });
        let deadlines = [phase, flush, self.link.deadline(), self.traffic_deadline(now)];
        deadlines.into_iter().flatten().min()
    }

    fn traffic_deadline(&self, now: Duration) -> Option<Duration> {
        if !self.link.is_up() {
            return None;
        }
        if !self.acknowledgements.is_empty() {
            return Some(now);
        }
        if self.is_paused {
            return None;
        }
        let give_up = self.outbound.waiting_since().map(|since| since + UNACKNOWLEDGED_TIMEOUT);
        self.outbound.deadline(self.phase == Phase::Open).into_iter().chain(give_up).min()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
