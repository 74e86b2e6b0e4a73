//! One route's connection until the server's version line.

use std::time::Instant;

use crate::connect::queue::Queue;
use crate::connect::stream_relay::Via;
use crate::domain::handshake::{Direction, Phase};
use crate::error::Error;
use crate::net::{Closed, State, Stream};

/// A connection over one route. A route of another kind is another [`Via`] and perhaps another [`Stream`].
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) via: Via,
    pub(super) stream: Stream,
    pub(super) server: Direction,
    /// Whole lines and packets for the client, up to and with the version line and what follows it.
    greeting: Vec<u8>,
    /// How many of the client's first bytes have been sent.
    replayed: usize,
}

/// How far a candidate is.
#[derive(Debug)]
pub(super) enum Progress {
    Pending,
    /// The version line is complete, or, where there is no other candidate, what arrives is another protocol.
    Version,
    Closed(Closed),
}

impl Candidate {
    pub(super) fn new(via: Via, stream: Stream) -> Self {
        Self { via, stream, server: Direction::new(), greeting: Vec::new(), replayed: 0 }
    }

    /// Moves bytes; `client_start` is everything that the client has sent so far.
    pub(super) fn advance(&mut self, client_start: &[u8], is_alone: bool, now: Instant) -> Progress {
        self.replayed += self.stream.send(&client_start[self.replayed..]);
        self.stream.advance(now);
        let pass = self.read();
        self.greeting.extend_from_slice(&pass);
        match self.server.phase() {
            Phase::Packets | Phase::NewKeys => return Progress::Version,
            Phase::Opaque if is_alone => return Progress::Version,
            Phase::Opaque => return Progress::Closed(Closed::Ended),
            Phase::Greeting => {}
        }
        match self.stream.state() {
            State::Closed(closed) => Progress::Closed(closed.clone()),
            State::Connecting | State::Open => Progress::Pending,
        }
    }

    /// Whole lines and packets that have arrived.
    pub(super) fn read(&mut self) -> Vec<u8> {
        let received = self.stream.received();
        let count = received.len();
        let pass = self.server.read(received);
        self.stream.consume(count);
        pass
    }

    pub(super) fn send(&mut self, queue: &mut Queue) {
        let stream = &mut self.stream;
        let _ = queue.flush(|bytes| match stream.send(bytes) {
            0 => Err(std::io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        });
    }

    pub(super) fn not_replayed<'b>(&self, client_start: &'b [u8]) -> &'b [u8] {
        &client_start[self.replayed..]
    }

    pub(super) fn take_greeting(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.greeting)
    }

    /// The error of a connection that ends during the handshake; none where ssh's own message is enough.
    pub(super) fn lost(&self, closed: &Closed) -> Option<Error> {
        self.via.ended(closed)
    }
}
