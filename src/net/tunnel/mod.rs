//! A websocket over TLS over TCP, or over a proxy's CONNECT: as a byte stream or message by message.
//!
//! One thread and no lock: `advance` drains TLS until it would block, and the descriptor is watched for writing only if
//! TLS has bytes to write. The decoder streams, so that a frame of any length is passed on with bounded memory.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use rustix::event::PollFd;

use crate::domain::http_response::Reader;
use crate::domain::upgrade;
use crate::domain::websocket::{self, Decoder, Event, Opcode, Violation};
use crate::net::closed::{Closed, Stage};
use crate::net::proxy::Proxy;
use crate::net::queue::{LIMIT, Queue};
use crate::net::state::State;
use crate::net::tls::Config;
use crate::net::wire::{HIGH, Received, Wire};

mod opening;
mod options;

pub use options::{Destination, KeepAlive, Message, Mode, Timeouts};

/// Reads from the socket in one turn of the poll loop.
const READS_AT_ONCE: usize = 64;
/// Payload of one frame: with its header one TLS record. The endpoint accepts up to 65,000 bytes.
const FRAME: usize = 16 * 1024 - websocket::LONGEST_HEADER;

#[derive(Debug)]
enum Phase {
    Connect,
    Proxy(Reader),
    Upgrade(Reader),
    Open,
}

/// Whether more is taken from the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    No,
    /// Nothing more.
    Finish,
    /// Nothing more, and a close frame follows what is queued.
    Close,
}

/// A websocket.
#[derive(Debug)]
pub struct Tunnel {
    destination: Destination,
    config: Config,
    mode: Mode,
    timeouts: Timeouts,
    keep_alive: Option<KeepAlive>,
    wire: Wire,
    phase: Phase,
    state: State,
    /// Of the current stage, before the tunnel is open.
    deadline: Instant,
    handshaken: bool,
    key: String,
    decoder: Decoder,
    received: Queue,
    message: Vec<u8>,
    messages: VecDeque<Message>,
    outgoing: Queue,
    /// A ping that waits until the peer takes what was sent before.
    unanswered: Option<Vec<u8>>,
    ending: Ending,
    close_sent: bool,
    pinged: Instant,
    heard: Instant,
    frame: Vec<u8>,
    plain: Vec<u8>,
}

impl Tunnel {
    /// Begins to connect.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the system refuses every address at once.
    pub fn start(
        destination: Destination,
        config: &Config,
        mode: Mode,
        timeouts: Timeouts,
        now: Instant,
    ) -> Result<Self, Closed> {
        let port = destination.proxy.as_ref().map_or(destination.url.port, |proxy| proxy.port);
        let wire = Wire::start(&destination.addresses, port, now)?;
        Ok(Self {
            destination,
            mode,
            timeouts,
            keep_alive: None,
            wire,
            phase: Phase::Connect,
            state: State::Connecting,
            deadline: now + timeouts.connect,
            handshaken: false,
            key: upgrade::key(config.random()),
            config: config.clone(),
            decoder: Decoder::default(),
            received: Queue::default(),
            message: Vec::new(),
            messages: VecDeque::new(),
            outgoing: Queue::default(),
            unanswered: None,
            ending: Ending::No,
            close_sent: false,
            pinged: now,
            heard: now,
            frame: Vec::new(),
            plain: Vec::new(),
        })
    }

    /// Sends pings once the tunnel is open.
    #[must_use]
    pub fn with_keep_alive(mut self, keep_alive: KeepAlive) -> Self {
        self.keep_alive = Some(keep_alive);
        self
    }

    /// Connecting, open or closed.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The proxy on the way.
    #[must_use]
    pub fn proxy(&self) -> Option<&Proxy> {
        self.destination.proxy.as_ref()
    }

