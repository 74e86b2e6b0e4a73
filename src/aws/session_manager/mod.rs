//! Sessions of Systems Manager Session Manager: start, resume, terminate, and whether an instance's agent is connected.
//!
//! `aws-sdk-ssm` is not used: it is one of the largest crates of the SDK, and these are four small JSON 1.1 requests.
//! They go through the SDK's own orchestrator with the program's HTTP client and timeouts, so that proxies, endpoints
//! and errors behave as for every other request. Nothing is retried here: a repeated `StartSession` could leave a
//! session behind, and the caller knows how much time is left.
//!
//! Not here: the data channel (`domain::session_manager`) and its websocket.

mod endpoint;
mod errors;
mod signature;

pub use endpoint::check_stream_url;
pub use signature::{UpgradeHeader, sign_upgrade};

use std::fmt;

use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::error::ErrorMetadata;
use aws_smithy_types::timeout::TimeoutConfig;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::aws::client;
use crate::aws::credentials::Session;
use crate::aws::failure::{Failure, Retry};
use crate::aws::timeout::RunningSleep;
use crate::domain::ids::InstanceId;
use crate::error::{Error, Kind};

/// The document whose sessions carry the bytes of one TCP connection.
const DOCUMENT: &str = "AWS-StartSSHSession";
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// A data channel that can be opened. The token authorises it, so `Debug` leaves token and URL out.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DataChannel {
    /// Identifies the session in later requests.
    pub session_id: String,
    /// The URL of the websocket, to be used byte for byte.
    pub stream_url: String,
    /// For the first message on the websocket.
    pub token_value: String,
}

impl fmt::Debug for DataChannel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DataChannel").field("session_id", &self.session_id).finish_non_exhaustive()
    }
}

/// An instance as the target of a session.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The instance.
    pub id: &'a InstanceId,
    /// Its name in messages: `prod-web-1 (i-0abc…)`.
    pub name: &'a str,
}

/// Starts a session to a port of the instance. It exists from `Ok` on: terminate it if anything fails later.
///
/// # Errors
///
/// [`Failure`] with the cause in words; its code is AWS's.
pub async fn start(session: &Session, target: Target<'_>, port: u16) -> Result<DataChannel, Failure> {
    let input = json!({
        "Target": target.id.as_str(),
        "DocumentName": DOCUMENT,
        "Parameters": {"portNumber": [port.to_string()]},
        "Reason": "ssh-eic",
    });
    let output = call(session, "StartSession", target.name, &input).await?;
    let session_id = output["SessionId"].as_str().unwrap_or_default().to_owned();
    match parse("StartSession", output)
        .and_then(|channel| check_stream_url(session, &channel.stream_url).map(|()| channel))
    {
        Ok(channel) => Ok(channel),
        Err(error) => {
            // The session exists and the caller cannot know its id; the first error is the one to report.
            let _ = terminate(session, &session_id, target.name).await;
            Err(final_failure(error))
        }
    }
}

/// Gets a new URL and token for a session whose connection was closed.
///
/// # Errors
///
/// [`Failure`]; [`Kind::Unreachable`] if the session is over.
pub async fn resume(session: &Session, session_id: &str, name: &str) -> Result<DataChannel, Failure> {
    let output = call(session, "ResumeSession", name, &json!({"SessionId": session_id})).await?;
    if output["TokenValue"].as_str().unwrap_or_default().is_empty() {
        return Err(final_failure(errors::session_over(name)));
    }
    let channel: DataChannel = parse("ResumeSession", output).map_err(final_failure)?;
    check_stream_url(session, &channel.stream_url).map_err(final_failure)?;
    Ok(channel)
}

/// Terminates a session; one that is over already is no error.
///
/// # Errors
///
/// [`Failure`].
pub async fn terminate(session: &Session, session_id: &str, name: &str) -> Result<(), Failure> {
    match call(session, "TerminateSession", name, &json!({"SessionId": session_id})).await {
        Err(failure) if failure.code.as_deref() != Some("DoesNotExistException") => Err(failure),
        _ => Ok(()),
    }
}

/// Whether the instance's agent is connected to Session Manager.
///
/// # Errors
///
/// [`Failure`].
pub async fn is_connected(session: &Session, target: Target<'_>) -> Result<bool, Failure> {
    let output = call(session, "GetConnectionStatus", target.name, &json!({"Target": target.id.as_str()})).await?;
    Ok(output["Status"].as_str().is_some_and(|status| status.eq_ignore_ascii_case("connected")))
}

async fn call(session: &Session, action: &'static str, resource: &str, input: &Value) -> Result<Value, Failure> {
    let endpoint = endpoint::of(session);
    let body = input.to_string();
    let mut headers = vec![
        ("content-type".to_owned(), CONTENT_TYPE.to_owned()),
        ("x-amz-target".to_owned(), format!("AmazonSSM.{action}")),
    ];
    let signed = signature::sign_request(session, &endpoint, &headers, body.as_bytes()).await.map_err(final_failure)?;
    headers.extend(signed);
    let http_client =
        session.config.http_client().map_or_else(|| client::http_client(None), |client| Ok(client.clone()));
    let operation = Operation::builder()
        .service_name("ssm")
        .operation_name(action)
        .http_client(http_client.map_err(final_failure)?)
        .endpoint_url(&endpoint)
        .no_auth()
        .no_retry()
        .sleep_impl(RunningSleep)
        .timeout_config(session.config.timeout_config().cloned().unwrap_or_else(TimeoutConfig::disabled))
        .serializer(move |(): ()| {
            let mut request = HttpRequest::new(SdkBody::from(body.as_str()));
            request.set_method("POST")?;
            request.set_uri("/")?;
            for (name, value) in &headers {
                request.headers_mut().try_insert(name.clone(), value.clone())?;
            }
            Ok(request)
        })
        .deserializer(deserialize)
        .build();
    operation.invoke(()).await.map_err(|error| errors::explain(action, resource, session, &error))
}

/// The response's JSON, or AWS's code and message.
fn deserialize(response: &HttpResponse) -> Result<Value, OrchestratorError<ErrorMetadata>> {
    let body: Value = serde_json::from_slice(response.body().bytes().unwrap_or_default()).unwrap_or_default();
    if response.status().is_success() && body.is_object() {
        return Ok(body);
    }
    let code = response.headers().get("x-amzn-errortype").or(body["__type"].as_str()).unwrap_or_default();
    // As in every JSON protocol of AWS: `namespace#Code:url`.
    let code = code.split(':').next().unwrap_or_default().rsplit('#').next().unwrap_or_default();
    let message = body["message"].as_str().or(body["Message"].as_str()).unwrap_or_default();
    Err(OrchestratorError::operation(ErrorMetadata::builder().code(code).message(message).build()))
}

fn parse(action: &str, output: Value) -> Result<DataChannel, Error> {
    serde_json::from_value(output)
        .map_err(|_| Error::new(Kind::Unavailable, format!("ssm:{action}: AWS's response could not be read")))
}

fn final_failure(error: Error) -> Failure {
    Failure { error, retry: Retry::Never, code: None }
}
