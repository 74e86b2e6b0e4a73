//! A route's byte stream, whatever carries it.

use std::fmt;
use std::time::Instant;

use rustix::event::PollFd;

use crate::net::child::Child;
use crate::net::state::State;
use crate::net::tcp::Tcp;
use crate::net::tunnel::Tunnel;

/// A route's byte stream. The loop: `watch` and `deadline` for poll(2), then `advance`, then take what was received and
/// send; and `advance` once more before the next poll, so that what was sent is under way.
#[derive(Debug)]
pub enum Stream {
    /// A direct connection.
    Tcp(Tcp),
    /// A websocket tunnel in [`crate::net::Mode::Bytes`].
    Tunnel(Box<Tunnel>),
    /// A child process.
    Child(Child),
    /// A Session Manager session.
    Session(Box<dyn Transport>),
}

/// A byte stream of a layer above, with the meaning of the methods of [`Stream`]: a Session Manager session, which asks
/// AWS for a new connection while it is open.
#[expect(missing_docs, reason = "as in Stream")]
pub trait Transport: fmt::Debug {
    fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>);
    fn deadline(&self) -> Option<Instant>;
    fn advance(&mut self, now: Instant);
    fn state(&self) -> &State;
    fn received(&self) -> &[u8];
    fn consume(&mut self, count: usize);
    fn room(&self) -> usize;
    fn send(&mut self, bytes: &[u8]) -> usize;
    fn is_sending(&self) -> bool;
    fn finish(&mut self);
}

impl Stream {
    /// Adds the descriptors to wait for, none if there is nothing to wait for.
    pub fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        match self {
            Self::Tcp(tcp) => tcp.watch(fds),
            Self::Tunnel(tunnel) => tunnel.watch(fds),
            Self::Child(child) => child.watch(fds),
            Self::Session(session) => session.watch(fds),
        }
    }

    /// When `advance` has to be called even if no descriptor is ready.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Tcp(tcp) => tcp.deadline(),
            Self::Tunnel(tunnel) => tunnel.deadline(),
            Self::Child(child) => child.deadline(),
            Self::Session(session) => session.deadline(),
        }
    }

    /// Does everything that is possible without blocking.
    pub fn advance(&mut self, now: Instant) {
        match self {
            Self::Tcp(tcp) => tcp.advance(now),
            Self::Tunnel(tunnel) => tunnel.advance(now),
            Self::Child(child) => child.advance(now),
            Self::Session(session) => session.advance(now),
        }
    }

    /// Connecting, open or closed.
    #[must_use]
    pub fn state(&self) -> &State {
        match self {
            Self::Tcp(tcp) => &tcp.state,
            Self::Tunnel(tunnel) => tunnel.state(),
            Self::Child(child) => &child.state,
            Self::Session(session) => session.state(),
        }
    }

    /// What has been received and not been consumed.
    #[must_use]
    pub fn received(&self) -> &[u8] {
        match self {
            Self::Tcp(tcp) => tcp.half.incoming.as_slice(),
            Self::Tunnel(tunnel) => tunnel.received(),
            Self::Child(child) => child.half.incoming.as_slice(),
            Self::Session(session) => session.received(),
        }
    }

    /// Removes received bytes, oldest first.
    pub fn consume(&mut self, count: usize) {
        match self {
            Self::Tcp(tcp) => tcp.half.incoming.consume(count),
            Self::Tunnel(tunnel) => tunnel.consume(count),
            Self::Child(child) => child.half.incoming.consume(count),
            Self::Session(session) => session.consume(count),
        }
    }

    /// How many bytes `send` takes: read the source only while this is not 0.
    #[must_use]
    pub fn room(&self) -> usize {
        match self {
            Self::Tcp(tcp) => tcp.half.room(),
            Self::Tunnel(tunnel) => tunnel.room(),
            Self::Child(child) => child.half.room(),
            Self::Session(session) => session.room(),
        }
    }

    /// Puts bytes into the queue, as many as there is room for, and returns their number. `advance` sends them.
    pub fn send(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room());
        let bytes = &bytes[..count];
        match self {
            Self::Tcp(tcp) => tcp.half.outgoing.push(bytes),
            Self::Tunnel(tunnel) => tunnel.send(bytes),
            Self::Child(child) => child.half.outgoing.push(bytes),
            Self::Session(session) => session.send(bytes),
        }
    }

    /// Whether bytes are queued that the system has not taken yet.
    #[must_use]
    pub fn is_sending(&self) -> bool {
        match self {
            Self::Tcp(tcp) => tcp.half.wants_write(),
            Self::Tunnel(tunnel) => tunnel.is_sending(),
            Self::Child(child) => child.half.wants_write(),
            Self::Session(session) => session.is_sending(),
        }
    }

    /// Nothing more will be sent: half-closes behind what is queued. A websocket has no half-close, so a tunnel only
    /// takes no more bytes.
    pub fn finish(&mut self) {
        match self {
            Self::Tcp(tcp) => tcp.half.finish(),
            Self::Tunnel(tunnel) => tunnel.finish(),
            Self::Child(child) => child.half.finish(),
            Self::Session(session) => session.finish(),
        }
    }
}
