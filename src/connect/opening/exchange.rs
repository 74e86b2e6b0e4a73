//! The whole packets of the key exchange, before they are relayed.

use super::Opening;
use crate::connect::stream_relay::Via;
use crate::domain::handshake::Phase;
use crate::domain::host_certificate::Presented;
use crate::domain::kex::{self, KeyExchange, Sender};
use crate::error::Result;

/// Both sides' packets, as far as the host key depends on them.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    observer: KeyExchange,
    /// The client's and the server's version line has passed: packets follow.
    client_version: bool,
    server_version: bool,
    is_over: bool,
}

impl Exchange {
    /// `bytes`: whole lines and packets of the client.
    pub(super) fn read_client_bytes(&mut self, bytes: &[u8]) {
        for packet in kex::packets(behind_version(bytes, &mut self.client_version)) {
            let _ = self.observer.read(Sender::Client, packet);
        }
    }

    /// `bytes`: whole lines and packets of the server. Some: the host key is in them.
    pub(super) fn read_server_bytes(&mut self, bytes: &[u8]) -> Option<Presented> {
        let mut found = None;
        for packet in kex::packets(behind_version(bytes, &mut self.server_version)) {
            if let Ok(Some(presented)) = self.observer.read(Sender::Server, packet) {
                found = Some(presented);
            }
        }
        found
    }
}

/// What follows the version line.
fn behind_version<'b>(bytes: &'b [u8], seen: &mut bool) -> &'b [u8] {
    let mut rest = bytes;
    while !*seen && !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        *seen = rest.starts_with(b"SSH-");
        rest = &rest[end..];
    }
    rest
}

impl Opening<'_> {
    /// Called with every whole line and packet of the server before the client gets it. An error ends the connection
    /// with its message in place of these bytes.
    pub(super) fn check_host_key(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(server) = &self.server else { return Ok(()) };
        if self.exchange.is_over || server.server.phase() == Phase::Opaque {
            return Ok(());
        }
        let is_direct = matches!(server.via, Via::Direct);
        let Some(presented) = self.exchange.read_server_bytes(bytes) else { return Ok(()) };
        self.exchange.is_over = true;
        if is_direct { self.check_direct_host_key(&presented) } else { Ok(()) }
    }
}
