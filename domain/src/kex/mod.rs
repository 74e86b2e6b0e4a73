//! The host key in a clear-text SSH key exchange, read by an observer of both directions' packets.
//!
//! The first algorithm of the client's KEXINIT that the server's KEXINIT also lists decides which message is the reply:
//! 31, or 33 after the group of a group exchange. The reply of every supported key exchange has the same three fields:
//! the host key, the server's public value, the signature (RFC 4253 section 8, RFC 4419 section 3, RFC 5656 section 4).
//!
//! Invariant: every packet that is not understood is an error, and so are NEWKEYS before the host key and a second
//! reply. A caller that ends the connection on each error never relays a host key that it did not receive from here.
//! Not here: cutting the stream into packets (`handshake`), the decision (`host_trust`), verifying the signature (ssh).

use std::collections::HashSet;
use std::fmt;

use crate::host_certificate::Presented;
use crate::wire::Reader;

/// RFC 4253 section 12, RFC 4419 section 5, RFC 5656 section 7.1.
const SSH_MSG_DISCONNECT: u8 = 1;
const SSH_MSG_IGNORE: u8 = 2;
const SSH_MSG_UNIMPLEMENTED: u8 = 3;
const SSH_MSG_DEBUG: u8 = 4;
const SSH_MSG_KEXINIT: u8 = 20;
const SSH_MSG_NEWKEYS: u8 = 21;
/// The reply of each key exchange except group exchange, which sends its group with this number.
const KEX_REPLY_OR_GROUP: u8 = 31;
const GROUP_EXCHANGE_REPLY: u8 = 33;

/// The key exchanges whose reply is message 31. OpenSSH 8.7 to 10.5 has no other but the two group exchanges and GSSAPI.
const REPLY_31: [&str; 14] = [
    "mlkem768x25519-sha256",
    "mlkem768nistp256-sha256",
    "sntrup761x25519-sha512",
    "sntrup761x25519-sha512@openssh.com",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group1-sha1",
    "diffie-hellman-group14-sha1",
    "diffie-hellman-group14-sha256",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
];
const REPLY_33: [&str; 2] = ["diffie-hellman-group-exchange-sha256", "diffie-hellman-group-exchange-sha1"];

/// Who sent a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The ssh client.
    Client,
    /// The server.
    Server,
}

/// Why a key exchange cannot be checked. The connection has to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KexError {
    /// The bytes are not one whole packet.
    Packet,
    /// A KEXINIT, group or reply does not have its structure.
    Structure {
        /// The message number.
        message: u8,
    },
    /// A message that has no place at this point of a key exchange: a second KEXINIT, a second reply, a reply before
    /// the client's KEXINIT, or any message that is not part of a key exchange.
    Unexpected {
        /// The message number.
        message: u8,
    },
    /// The two sides have no key exchange in common.
    NothingInCommon,
    /// The negotiated key exchange is not supported, for example GSSAPI.
    Unsupported {
        /// Its name, at most 64 printable ASCII characters.
        name: String,
    },
    /// The server sent a packet for a key exchange that it guessed wrongly. No known server does, and clients do not
    /// agree on which reply then counts.
    WrongGuess,
    /// The host key is of a type that is not supported, or does not have the structure of its type.
    HostKey,
    /// NEWKEYS arrived before a host key.
    NoHostKey,
}

