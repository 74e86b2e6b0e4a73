//! The handshake of a session: the agent requests actions, the client reports what it did, the agent completes it.

use serde::{Deserialize, Serialize};

use super::CLIENT_VERSION;
use super::action::Failure;
use super::closed::text;
use super::message::Malformed;

/// Most actions that a request may name.
const MOST_ACTIONS: usize = 16;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    #[serde(default)]
    requested_client_actions: Vec<RequestedAction>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RequestedAction {
    action_type: String,
    #[serde(default)]
    action_parameters: serde_json::Value,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Response<'a> {
    client_version: &'a str,
    processed_client_actions: Vec<ProcessedAction<'a>>,
    errors: [&'a str; 0],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ProcessedAction<'a> {
    action_type: &'a str,
    action_status: u8,
    action_result: Option<&'a str>,
    error: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Complete {
    #[serde(default)]
    customer_message: Option<String>,
}

const SUCCESS: u8 = 1;
const FAILED: u8 = 2;
const UNSUPPORTED: u8 = 3;

/// The response to a request, and why the session cannot go on after it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) payload: Vec<u8>,
    pub(super) failure: Option<Failure>,
}

/// Answers a `HandshakeRequest`.
pub(super) fn answer(payload: &[u8]) -> Result<Answer, Malformed> {
    let malformed = Malformed::Payload("the handshake request");
    let request: Request = serde_json::from_slice(payload).map_err(|_| malformed)?;
    if request.requested_client_actions.len() > MOST_ACTIONS {
        return Err(malformed);
    }
    let mut failure = None;
    let mut processed = Vec::new();
    for action in &request.requested_client_actions {
        let (status, error, reason) = process(action);
        failure = failure.or(reason);
        processed.push(ProcessedAction {
            action_type: &action.action_type,
            action_status: status,
            action_result: None,
            error,
        });
    }
    let response = Response { client_version: CLIENT_VERSION, processed_client_actions: processed, errors: [] };
    let payload = serde_json::to_vec(&response).map_err(|_| malformed)?;
    Ok(Answer { payload, failure })
}

fn process(action: &RequestedAction) -> (u8, &'static str, Option<Failure>) {
    match action.action_type.as_str() {
        "SessionType" => {
            let parameters = &action.action_parameters;
            let session_type = parameters["SessionType"].as_str().unwrap_or_default();
            let multiplexed = parameters["Properties"]["type"].as_str() == Some("LocalPortForwarding");
            if session_type == "Port" && !multiplexed {
                (SUCCESS, "", None)
            } else {
                let failure = Failure::UnsupportedSessionType(text(session_type));
                (UNSUPPORTED, "only plain Port sessions are supported", Some(failure))
            }
        }
        "KMSEncryption" => (FAILED, "encryption is not supported for SSH sessions", Some(Failure::EncryptionRequested)),
        other => (UNSUPPORTED, "Unsupported action", Some(Failure::UnknownAction(text(other)))),
    }
}

/// The message for the user in a `HandshakeComplete`.
pub(super) fn customer_message(payload: &[u8]) -> Result<Option<String>, Malformed> {
    let complete: Complete =
        serde_json::from_slice(payload).map_err(|_| Malformed::Payload("the handshake completion"))?;
    Ok(complete.customer_message.map(|message| text(&message)).filter(|message| !message.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::{Failure, answer, customer_message};

    fn request(actions: &str) -> String {
        format!(r#"{{"AgentVersion":"3.3.1","RequestedClientActions":[{actions}]}}"#)
    }

    const PORT: &str =
        r#"{"ActionType":"SessionType","ActionParameters":{"SessionType":"Port","Properties":{"portNumber":"22"}}}"#;

    fn answered(actions: &str) -> (String, Option<Failure>) {
        let answer = answer(request(actions).as_bytes()).expect("valid JSON");
        (String::from_utf8(answer.payload).expect("JSON is text"), answer.failure)
    }

    #[test]
    fn a_port_session_is_accepted_with_the_keys_that_the_agent_reads() {
        let (json, failure) = answered(PORT);
        let expected = concat!(
            r#"{"ClientVersion":"1.2.764.0","ProcessedClientActions":[{"ActionType":"SessionType","ActionStatus":1,"#,
            r#""ActionResult":null,"Error":""}],"Errors":[]}"#
        );
        assert_eq!((json.as_str(), failure), (expected, None));
    }

    #[test]
    fn encryption_and_unknown_actions_end_the_session() {
        let kms = r#"{"ActionType":"KMSEncryption","ActionParameters":{"KMSKeyId":"k","Challenge":"c"}}"#;
        let (json, failure) = answered(&format!("{PORT},{kms}"));
        assert!(json.contains(r#""ActionType":"KMSEncryption","ActionStatus":2"#), "{json}");
        assert_eq!(failure, Some(Failure::EncryptionRequested));
        let (json, failure) = answered(&format!(r#"{PORT},{{"ActionType":"Da\u001bnce"}}"#));
        assert!(json.contains(r#""ActionStatus":3"#), "{json}");
        assert_eq!(failure, Some(Failure::UnknownAction("Dance".into())));
    }

    #[test]
    fn a_session_that_is_no_plain_port_session_ends() {
        let shell = PORT.replace(r#""Port""#, r#""Standard_Stream""#);
        assert_eq!(answered(&shell).1, Some(Failure::UnsupportedSessionType("Standard_Stream".into())));
        let multiplexed = PORT.replace(r#""portNumber":"22""#, r#""type":"LocalPortForwarding""#);
        assert_eq!(answered(&multiplexed).1, Some(Failure::UnsupportedSessionType("Port".into())));
    }

    #[test]
    fn the_customer_message_loses_its_control_characters() {
        let complete = r#"{"HandshakeTimeToComplete":1,"CustomerMessage":"be\u0007 careful\n\u001b[2J"}"#;
        assert_eq!(customer_message(complete.as_bytes()), Ok(Some("be careful [2J".into())));
        assert_eq!(customer_message(br#"{"HandshakeTimeToComplete":1,"CustomerMessage":""}"#), Ok(None));
        assert!(customer_message(b"").is_err());
    }
}
