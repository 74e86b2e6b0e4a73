//! A websocket over TLS over TCP, or over a proxy's CONNECT: as a byte stream or message by message.
//!
//! One thread and no lock: `advance` drains TLS until it would block, and the descriptor is watched for writing only if
//! TLS has bytes to write. The deframer streams, so that a frame of any length is passed on with bounded memory.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rustix::event::PollFd;

use crate::domain::http_response::{Reader, Response};
use crate::domain::upgrade::{self, Url};
use crate::domain::websocket::{self, Decoder, Event, Opcode, Violation};
use crate::net::closed::{Closed, Stage};
use crate::net::proxy::Proxy;
use crate::net::queue::{LIMIT, Queue};
use crate::net::stream::State;
use crate::net::tls::Config;
use crate::net::wire::{HIGH, Received, Wire};

/// Payload of one frame: with its header one TLS record. The endpoint accepts up to 65,000 bytes.
const FRAME: usize = 16 * 1024 - websocket::LONGEST_HEADER;

/// Where a tunnel leads.
#[derive(Debug, Clone)]
pub struct Destination {
    /// The websocket's URL; kept out of all output.
    pub url: Url,
    /// The proxy on the way, if any.
    pub proxy: Option<Proxy>,
    /// The addresses of the first hop: the proxy's, or else the URL's host.
    pub addresses: Vec<IpAddr>,
    /// More headers of the upgrade request.
    pub headers: Vec<(String, String)>,
}

/// How received messages are passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Binary messages are one stream of bytes; a text message is an error.
    Bytes,
    /// Whole messages of at most so many bytes; a longer one is an error.
    Messages {
        /// Bytes.
        longest: usize,
    },
}

/// Timeouts until the tunnel is open.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For TCP, CONNECT and the TLS handshake together.
    pub connect: Duration,
    /// For the response to the upgrade request.
    pub upgrade: Duration,
}

/// Pings of our own.
#[derive(Debug, Clone, Copy)]
pub struct KeepAlive {
    /// A ping is sent this often.
    pub interval: Duration,
    /// The peer is gone if nothing has arrived for so long.
    pub timeout: Duration,
}

/// A whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Text, not checked to be UTF-8.
    Text(Vec<u8>),
    /// Bytes.
    Binary(Vec<u8>),
}

impl Message {
    /// What it takes in the queue: its bytes and about as much as an empty one needs.
    fn cost(&self) -> usize {
        let (Self::Text(bytes) | Self::Binary(bytes)) = self;
        bytes.len() + 64
    }
}

#[derive(Debug)]
enum Phase {
    Connect,
    Proxy(Reader),
    Upgrade(Reader),
    Open,
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
    /// Nothing more is taken from the caller.
    finishing: bool,
    /// A close frame follows what is queued.
    closing: bool,
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
            finishing: false,
            closing: false,
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

    /// Adds the descriptor, if there is something to wait for.
    pub fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        if !matches!(self.state, State::Closed(_)) {
            let unframed = self.state == State::Open && !self.outgoing.is_empty();
            self.wire.watch(self.wants_read(), unframed, fds);
        }
    }

    /// When `advance` has to be called at the latest.
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
        loop {
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

    /// The connection stands: CONNECT, or TLS at once.
    fn begin(&mut self) -> Result<(), Closed> {
        let Destination { url, proxy, .. } = &self.destination;
        match proxy {
            Some(proxy) => {
                if proxy.tls {
                    self.wire.push_tls(&self.config, &proxy.host)?;
                }
                self.wire.send(&proxy.connect_request(&url.host, url.port));
                self.phase = Phase::Proxy(Reader::of_connect());
                Ok(())
            }
            None => self.begin_tls(),
        }
    }

    /// The handshake, and behind it the upgrade request, which TLS keeps until the handshake is done.
    fn begin_tls(&mut self) -> Result<(), Closed> {
        let Destination { url, headers, .. } = &self.destination;
        let request = upgrade::request(url, &self.key, headers).ok_or(Closed::BadRequest)?;
        self.wire.push_tls(&self.config, &url.host)?;
        self.wire.send(&request);
        self.phase = Phase::Upgrade(Reader::of_upgrade());
        Ok(())
    }

    /// The upgrade's own timeout runs from the end of the TLS handshake.
    fn handshake_progress(&mut self, now: Instant) {
        if !self.handshaken && matches!(self.phase, Phase::Upgrade(_)) && !self.wire.is_handshaking() {
            self.handshaken = true;
            self.deadline = now + self.timeouts.upgrade;
        }
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

    /// `behind` follows the response; what it is as websocket frames goes to `frames`.
    fn response(
        &mut self,
        response: &Response,
        behind: &[u8],
        now: Instant,
        frames: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        if matches!(self.phase, Phase::Proxy(_)) {
            if !(200..300).contains(&response.status) {
                let name = self.destination.proxy.as_ref().map(Proxy::name).unwrap_or_default();
                return Err(Closed::Proxy { name, status: response.status });
            }
            self.begin_tls()?;
            // A server speaks TLS only after its client, so that this cannot contain more than the handshake.
            return self.wire.unread(behind, frames);
        }
        upgrade::check(response, &self.key).map_err(|refusal| Closed::Refused(Box::new(refusal)))?;
        self.phase = Phase::Open;
        self.state = State::Open;
        (self.heard, self.pinged) = (now, now);
        frames.extend_from_slice(behind);
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

    /// The connection has ended.
    fn end(&mut self) -> Closed {
        let stage = self.stage();
        match &mut self.phase {
            Phase::Upgrade(reader) => match reader.end() {
                Some(response) => Closed::Refused(Box::new(upgrade::refusal(&response))),
                None => Closed::Cut(stage),
            },
            Phase::Proxy(reader) => match reader.end() {
                Some(response) => {
                    let name = self.destination.proxy.as_ref().map(Proxy::name).unwrap_or_default();
                    Closed::Proxy { name, status: response.status }
                }
                None => Closed::Cut(stage),
            },
            Phase::Open if self.close_sent => Closed::Ended,
            Phase::Open | Phase::Connect => Closed::Cut(stage),
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
        if self.closing && self.outgoing.is_empty() {
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
        if self.finishing { 0 } else { self.outgoing.room() }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> usize {
        self.outgoing.push(bytes)
    }

    pub(super) fn is_sending(&self) -> bool {
        !self.outgoing.is_empty() || self.wire.backlog() > 0
    }

    pub(super) fn finish(&mut self) {
        self.finishing = true;
    }

    /// The oldest message received, in [`Mode::Messages`]. Call `advance` once there are none left.
    pub fn next_message(&mut self) -> Option<Message> {
        self.messages.pop_front()
    }

    /// Sends a whole message. False: it is not open, or the peer does not keep up; try again when it does.
    pub fn send_message(&mut self, message: &Message) -> bool {
        if self.state != State::Open || self.finishing || self.wire.backlog() >= HIGH {
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
        (self.finishing, self.closing) = (true, true);
        if self.state == State::Open {
            self.fill();
            self.wire.flush();
        }
    }
}