impl fmt::Display for KexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packet => f.write_str("invalid packet in the key exchange"),
            Self::Structure { message } => write!(f, "invalid key exchange message {message}"),
            Self::Unexpected { message } => write!(f, "unexpected message {message} in the key exchange"),
            Self::NothingInCommon => f.write_str("client and server have no key exchange in common"),
            Self::Unsupported { name } => write!(f, "unsupported key exchange {name}"),
            Self::WrongGuess => {
                f.write_str("the server sent a packet for another key exchange than the negotiated one")
            }
            Self::HostKey => f.write_str("host key of an unsupported type or with an invalid structure"),
            Self::NoHostKey => f.write_str("the key exchange ended without a host key"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reply {
    /// Message 31.
    Plain,
    /// Message 31 with a group, then message 33.
    AfterGroup,
}

/// What a KEXINIT says, as far as the host key depends on it.
#[derive(Debug, Clone)]
struct Proposal {
    kex: Vec<String>,
    host_key: String,
    guess_follows: bool,
}

/// An observer of one connection's first key exchange.
#[derive(Debug, Default)]
pub struct KeyExchange {
    client: Option<Proposal>,
    server: Option<Proposal>,
    group_seen: bool,
    host_key_seen: bool,
    /// Of the client and of the server.
    version_seen: [bool; 2],
    /// Set by the first error and returned for each later packet.
    error: Option<KexError>,
}

impl KeyExchange {
    /// An observer that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one whole packet (length, padding length, payload, padding) *before* it is relayed; version lines are not
    /// packets. `Some` is the host key in the server's reply: relay the packet only if the key is trusted.
    ///
    /// # Errors
    /// The key exchange cannot be checked; every later call returns the same error.
    pub fn read(&mut self, sender: Sender, packet: &[u8]) -> Result<Option<Presented>, KexError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        let read = payload(packet).ok_or(KexError::Packet).and_then(|payload| match sender {
            Sender::Client => self.read_client(payload).map(|()| None),
            Sender::Server => self.read_server(payload),
        });
        self.error = read.as_ref().err().cloned();
        read
    }

    /// Reads whole lines and packets of one side before they are relayed, for a caller that only needs the host key: after
    /// an error there is none.
    pub fn observe(&mut self, sender: Sender, units: &[u8]) -> Option<Presented> {
        let mut found = None;
        for packet in packets(self.after_version(sender, units)) {
            found = self.read(sender, packet).ok().flatten().or(found);
        }
        found
    }

    /// The packets in whole lines and packets of one side: what follows its version line.
    pub fn after_version<'u>(&mut self, sender: Sender, units: &'u [u8]) -> &'u [u8] {
        let seen = &mut self.version_seen[sender as usize];
        let mut rest = units;
        while !*seen {
            let Some(end) = rest.iter().position(|&byte| byte == b'\n') else { return &[] };
            let line;
            (line, rest) = rest.split_at(end + 1);
            *seen = line.starts_with(b"SSH-");
        }
        rest
    }

    /// Whether the version line of this side has been read.
    #[must_use]
    pub fn version_seen(&self, sender: Sender) -> bool {
        self.version_seen[sender as usize]
    }

    /// Whether the host key has been returned and no error has occurred: without it no side may switch its keys on.
    #[must_use]
    pub fn host_key_seen(&self) -> bool {
        self.host_key_seen && self.error.is_none()
    }

    /// The client's packets carry no host key: only its KEXINIT matters, which has to come once and first.
    fn read_client(&mut self, payload: &[u8]) -> Result<(), KexError> {
        match payload[0] {
            SSH_MSG_KEXINIT => store(&mut self.client, payload),
            SSH_MSG_NEWKEYS if !self.host_key_seen => Err(KexError::NoHostKey),
            _ => Ok(()),
        }
    }

    fn read_server(&mut self, payload: &[u8]) -> Result<Option<Presented>, KexError> {
        match payload[0] {
            SSH_MSG_DISCONNECT | SSH_MSG_IGNORE | SSH_MSG_UNIMPLEMENTED | SSH_MSG_DEBUG => Ok(None),
            SSH_MSG_KEXINIT => store(&mut self.server, payload).map(|()| None),
            SSH_MSG_NEWKEYS if self.host_key_seen => Ok(None),
            SSH_MSG_NEWKEYS => Err(KexError::NoHostKey),
            message @ (KEX_REPLY_OR_GROUP | GROUP_EXCHANGE_REPLY) => self.read_kex(message, payload),
            message => Err(KexError::Unexpected { message }),
        }
    }

    fn read_kex(&mut self, message: u8, payload: &[u8]) -> Result<Option<Presented>, KexError> {
        let (Some(client), Some(server)) = (&self.client, &self.server) else {
            return Err(KexError::Unexpected { message });
        };
        let guessed_wrongly = client.kex.first() != server.kex.first() || client.host_key != server.host_key;
        if server.guess_follows && guessed_wrongly {
            return Err(KexError::WrongGuess);
        }
        let reply = negotiate(client, server)?;
        let mut reader = Reader::new(&payload[1..]);
        match (reply, message, self.group_seen) {
            _ if self.host_key_seen => Err(KexError::Unexpected { message }),
            (Reply::AfterGroup, KEX_REPLY_OR_GROUP, false) => {
                let group = reader.positive().and_then(|_prime| reader.positive());
                group.filter(|_| reader.is_empty()).ok_or(KexError::Structure { message })?;
                self.group_seen = true;
                Ok(None)
            }
            (Reply::Plain, KEX_REPLY_OR_GROUP, _) | (Reply::AfterGroup, GROUP_EXCHANGE_REPLY, true) => {
                let mut fields = || {
                    let host_key = reader.string()?;
                    let (_public, _signature) = (reader.string()?, reader.string()?);
                    reader.is_empty().then_some(host_key)
                };
                let host_key = fields().ok_or(KexError::Structure { message })?;
                self.host_key_seen = true;
                Presented::from_blob(host_key).map(Some).ok_or(KexError::HostKey)
            }
            _ => Err(KexError::Unexpected { message }),
        }
    }
}

