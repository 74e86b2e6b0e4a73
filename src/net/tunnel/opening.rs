//! The steps until a tunnel is open: CONNECT, TLS, the upgrade.

use std::time::Instant;

use super::{Destination, Phase, Tunnel};
use crate::domain::http_response::{Reader, Response};
use crate::domain::upgrade;
use crate::net::closed::Closed;
use crate::net::proxy::Proxy;
use crate::net::state::State;

impl Tunnel {
    /// The connection stands: CONNECT, or TLS at once.
    pub(super) fn begin(&mut self) -> Result<(), Closed> {
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
    pub(super) fn begin_tls(&mut self) -> Result<(), Closed> {
        let Destination { url, headers, .. } = &self.destination;
        let request = upgrade::request(url, &self.key, headers).ok_or(Closed::BadRequest)?;
        self.wire.push_tls(&self.config, &url.host)?;
        self.wire.send(&request);
        self.phase = Phase::Upgrade(Reader::of_upgrade());
        Ok(())
    }

    /// The upgrade's own timeout runs from the end of the TLS handshake.
    pub(super) fn handshake_progress(&mut self, now: Instant) {
        if !self.handshaken && matches!(self.phase, Phase::Upgrade(_)) && !self.wire.is_handshaking() {
            self.handshaken = true;
            self.deadline = now + self.timeouts.upgrade;
        }
    }

    /// `behind` follows the response; what it is as websocket frames goes to `frames`.
    pub(super) fn response(
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

    /// The connection has ended.
    pub(super) fn end(&mut self) -> Closed {
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
}
