//! The reliability layer of a Session Manager data channel, without input or output: bytes and a clock in, bytes out.
//!
//! A data channel carries the bytes of one TCP connection to the instance in messages over a websocket that can lose,
//! repeat and reorder them, and that the gateway closes about once an hour. The facts come from the source of
//! session-manager-plugin 1.2.677 (`message/clientmessage.go`, `service/service.go`, `sessionhandler/`) and
//! amazon-ssm-agent 3.3 (`agent/session/datachannel`); there is no specification.
//!
//! Invariants: each byte is delivered once and in order; no data leaves before the handshake is complete; memory is
//! bounded whatever the peer sends; no input causes a panic.
//!
//! Not here: the websocket and its signature, the AWS calls, reading a clock, and the words of error messages.

mod action;
mod channel;
mod closed;
mod content;
mod handshake;
mod inbound;
mod link;
mod message;
mod outbound;
mod overflow;
mod pace;
mod phase;
mod round_trip;
#[cfg(test)]
mod tests;
mod uuid;

pub use action::{Action, End, Failure};
pub use channel::Channel;
pub use closed::CloseReason;
pub use message::{Malformed, Message, MessageType};
pub use overflow::{NoOverflow, Overflow};
pub use uuid::Uuid;

/// The version of session-manager-plugin that the client states. The agent derives features from it; 1.2.764 is the
/// oldest version that AWS supports.
pub const CLIENT_VERSION: &str = "1.2.764.0";

/// Payload types (`message/messageparser.go`).
mod payload_type {
    pub(super) const NONE: u32 = 0;
    pub(super) const OUTPUT: u32 = 1;
    pub(super) const HANDSHAKE_REQUEST: u32 = 5;
    pub(super) const HANDSHAKE_RESPONSE: u32 = 6;
    pub(super) const HANDSHAKE_COMPLETE: u32 = 7;
    pub(super) const FLAG: u32 = 10;
}