/// The packets at the start of `bytes`, cut at their lengths; a remainder that is no whole packet comes last.
pub fn packets(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = Reader::new(rest).u32().and_then(|length| usize::try_from(length).ok()?.checked_add(4));
        let length = length.filter(|&length| length <= rest.len()).unwrap_or(rest.len());
        let (packet, after) = rest.split_at(length);
        rest = after;
        (!packet.is_empty()).then_some(packet)
    })
}

/// The payload of one whole packet (RFC 4253 section 6), which has at least a message number.
fn payload(packet: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(packet);
    let mut body = Reader::new(reader.string()?);
    let padding = usize::from(body.byte()?);
    // The length field takes 4 bytes, the padding length 1.
    let payload = body.bytes(packet.len().checked_sub(5 + padding)?)?;
    (reader.is_empty() && padding >= 4 && !payload.is_empty()).then_some(payload)
}

fn store(place: &mut Option<Proposal>, payload: &[u8]) -> Result<(), KexError> {
    if place.is_some() {
        return Err(KexError::Unexpected { message: SSH_MSG_KEXINIT });
    }
    *place = Some(proposal(&payload[1..]).ok_or(KexError::Structure { message: SSH_MSG_KEXINIT })?);
    Ok(())
}

/// RFC 4253 section 7.1: a cookie, ten lists of names, a boolean and four bytes.
fn proposal(body: &[u8]) -> Option<Proposal> {
    let mut reader = Reader::new(body);
    reader.bytes(16)?;
    let kex: Vec<String> = reader.text()?.split(',').map(str::to_owned).collect();
    let host_key = reader.text()?.split(',').next()?.to_owned();
    for _ in 0..8 {
        reader.text()?;
    }
    let guess_follows = reader.byte()? != 0;
    reader.u32()?;
    reader.is_empty().then_some(Proposal { kex, host_key, guess_follows })
}

/// The first name of the client that the server has too. Markers such as `kex-strict-c-v00@openssh.com` are names like
/// any other to OpenSSH: chosen by a hostile server, they are an unsupported key exchange.
fn negotiate(client: &Proposal, server: &Proposal) -> Result<Reply, KexError> {
    let offered: HashSet<&str> = server.kex.iter().map(String::as_str).collect();
    let chosen = client.kex.iter().map(String::as_str).find(|name| offered.contains(name));
    match chosen {
        None => Err(KexError::NothingInCommon),
        Some(name) if REPLY_31.contains(&name) => Ok(Reply::Plain),
        Some(name) if REPLY_33.contains(&name) => Ok(Reply::AfterGroup),
        Some(name) => {
            let name = name.chars().filter(char::is_ascii_graphic).take(64).collect();
            Err(KexError::Unsupported { name })
        }
    }
}

#[cfg(test)]
mod tests;
