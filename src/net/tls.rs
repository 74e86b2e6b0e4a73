//! TLS as a client, between two buffers: rustls without a socket.

use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::error::{Error, Kind, Result};
use crate::net::closed::Closed;

/// What all TLS connections of a process share.
#[derive(Clone)]
pub struct Config(Arc<ClientConfig>);

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Config")
    }
}

impl Config {
    /// Fills a buffer with random bytes.
    pub(super) fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        // Failure means that the system has no random numbers, and then there is no TLS either.
        let _ = self.0.crypto_provider().secure_random.fill(&mut bytes);
        bytes
    }
}

/// The arithmetic of TLS, the same as for the calls to AWS (`aws::client`).
fn provider() -> CryptoProvider {
    #[cfg(feature = "fips")]
    return rustls::crypto::default_fips_provider();
    #[cfg(not(feature = "fips"))]
    rustls::crypto::ring::default_provider()
}

/// TLS that trusts these authorities ([`crate::net::trust::roots`]).
///
/// # Errors
///
/// [`Kind::Bug`] if the crypto module does not work.
pub fn config(roots: RootCertStore) -> Result<Config> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(Kind::Bug, "cannot set up TLS").because(error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Tickets of connections that this process never repeats would only take memory.
    config.resumption = Resumption::disabled();
    Ok(Config(Arc::new(config)))
}

/// One TLS connection.
pub(super) struct Tls {
    connection: ClientConnection,
    /// The peer has closed in order.
    ended: bool,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Tls {
    pub(super) fn new(config: &Config, host: &str) -> std::result::Result<Self, Closed> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| Closed::BadRequest)?;
        let mut connection = ClientConnection::new(Arc::clone(&config.0), name).map_err(Closed::Tls)?;
        // The caller bounds what it encrypts at a time.
        connection.set_buffer_limit(None);
        Ok(Self { connection, ended: false })
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Encrypts; during the handshake it is kept until that is done.
    pub(super) fn encrypt(&mut self, plain: &[u8], wire: &mut Vec<u8>) {
        // Neither fails without a limit and into memory.
        let _ = self.connection.writer().write_all(plain);
        self.pending(wire);
    }

    /// What TLS itself has to send.
    pub(super) fn pending(&mut self, wire: &mut Vec<u8>) {
        while self.connection.wants_write() && self.connection.write_tls(wire).is_ok() {}
    }

    /// Decrypts all of `wire` and appends the result to `plain`.
    pub(super) fn decrypt(&mut self, mut wire: &[u8], plain: &mut Vec<u8>) -> std::result::Result<(), rustls::Error> {
        while !wire.is_empty() && !self.ended {
            let before = wire.len();
            let read = self.connection.read_tls(&mut wire);
            let state = self.connection.process_new_packets()?;
            let start = plain.len();
            plain.resize(start + state.plaintext_bytes_to_read(), 0);
            let _ = self.connection.reader().read_exact(&mut plain[start..]);
            self.ended = state.peer_has_closed();
            if read.is_err() || wire.len() == before {
                break;
            }
        }
        Ok(())
    }
}
