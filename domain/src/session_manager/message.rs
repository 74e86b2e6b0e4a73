//! The binary message of a data channel: a header of big-endian fields, then a payload.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 4 | header length: 116, or 112 without the payload type |
//! | 4 | 32 | message type, padded with spaces or NULs |
//! | 36 | 4 | schema version |
//! | 40 | 8 | created, in milliseconds since 1970 |
//! | 48 | 8 | sequence number |
//! | 56 | 8 | flags |
//! | 64 | 16 | message id, halves swapped |
//! | 80 | 32 | SHA-256 of the payload |
//! | 112 | 4 | payload type, unless the header length is 112 |
//! | header length | 4 | payload length (unreliable, not used) |
//! | header length + 4 | to the end | payload |

use std::fmt;

use sha2::{Digest, Sha256};

use super::uuid::Uuid;

/// Header length without a payload type, as the gateway sends it in `channel_closed`.
const SHORT_HEADER: usize = 112;
const HEADER: usize = 116;
/// Longest accepted payload in bytes. The agent sends 1024; the gateway has been seen to pass on 32 KiB.
pub(super) const LONGEST_PAYLOAD: usize = 64 * 1024;
const SCHEMA_VERSION: u32 = 1;

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageType {
    /// Stream data to the agent.
    InputStreamData,
    /// Stream data from the agent.
    OutputStreamData,
    /// Acknowledges one message of stream data.
    Acknowledge,
    /// The end of the session.
    ChannelClosed,
    /// The agent can receive data.
    StartPublication,
    /// The agent cannot receive data.
    PausePublication,
    /// Any other type; to be ignored.
    Unknown,
}

impl MessageType {
    const NAMES: [(Self, &str); 6] = [
        (Self::InputStreamData, "input_stream_data"),
        (Self::OutputStreamData, "output_stream_data"),
        (Self::Acknowledge, "acknowledge"),
        (Self::ChannelClosed, "channel_closed"),
        (Self::StartPublication, "start_publication"),
        (Self::PausePublication, "pause_publication"),
    ];

    /// The name in headers.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(kind, _)| *kind == self).map_or("unknown", |(_, name)| name)
    }

    fn parse(field: &[u8]) -> Self {
        let padding = |byte: &u8| matches!(byte, b' ' | 0);
        let start = field.iter().position(|byte| !padding(byte)).unwrap_or(field.len());
        let end = field.iter().rposition(|byte| !padding(byte)).map_or(start, |last| last + 1);
        let name = &field[start..end];
        Self::NAMES.iter().find(|(_, known)| known.as_bytes() == name).map_or(Self::Unknown, |(kind, _)| *kind)
    }

    /// Whether the digest holds. The gateway fills neither digest nor length of the publication messages correctly.
    fn has_digest(self) -> bool {
        !matches!(self, Self::StartPublication | Self::PausePublication | Self::Unknown)
    }
}

/// Why bytes are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// Shorter than its header.
    Truncated,
    /// An impossible header length.
    HeaderLength(u32),
    /// The payload exceeds the limit; its length in bytes.
    TooLong(usize),
    /// The payload does not match its digest.
    Digest(MessageType),
    /// The payload is not the JSON that its type requires.
    Payload(&'static str),
}

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => formatter.write_str("it is shorter than its header"),
            Self::HeaderLength(length) => write!(formatter, "its header length is {length}"),
            Self::TooLong(length) => write!(formatter, "its payload of {length} bytes is too long"),
            Self::Digest(kind) => write!(formatter, "the digest of the {} message does not match", kind.name()),
            Self::Payload(what) => write!(formatter, "the payload of {what} cannot be parsed"),
        }
    }
}

/// One message; the payload borrows from the frame that it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is for.
    pub message_type: MessageType,
    /// Milliseconds since 1970.
    pub created: u64,
    /// Only meaningful in stream data.
    pub sequence: i64,
    /// Bit 0 SYN, bit 1 FIN.
    pub flags: u64,
    /// Its id.
    pub id: Uuid,
    /// What the payload is; 0 if the header has no such field.
    pub payload_type: u32,
    /// The payload.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads one binary frame.
    ///
    /// # Errors
    ///
    /// [`Malformed`]; messages of an unknown type are not checked beyond their header.
    pub fn decode(frame: &'a [u8]) -> Result<Self, Malformed> {
        let length = u32::from_be_bytes(array(frame, 0)?);
        let header = usize::try_from(length).map_err(|_| Malformed::HeaderLength(length))?;
        if header < SHORT_HEADER || (header > SHORT_HEADER && header < HEADER) {
            return Err(Malformed::HeaderLength(length));
        }
        let payload_at = header.checked_add(4).ok_or(Malformed::HeaderLength(length))?;
        let payload = frame.get(payload_at..).ok_or(Malformed::Truncated)?;
        if payload.len() > LONGEST_PAYLOAD {
            return Err(Malformed::TooLong(payload.len()));
        }
        let message_type = MessageType::parse(&array::<32>(frame, 4)?);
        let digest: [u8; 32] = array(frame, 80)?;
        if message_type.has_digest() && !payload.is_empty() && Sha256::digest(payload)[..] != digest {
            return Err(Malformed::Digest(message_type));
        }
        let payload_type = if header == SHORT_HEADER { 0 } else { u32::from_be_bytes(array(frame, SHORT_HEADER)?) };
        Ok(Self {
            message_type,
            created: u64::from_be_bytes(array(frame, 40)?),
            sequence: i64::from_be_bytes(array(frame, 48)?),
            flags: u64::from_be_bytes(array(frame, 56)?),
            id: Uuid::from_swapped(array(frame, 64)?),
            payload_type,
            payload,
        })
    }

    /// The binary frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut frame = Vec::with_capacity(HEADER + 4 + self.payload.len());
        frame.extend_from_slice(&116_u32.to_be_bytes());
        frame.extend_from_slice(format!("{:<32}", self.message_type.name()).as_bytes());
        frame.extend_from_slice(&SCHEMA_VERSION.to_be_bytes());
        frame.extend_from_slice(&self.created.to_be_bytes());
        frame.extend_from_slice(&self.sequence.to_be_bytes());
        frame.extend_from_slice(&self.flags.to_be_bytes());
        frame.extend_from_slice(&self.id.swapped());
        frame.extend_from_slice(&Sha256::digest(self.payload));
        frame.extend_from_slice(&self.payload_type.to_be_bytes());
        frame.extend_from_slice(&u32::try_from(self.payload.len()).unwrap_or(u32::MAX).to_be_bytes());
        frame.extend_from_slice(self.payload);
        frame
    }
}

fn array<const N: usize>(frame: &[u8], at: usize) -> Result<[u8; N], Malformed> {
    frame.get(at..at + N).and_then(|bytes| bytes.try_into().ok()).ok_or(Malformed::Truncated)
}