    /// The address of the first hop.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.wire.address()
    }

    /// When the last frame of any kind was read, or when the tunnel opened.
    #[must_use]
    pub fn last_frame(&self) -> Instant {
        self.heard
    }

    /// Adds the descriptor, if there is something to wait for.
    pub fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        if !matches!(self.state, State::Closed(_)) {
            let unframed = self.state == State::Open && !self.outgoing.is_empty();
            self.wire.watch(self.wants_read(), unframed, fds);
        }
    }

    /// The latest time at which `advance` has to be called.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match (&self.state, self.keep_alive) {
            (State::Closed(_), _) | (State::Open, None) => None,
            (State::Connecting, _) => [Some(self.deadline), self.wire.attempt_deadline()].into_iter().flatten().min(),
            (State::Open, Some(alive)) => {
                let gone = self.wants_read().then(|| self.heard + alive.timeout);
                [Some(self.pinged + alive.interval), gone].into_iter().flatten().min()
            }
        }
    }

    /// Does everything that is possible without blocking.
    pub fn advance(&mut self, now: Instant) {
        if matches!(self.state, State::Closed(_)) {
            return;
        }
        if let Err(closed) = self.progress(now) {
            // A close frame or an alert for the peer.
            self.wire.flush();
            self.outgoing.clear();
            self.state = State::Closed(closed);
        }
    }

    fn progress(&mut self, now: Instant) -> Result<(), Closed> {
        if matches!(self.phase, Phase::Connect) {
            if !self.wire.connect(now)? {
                return self.timers(now);
            }
            self.begin()?;
        }
        // Bounded: a peer that sends pings or empty frames faster than they are handled must not keep timers and signals
        // from being seen. Everything that was read has been decrypted, so that poll(2) reports what is left.
        for _ in 0..READS_AT_ONCE {
            self.fill();
            self.wire.flush();
            if !self.wants_read() {
                break;
            }
            let received = self.wire.receive(self.stage(), &mut self.plain)?;
            self.handshake_progress(now);
            match received {
                Received::Nothing => break,
                Received::Bytes => {
                    let plain = std::mem::take(&mut self.plain);
                    let read = self.read(&plain, now);
                    self.plain = plain;
                    self.plain.clear();
                    read?;
                }
                Received::End => return Err(self.end()),
            }
        }
        self.timers(now)
    }

    fn stage(&self) -> Stage {
        match self.phase {
            Phase::Connect => Stage::Connect,
            Phase::Proxy(_) => Stage::Proxy,
            Phase::Upgrade(_) if !self.handshaken => Stage::Tls,
            Phase::Upgrade(_) => Stage::Upgrade,
            Phase::Open => Stage::Open,
        }
    }

    fn timers(&mut self, now: Instant) -> Result<(), Closed> {
        if self.state == State::Connecting {
            let late = now >= self.deadline;
            return if late { Err(Closed::TimedOut(self.stage())) } else { Ok(()) };
        }
        let Some(alive) = self.keep_alive else { return Ok(()) };
        if now >= self.heard + alive.timeout && self.wants_read() {
            return Err(Closed::NoPong);
        }
        if now >= self.pinged + alive.interval {
            self.pinged = now;
            if self.wire.backlog() < HIGH {
                self.send_frame(Opcode::Ping, &[]);
                self.wire.flush();
            }
        }
        Ok(())
    }

    /// Reads decrypted bytes.
    fn read(&mut self, bytes: &[u8], now: Instant) -> Result<(), Closed> {
        let mut rest = bytes;
        let mut switched = Vec::new();
        if let Phase::Proxy(reader) | Phase::Upgrade(reader) = &mut self.phase {
            let response = reader.read(bytes);
            let Some((response, behind)) = response.map_err(|_| Closed::NotHttp(self.stage()))? else { return Ok(()) };
            self.response(&response, &behind, now, &mut switched)?;
            rest = &switched;
        }
        while let Some(event) = self.decoder.next(&mut rest).map_err(|violation| self.violation(violation))? {
            self.heard = now;
            self.event(event)?;
        }
        Ok(())
    }

    fn event(&mut self, event: Event<'_>) -> Result<(), Closed> {
        match event {
            Event::Data { text: true, .. } if self.mode == Mode::Bytes => Err(self.violation(Violation::Text)),
            Event::Data { text, bytes, last } => match self.mode {
                Mode::Bytes => {
                    self.received.append(bytes);
                    Ok(())
                }
                Mode::Messages { longest } => {
                    if self.message.len() + bytes.len() > longest {
                        return Err(self.violation(Violation::TooLong));
                    }
                    self.message.extend_from_slice(bytes);
                    if last {
                        let whole = std::mem::take(&mut self.message);
                        self.messages.push_back(if text { Message::Text(whole) } else { Message::Binary(whole) });
                    }
                    Ok(())
                }
            },
            Event::Ping(payload) => {
                // RFC 6455 section 5.5.3: only the last ping needs an answer.
                self.unanswered = Some(payload);
                self.answer_ping();
                Ok(())
            }
            Event::Pong(_) => Ok(()),
            Event::Close { code, reason } => {
                if self.close_sent {
                    return Err(Closed::Ended);
                }
                self.send_close(code.unwrap_or(websocket::NORMAL), "");
                Err(Closed::ByPeer { code, reason })
            }
        }
    }

    fn violation(&mut self, violation: Violation) -> Closed {
        // RFC 6455 section 7.4.1: protocol error, unsupported data, too big.
        let code = match violation {
            Violation::Text => 1003,
            Violation::TooLong => 1009,
            _ => 1002,
        };
        self.send_close(code, "");
        Closed::Protocol(violation)
    }

    fn send_close(&mut self, code: u16, reason: &str) {
        if !self.close_sent && matches!(self.phase, Phase::Open) {
            self.send_frame(Opcode::Close, &websocket::close_payload(code, reason));
            self.close_sent = true;
        }
    }

    /// Turns queued bytes into frames, as many as TLS and the system keep up with.
    fn fill(&mut self) {
        while self.state == State::Open && !self.close_sent && !self.outgoing.is_empty() && self.wire.backlog() < FRAME
        {
            let mask = self.config.random();
            let payload = self.outgoing.as_slice();
            let count = payload.len().min(FRAME);
            self.frame.clear();
            websocket::encode(Opcode::Binary, &payload[..count], mask, &mut self.frame);
            self.outgoing.consume(count);
            self.wire.send(&self.frame);
            self.wire.flush();
        }
        self.answer_ping();
        if self.ending == Ending::Close && self.outgoing.is_empty() {
            self.send_close(websocket::NORMAL, "");
        }
    }

    fn answer_ping(&mut self) {
        if self.wire.backlog() < HIGH
            && let Some(payload) = self.unanswered.take()
        {
            self.send_frame(Opcode::Pong, &payload);
        }
    }

    fn send_frame(&mut self, opcode: Opcode, payload: &[u8]) {
        if self.close_sent {
            return;
        }
        self.frame.clear();
        websocket::encode(opcode, payload, self.config.random(), &mut self.frame);
        self.wire.send(&self.frame);
    }

    /// Not while the queue of received bytes or messages is full.
    fn wants_read(&self) -> bool {
        let queued: usize = self.messages.iter().map(Message::cost).sum();
        self.received.room() > 0 && queued < LIMIT
    }

    pub(super) fn received(&self) -> &[u8] {
        self.received.as_slice()
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.received.consume(count);
    }

    pub(super) fn room(&self) -> usize {
        if self.ending == Ending::No { self.outgoing.room() } else { 0 }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> usize {
        self.outgoing.push(bytes)
    }

    pub(super) fn is_sending(&self) -> bool {
        !self.outgoing.is_empty() || self.wire.backlog() > 0
    }

    pub(super) fn finish(&mut self) {
        if self.ending == Ending::No {
            self.ending = Ending::Finish;
        }
    }

    /// The oldest message received, in [`Mode::Messages`]. Call `advance` once there are none left.
    pub fn next_message(&mut self) -> Option<Message> {
        self.messages.pop_front()
    }

    /// Sends a whole message. False: it is not open, or the peer does not keep up; try again when it does.
    pub fn send_message(&mut self, message: &Message) -> bool {
        if self.state != State::Open || self.ending != Ending::No || self.wire.backlog() >= HIGH {
            return false;
        }
        match message {
            Message::Text(bytes) => self.send_frame(Opcode::Text, bytes),
            Message::Binary(bytes) => self.send_frame(Opcode::Binary, bytes),
        }
        self.wire.flush();
        true
    }

    /// Takes no more from the caller, and sends a normal close frame behind everything that was sent. The state becomes
    /// [`Closed::Ended`] with the peer's answer; the caller limits how long it waits for that.
    pub fn close(&mut self) {
        self.ending = Ending::Close;
        if self.state == State::Open {
            self.fill();
            self.wire.flush();
        }
    }
}
