//! Systems Manager sessions: what the sandbox records of each, and how they can misbehave.
//!
//! - `message`: the binary messages of a data channel, written independently of the program's own codec
//! - `agent`: the agent of one session: handshake, acknowledgements, repair of losses, the bytes of sshd
//! - `faults`: what is lost, repeated and reordered on the way, by counts
//! - `gateway`: the websocket between client and agent
//!
//! The four API calls are in `aws::ssm`.

pub(crate) mod agent;
mod faults;
pub(crate) mod gateway;
mod message;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use agent::Agent;

/// The requests of the handshake.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SsmHandshake {
    /// A plain port session.
    #[default]
    Port,
    /// KMS encryption as well.
    Encryption,
    /// An action that no client knows.
    UnknownAction,
}

/// How sessions behave, by [`crate::Switches::ssm`]. All counts are of messages and 0 switches a fault off.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is one switch of its own")]
pub struct SsmSwitches {
    /// Instances without a connected agent, by id.
    pub not_connected: Vec<String>,
    /// `StartSession` is denied on the document and not on the instance.
    pub deny_document: bool,
    /// The status that refuses every upgrade.
    pub refuse_upgrade: Option<u16>,
    /// The gateway takes every token for a wrong one.
    pub reject_token: bool,
    /// The requests of the handshake.
    pub handshake: SsmHandshake,
    /// Splits websocket messages into continuation frames of this size.
    pub fragment: usize,
    /// Nothing answers on the data channel.
    pub no_agent: bool,
    /// The agent cannot connect to the port on its instance.
    pub refuse_port: bool,
    /// Closes the session with this text after [`Self::close_after`] data messages of the agent.
    pub close_text: Option<String>,
    /// See [`Self::close_text`].
    pub close_after: u64,
    /// `channel_closed` has a payload type and the header length 116.
    pub long_close_header: bool,
    /// Sends `start_publication` before the handshake, with a wrong digest.
    pub start_publication: bool,
    /// Sends `pause_publication` after so many data messages of the client, and `start_publication` 300 ms later.
    pub pause_after: u64,
    /// Loses every nth data message, in each direction.
    pub lose: u64,
    /// Sends every nth data message twice, in each direction.
    pub repeat: u64,
    /// Exchanges every nth data message with the next, in each direction.
    pub reorder: u64,
    /// Delivers every nth data message to the client five messages late.
    pub delay: u64,
    /// Loses every nth acknowledgement, in each direction.
    pub lose_acknowledgements: u64,
    /// The gateway closes the connection with 1000 `Bye` after so many messages of it,
    pub bye_after: u64,
    /// in so many connections of a session.
    pub bye_times: u32,
    /// Cuts the connection after so many messages of it, once.
    pub cut_after: u64,
    /// In the first connection of a session nothing is sent or read once data flows: no pongs either.
    pub no_pongs: bool,
    /// `ResumeSession` does not know the session.
    pub refuse_resume: bool,
    /// `ResumeSession` returns no token.
    pub resume_without_token: bool,
    /// Sends a message with a wrong digest after so many data messages of the agent.
    pub malformed_after: u64,
    /// Sends Flag and `StdErr` payloads among the data.
    pub flags: bool,
}

/// One session, as recorded by the server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SsmSession {
    /// The session's id.
    pub id: String,
    /// The instance's id.
    pub instance: String,
    /// The requested port.
    pub port: String,
    /// The key that started it.
    pub access_key_id: String,
    /// Successful calls of `ResumeSession`.
    pub resumed: u32,
    /// Whether `TerminateSession` was called.
    pub is_terminated: bool,
    /// Why it is over; `None`: it still exists.
    pub ended: Option<String>,
    /// Upgrades that were accepted.
    pub connections: u32,
    /// The client ids of its `OpenDataChannel` messages, without repetition.
    pub client_ids: Vec<String>,
    /// Data messages of the client, repeated ones included.
    pub received: u64,
    /// Those that arrived while the publication was paused.
    pub received_while_paused: u64,
    /// Data messages of the client that the agent refused or threw away.
    pub refused: u64,
    /// Pings of the client.
    pub pings: u64,
}

/// A session and what belongs to it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) record: SsmSession,
    /// Valid for the current URL.
    pub(crate) token: String,
    /// The path and query of the current URL.
    pub(crate) target: String,
    /// Counts connections: an older one gives way.
    pub(crate) generation: u64,
    pub(crate) agent: Arc<Mutex<Agent>>,
}

/// All sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    pub(crate) all: BTreeMap<String, Entry>,
    /// Where the gateway listens, once there is a session.
    pub(crate) gateway: Option<SocketAddr>,
}
