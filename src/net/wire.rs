//! A TCP connection with no, one or two layers of TLS on it: two through a proxy that itself is reached over TLS.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use rustix::event::PollFd;
use rustix::io::Errno;

use crate::net::closed::{Closed, Stage};
use crate::net::tcp::{BLOCK, Socket};
use crate::net::tls::{Config, Tls};

/// Above so many bytes that the system has not taken, no control frame and no message is queued.
pub(super) const HIGH: usize = 64 * 1024;

/// What a read came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// Bytes, perhaps none if they were TLS's own.
    Bytes,
    /// There is nothing at the moment.
    Nothing,
    /// The connection has ended.
    End,
}

/// The connection. Bytes in and out are plain; on the network they are encrypted by every layer.
#[derive(Debug)]
pub(super) struct Wire {
    socket: Socket,
    /// The outermost, next to the network, first.
    layers: Vec<Tls>,
    out: Vec<u8>,
    sent: usize,
    /// Writing failed; what the peer still had to send is read all the same.
    broken: Option<Errno>,
}

impl Wire {
    pub(super) fn start(addresses: &[IpAddr], port: u16, now: Instant) -> Result<Self, Closed> {
        let socket = Socket::start(addresses, port, now)?;
        Ok(Self { socket, layers: Vec::new(), out: Vec::new(), sent: 0, broken: None })
    }

    pub(super) fn connect(&mut self, now: Instant) -> Result<bool, Closed> {
        self.socket.connect(now)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.socket.address()
    }

    pub(super) fn attempt_deadline(&self) -> Option<Instant> {
        self.socket.deadline()
    }

    pub(super) fn watch<'a>(&'a self, read: bool, write: bool, fds: &mut Vec<PollFd<'a>>) {
        self.socket.watch(read, write || self.backlog() > 0, fds);
    }

    /// Bytes that the system has not taken.
    pub(super) fn backlog(&self) -> usize {
        self.out.len() - self.sent
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.layers.iter().any(Tls::is_handshaking)
    }

    /// Adds a layer of TLS and begins its handshake.
    pub(super) fn push_tls(&mut self, config: &Config, host: &str) -> Result<(), Closed> {
        self.layers.push(Tls::new(config, host)?);
        self.pending();
        Ok(())
    }

    /// Encrypts and queues; at most about [`BLOCK`] bytes at a time.
    pub(super) fn send(&mut self, plain: &[u8]) {
        self.send_below(self.layers.len(), plain);
    }

    /// Sends through the layers under number `top`.
    fn send_below(&mut self, top: usize, plain: &[u8]) {
        if self.broken.is_some() {
            return;
        }
        let Some(below) = top.checked_sub(1) else {
            self.out.extend_from_slice(plain);
            return;
        };
        let mut encrypted = Vec::new();
        let into = if below == 0 { &mut self.out } else { &mut encrypted };
        self.layers[below].encrypt(plain, into);
        if below > 0 {
            self.send_below(below, &encrypted);
        }
    }

    /// Queues what the layers themselves have to send.
    fn pending(&mut self) {
        for at in (0..self.layers.len()).rev() {
            let mut records = Vec::new();
            self.layers[at].pending(&mut records);
            if !records.is_empty() {
                self.send_below(at, &records);
            }
        }
    }

    /// Writes until it would block.
    pub(super) fn flush(&mut self) {
        while self.backlog() > 0 {
            match self.socket.write(&self.out[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(Errno::AGAIN) => break,
                Err(error) => {
                    self.broken = Some(error);
                    self.sent = self.out.len();
                }
            }
        }
        if self.backlog() == 0 {
            self.out.clear();
            self.sent = 0;
        } else if self.sent >= HIGH {
            self.out.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// One read; appends what it decrypts to to `plain`.
    pub(super) fn receive(&mut self, stage: Stage, plain: &mut Vec<u8>) -> Result<Received, Closed> {
        if self.layers.last().is_some_and(Tls::has_ended) {
            return Ok(Received::End);
        }
        let mut block = [0; BLOCK];
        let count = match self.socket.read(&mut block) {
            Ok(0) => return Ok(Received::End),
            Ok(count) => count,
            Err(Errno::AGAIN) => {
                return self.broken.map_or(Ok(Received::Nothing), |error| Err(Closed::Broken { stage, error }));
            }
            Err(error) => return Err(Closed::Broken { stage, error }),
        };
        let decrypted = self.decrypt(&block[..count], plain);
        // Also an alert that says why it failed.
        self.pending();
        decrypted.map_err(Closed::Tls)?;
        Ok(Received::Bytes)
    }

    fn decrypt(&mut self, received: &[u8], plain: &mut Vec<u8>) -> Result<(), rustls::Error> {
        match self.layers.as_mut_slice() {
            [] => plain.extend_from_slice(received),
            [tls] => tls.decrypt(received, plain)?,
            [outer, inner, ..] => {
                let mut records = Vec::new();
                outer.decrypt(received, &mut records)?;
                inner.decrypt(&records, plain)?;
            }
        }
        Ok(())
    }

    /// Bytes that were read together with the response of a proxy and belong to the layer that was added since.
    pub(super) fn unread(&mut self, bytes: &[u8], plain: &mut Vec<u8>) -> Result<(), Closed> {
        let Some(tls) = self.layers.last_mut() else { return Ok(()) };
        let decrypted = tls.decrypt(bytes, plain);
        self.pending();
        decrypted.map_err(Closed::Tls)
    }
}
