//! Where a tunnel leads, how long it may take, and what is received from it.

use std::net::IpAddr;
use std::time::Duration;

use crate::domain::upgrade::Url;
use crate::net::proxy::Proxy;

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
    pub(super) fn cost(&self) -> usize {
        let (Self::Text(bytes) | Self::Binary(bytes)) = self;
        bytes.len() + 64
    }
}
