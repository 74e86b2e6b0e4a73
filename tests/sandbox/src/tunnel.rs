//! Tunnels through an EC2 Instance Connect Endpoint: what the sandbox records of each, and how it can misbehave.

use serde::{Deserialize, Serialize};

/// One tunnel that an endpoint opened, as recorded by the server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tunnel {
    /// The endpoint's id.
    pub endpoint: String,
    /// The instance's id.
    pub instance: String,
    /// The parameter `privateIpAddress`.
    pub address: String,
    /// The parameter `remotePort`.
    pub port: u16,
    /// The parameter `maxTunnelDuration` in seconds, 3600 if it was omitted.
    pub max_duration: u64,
    /// The access key that signed the request.
    pub access_key_id: String,
    /// Open tunnels of the endpoint, this one included, when it was opened. The maximum over all tunnels is the
    /// highest number of concurrent tunnels.
    pub concurrent: usize,
    /// Bytes received from the client.
    pub received: u64,
    /// Bytes sent to the client.
    pub sent: u64,
    /// Pings sent.
    pub pings: u64,
    /// Pongs received with the payload of the oldest unanswered ping.
    pub pongs: u64,
    /// Why it ended; `None` while it is open.
    pub closed: Option<String>,
}

/// How the response to the upgrade request is delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Upgrade {
    /// In one TLS record.
    #[default]
    Whole,
    /// One TLS record for each byte.
    Bytewise,
    /// In one TLS record with the first data frame.
    WithFirstFrame,
    /// Never; the connection stays open.
    Never,
}

/// How the body of a refusal is delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// In one TLS record with the headers.
    #[default]
    Whole,
    /// Headers and half of the body in one TLS record, the rest in another.
    TwoRecords,
    /// In two chunks (`transfer-encoding: chunked`).
    Chunked,
}

/// How tunnels behave, by [`crate::Switches::tunnels`]. All sizes are bytes sent to the client.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TunnelSwitches {
    /// Delivery of the 101.
    pub upgrade: Upgrade,
    /// Delivery of a refusal.
    pub refusal: Refusal,
    /// Concurrent tunnels per endpoint; 20 if `None`.
    pub limit: Option<usize>,
    /// Instances that the endpoint cannot reach, by id.
    pub unreachable: Vec<String>,
    /// Splits every message into continuation frames of this size; 0: one frame for each message.
    pub fragment: usize,
    /// Collects this much before it sends a frame, as long as more arrives; 0: at most 65,000.
    pub frame_size: usize,
    /// Sends an empty binary frame before every message.
    pub empty_frames: bool,
    /// Sends a text frame first.
    pub text_frame: bool,
    /// Sends this many zero bytes before anything of the instance.
    pub flood: u64,
    /// Sends a close frame after this many bytes of data.
    pub close_after: Option<u64>,
    /// The code of [`Self::close_after`]; `None`: a close frame without one.
    pub close_code: Option<u16>,
    /// The reason of [`Self::close_after`], sent with a code only.
    pub close_reason: String,
    /// Cuts the TCP connection, without a close frame or TLS alert, after this many bytes of data.
    pub cut_after: Option<u64>,
    /// Stops reading from the client after this many bytes of data, until the switch is reset.
    pub stop_reading_after: Option<u64>,
    /// Endpoint names do not resolve (in namespaces).
    pub unresolved: bool,
}
