//! What a session requires of its transport, and how it ends.

use std::fmt;

use super::closed::CloseReason;
use super::inbound::Lost;
use super::message::Malformed;

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The other side closed it; nothing is left to terminate.
    Closed(CloseReason),
    /// The input ended. The session may still exist: terminate it.
    InputEnded,
    /// It cannot go on. The session may still exist: terminate it.
    Failed(Failure),
}

/// Why a session cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// A message could not be read.
    Malformed(Malformed),
    /// Data that was received and stored cannot be read again.
    Overflow,
    /// The agent requires KMS encryption.
    EncryptionRequested,
    /// The agent requires an action that is not known.
    UnknownAction(String),
    /// The session is of another type than a plain port.
    UnsupportedSessionType(String),
    /// The agent requests one handshake after another.
    RepeatedHandshake,
    /// The agent has acknowledged nothing for five minutes.
    Unacknowledged,
    /// Two connections in a row were closed before the first message: the token was refused, or there is no agent.
    Rejected,
    /// The session could not be resumed for two minutes.
    NotResumed,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(formatter, "a message of the data channel is malformed: {why}"),
            Self::Overflow => formatter.write_str("received data could not be read from a temporary file"),
            Self::EncryptionRequested => formatter.write_str("the agent requests KMS encryption of the session"),
            Self::UnknownAction(name) => write!(formatter, "the agent requests the unknown action {name}"),
            Self::UnsupportedSessionType(name) => write!(formatter, "the session has the unsupported type {name}"),
            Self::RepeatedHandshake => formatter.write_str("the agent requests one handshake after another"),
            Self::Unacknowledged => formatter.write_str("the agent acknowledged no data for 300 s"),
            Self::Rejected => formatter.write_str("the gateway closed the data channel before any message"),
            Self::NotResumed => formatter.write_str("the session could not be resumed for 120 s"),
        }
    }
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<Lost> for Failure {
    fn from(_: Lost) -> Self {
        Self::Overflow
    }
}

/// What the transport does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send a text message on the websocket.
    SendText(String),
    /// Send a binary message on the websocket.
    SendBinary(Vec<u8>),
    /// Send a ping.
    Ping,
    /// Drop the connection if it is still open, call `ResumeSession`, connect to the new URL, then call
    /// [`super::Channel::connected`], or [`super::Channel::disconnected`] if that failed and can be tried again.
    Resume,
    /// Show the text to the user on stderr.
    Notice(String),
    /// The handshake is complete.
    Opened,
    /// All output was handed out and the session is over: close the websocket with code 1000.
    End(End),
}
