//! Reading the host key at an address in a connection of its own, before ssh's session may use that address.
//!
//! Under `auto` a private address can belong to another machine. ssh cannot be moved to another server once it has the
//! version line, so that the first connection from a local network asks for the host key itself: version line, KEXINIT,
//! one ECDH message. The reply's signature is not verified; ssh does that in its own session.

use std::time::Instant;

use crate::domain::handshake::{self, Direction, Phase};
use crate::domain::host_certificate::Presented;
use crate::domain::host_key::HostKeyType;
use crate::domain::kex::{self, KeyExchange, Sender};
use crate::net::{Closed, State, Tcp};

/// RFC 4253 section 12, RFC 5656 section 7.1.
const SSH_MSG_KEXINIT: u8 = 20;
const SSH_MSG_KEX_ECDH_INIT: u8 = 30;
/// Public values that are valid and whose private values are 1: nothing is encrypted with the result.
const CURVE25519_BASE: [u8; 32] = {
    let mut point = [0; 32];
    point[0] = 9;
    point
};
const P256_GENERATOR: &str = "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
                              4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
const KEX: &str = "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256";
const CIPHERS: &str = "aes128-ctr,aes256-ctr,aes128-gcm@openssh.com,chacha20-poly1305@openssh.com";
const MACS: &str = "hmac-sha2-256,hmac-sha2-512,hmac-sha1";

/// The most that a server sends up to its host key, in bytes: a greeting, KEXINIT and one reply.
const LONGEST_EXCHANGE: usize = 256 * 1024;

/// A connection that asks for the host key.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) stream: crate::net::Stream,
    server: Direction,
    exchange: KeyExchange,
    received: Vec<u8>,
    /// Bytes read so far.
    total: usize,
    is_asked: bool,
}

/// What a probe came to.
#[derive(Debug)]
pub(super) enum Probed {
    Pending,
    HostKey(Box<Presented>),
    /// It has ended without one; `spoke`: after a version line.
    Closed {
        closed: Closed,
        spoke: bool,
    },
}

impl Probe {
    /// Uses a connection on its way; prefers a host key of one of these types, which the right machine has.
    pub(super) fn start(tcp: Tcp, types: &[HostKeyType]) -> Self {
        let mut stream = crate::net::Stream::Tcp(tcp);
        let kexinit = packet(&kexinit(types));
        let mut exchange = KeyExchange::new();
        exchange.observe(Sender::Client, handshake::OUR_VERSION);
        exchange.observe(Sender::Client, &kexinit);
        stream.send(handshake::OUR_VERSION);
        stream.send(&kexinit);
        Self { stream, server: Direction::new(), exchange, received: Vec::new(), total: 0, is_asked: false }
    }

    pub(super) fn advance(&mut self, now: Instant) -> Probed {
        self.stream.advance(now);
        let count = self.stream.received().len();
        let pass = self.server.read(self.stream.received());
        self.stream.consume(count);
        self.received.extend_from_slice(&pass);
        if let Some(presented) = self.exchange.observe(Sender::Server, &pass) {
            return Probed::HostKey(Box::new(presented));
        }
        // A peer that floods, or whose bytes are not a key exchange, has no host key to offer.
        self.total += count;
        if self.total > LONGEST_EXCHANGE || matches!(self.server.phase(), Phase::NewKeys | Phase::Opaque) {
            return Probed::Closed { closed: Closed::Ended, spoke: self.server.version_passed() };
        }
        if !self.is_asked
            && let Some(names) = self.server_kex()
        {
            self.is_asked = true;
            let has = |wanted: &str| names.split(',').any(|name| name == wanted);
            let is_curve25519 = has("curve25519-sha256") || has("curve25519-sha256@libssh.org");
            let point = if is_curve25519 { CURVE25519_BASE.to_vec() } else { hex(P256_GENERATOR) };
            let mut message = vec![SSH_MSG_KEX_ECDH_INIT];
            push_string(&mut message, &point);
            let message = packet(&message);
            self.exchange.observe(Sender::Client, &message);
            self.stream.send(&message);
            self.stream.advance(now);
        }
        match self.stream.state() {
            State::Closed(closed) => Probed::Closed { closed: closed.clone(), spoke: self.server.version_passed() },
            State::Connecting | State::Open => Probed::Pending,
        }
    }

    /// The key exchanges of the server's KEXINIT, which is its first packet.
    fn server_kex(&self) -> Option<String> {
        let mut rest = self.received.as_slice();
        loop {
            let end = memchr::memchr(b'\n', rest)? + 1;
            let is_version = rest.starts_with(b"SSH-");
            rest = &rest[end..];
            if is_version {
                break;
            }
        }
        let payload = kex::packets(rest).next()?.get(5..)?;
        if payload.first() != Some(&SSH_MSG_KEXINIT) {
            return None;
        }
        let length = u32::from_be_bytes(payload.get(17..21)?.try_into().ok()?) as usize;
        Some(String::from_utf8_lossy(payload.get(21..21 + length)?).into_owned())
    }
}

/// RFC 4253 section 7.1.
fn kexinit(types: &[HostKeyType]) -> Vec<u8> {
    let mut algorithms: Vec<&str> = Vec::new();
    let others = [HostKeyType::Ed25519, HostKeyType::EcdsaP256, HostKeyType::EcdsaP384, HostKeyType::EcdsaP521];
    for key_type in types.iter().chain(&others).chain(&[HostKeyType::Rsa]) {
        let names =
            if key_type.name() == "ssh-rsa" { &["rsa-sha2-512", "rsa-sha2-256"][..] } else { &[key_type.name()] };
        for name in names {
            if !algorithms.contains(name) {
                algorithms.push(name);
            }
        }
    }
    let mut payload = vec![SSH_MSG_KEXINIT];
    payload.extend(std::iter::repeat_with(|| fastrand::u8(..)).take(16));
    let hosts = algorithms.join(",");
    for list in [KEX, &hosts, CIPHERS, CIPHERS, MACS, MACS, "none", "none", "", ""] {
        push_string(&mut payload, list.as_bytes());
    }
    payload.extend([0; 5]);
    payload
}

/// A binary packet before keys are in use (RFC 4253 section 6).
fn packet(payload: &[u8]) -> Vec<u8> {
    let padding = 8 - (5 + payload.len()) % 8;
    let padding = if padding < 4 { padding + 8 } else { padding };
    let mut packet = length(1 + payload.len() + padding).to_vec();
    packet.push(u8::try_from(padding).unwrap_or_default());
    packet.extend_from_slice(payload);
    packet.resize(packet.len() + padding, 0);
    packet
}

fn push_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(length(bytes.len()));
    out.extend_from_slice(bytes);
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or_default();
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}
