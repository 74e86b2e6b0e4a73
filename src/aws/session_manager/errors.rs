//! What AWS answered, for the errors that only these requests have.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::ErrorMetadata;

use crate::aws::credentials::Session;
use crate::aws::failure::{self, Failure, Retry};
use crate::error::{Error, Kind};

/// Explains a failed request. `resource` is the instance's name in messages.
pub(super) fn explain(
    action: &str,
    resource: &str,
    session: &Session,
    error: &SdkError<ErrorMetadata, HttpResponse>,
) -> Failure {
    let message = error.as_service_error().and_then(ErrorMetadata::message).unwrap_or_default();
    let resource_of_denial = if message.contains(":document/") { "the document AWS-StartSSHSession" } else { resource };
    let failure = failure::explain(&format!("ssm:{action}"), resource_of_denial, session, error);
    let explained = match failure.code.as_deref() {
        Some("TargetNotConnected") => not_connected(resource, session),
        Some("DoesNotExistException") => session_over(resource),
        Some("InvalidDocument") => Error::new(
            Kind::Denied,
            format!("{resource}: the document AWS-StartSSHSession cannot be used in {}", session.region),
        )
        .hint("check that the account shares and does not block this document of AWS"),
        _ => return failure,
    };
    let explained = match failure.error.source {
        Some(source) => explained.because(source),
        None => explained,
    };
    let code = failure.code.as_deref().map(Box::from);
    Failure { error: Error { code, ..explained }, retry: Retry::Never, code: failure.code }
}

fn not_connected(resource: &str, session: &Session) -> Error {
    let region = &session.region;
    Error::new(Kind::Unreachable, format!("{resource}: the Systems Manager agent is not connected in {region}"))
        .hint(
            "check that amazon-ssm-agent runs on the instance, that its instance profile has \
             AmazonSSMManagedInstanceCore, and that it can reach ssmmessages",
        )
        .hint("check that the source names the instance's account and region")
}

/// The session cannot be resumed.
pub(super) fn session_over(resource: &str) -> Error {
    Error::new(Kind::Unreachable, format!("{resource}: the Session Manager session is over and cannot be resumed"))
        .hint("connect again")
}
