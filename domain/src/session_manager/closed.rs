//! Why the gateway or the agent closed a session, read from the payload of `channel_closed`.

use serde::Deserialize;

use super::message::Malformed;
use crate::handshake::one_line;

/// Why a session was closed. Texts are one line without control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// No reason given: the TCP connection on the instance was closed.
    Normal,
    /// The agent could not connect to the port on its instance.
    ConnectionRefused(String),
    /// The idle timeout of the account's preferences.
    IdleTimeout,
    /// The maximum session duration of the account's preferences.
    MaximumDuration,
    /// The agent could not open its data channel (its role lacks permissions of ssmmessages).
    DataChannelSetup(String),
    /// Any other text.
    Other(String),
}

#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "Output", default)]
    output: String,
}

/// Reads the reason.
pub(super) fn parse(payload: &[u8]) -> Result<CloseReason, Malformed> {
    if payload.is_empty() {
        return Ok(CloseReason::Normal);
    }
    let payload: Payload = serde_json::from_slice(payload).map_err(|_| Malformed::Payload("channel_closed"))?;
    let text = text(payload.output.replace("----------ERROR-------", " ").as_str());
    let lower = text.to_ascii_lowercase();
    Ok(if text.is_empty() {
        CloseReason::Normal
    } else if lower.contains("unable to connect to specified port") {
        CloseReason::ConnectionRefused(text)
    } else if lower.contains("inactivity") {
        CloseReason::IdleTimeout
    } else if lower.contains("duration") {
        CloseReason::MaximumDuration
    } else if lower.contains("setting up data channel") {
        CloseReason::DataChannelSetup(text)
    } else {
        CloseReason::Other(text)
    })
}

/// A peer's text as one line of limited length, without control characters.
pub(super) fn text(raw: &str) -> String {
    let visible: String = raw.chars().filter(|c| c.is_whitespace() || !c.is_control()).collect();
    one_line(&visible.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::{CloseReason, parse};

    fn reason(output: &str) -> CloseReason {
        let json = serde_json::json!({"MessageId": "x", "SessionId": "s", "SchemaVersion": 1, "Output": output});
        parse(json.to_string().as_bytes()).expect("valid JSON")
    }

    #[test]
    fn known_texts_have_their_own_reason() {
        assert_eq!(reason(""), CloseReason::Normal);
        assert_eq!(parse(b"").expect("no payload"), CloseReason::Normal);
        let refused = "Unable to connect to specified port: dial tcp 127.0.0.1:22: connect: connection refused";
        assert_eq!(reason(refused), CloseReason::ConnectionRefused(refused.to_owned()));
        let idle = "Your session timed out due to inactivity and has been terminated.";
        assert_eq!(reason(idle), CloseReason::IdleTimeout);
        let duration = "The session reached its maximum duration and was terminated.";
        assert_eq!(reason(duration), CloseReason::MaximumDuration);
        let setup = "\n----------ERROR-------\nSetting up data channel with id x failed: denied\n";
        let text = "Setting up data channel with id x failed: denied".to_owned();
        assert_eq!(reason(setup), CloseReason::DataChannelSetup(text));
    }

    #[test]
    fn other_text_becomes_one_clean_line() {
        assert_eq!(
            reason("\u{1b}[31mred\r\nHandshake  timed out"),
            CloseReason::Other("[31mred Handshake timed out".into())
        );
        assert!(parse(b"{").is_err());
    }
}
