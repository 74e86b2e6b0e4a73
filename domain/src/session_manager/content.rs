//! The JSON of messages that are neither data nor handshake.

use serde::{Deserialize, Serialize};

use super::CLIENT_VERSION;
use super::message::{Malformed, MessageType};
use super::uuid::Uuid;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct OpenDataChannel<'a> {
    message_schema_version: &'a str,
    request_id: String,
    token_value: &'a str,
    client_id: String,
    client_version: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Acknowledge<'a> {
    acknowledged_message_type: &'a str,
    acknowledged_message_id: String,
    acknowledged_message_sequence_number: i64,
    is_sequential_message: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Acknowledged {
    acknowledged_message_sequence_number: i64,
}

/// The first message of each connection, a text message.
pub(super) fn open_data_channel(token: &str, request_id: Uuid, client_id: Uuid) -> String {
    let open = OpenDataChannel {
        message_schema_version: "1.0",
        request_id: request_id.to_string(),
        token_value: token,
        client_id: client_id.to_string(),
        client_version: CLIENT_VERSION,
    };
    serde_json::to_string(&open).unwrap_or_default()
}

/// The payload that acknowledges a message of the agent.
pub(super) fn acknowledge(id: Uuid, sequence: i64) -> Vec<u8> {
    let content = Acknowledge {
        acknowledged_message_type: MessageType::OutputStreamData.name(),
        acknowledged_message_id: id.to_string(),
        acknowledged_message_sequence_number: sequence,
        is_sequential_message: true,
    };
    serde_json::to_vec(&content).unwrap_or_default()
}

/// The sequence number that an `acknowledge` message is about.
pub(super) fn acknowledged(payload: &[u8]) -> Result<i64, Malformed> {
    let content: Acknowledged =
        serde_json::from_slice(payload).map_err(|_| Malformed::Payload("the acknowledge message"))?;
    Ok(content.acknowledged_message_sequence_number)
}
