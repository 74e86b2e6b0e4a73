//! Errors of the SDK as errors of this program: what failed, for which thing, what to do, and whether a retry can help.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::display::DisplayErrorContext;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::aws::limit;
use crate::aws::session::{Session, described};
use crate::domain::diagnosis::Cause;
use crate::domain::handshake::one_line;
use crate::domain::ids::InstanceId;
use crate::domain::suggestion::nearest_region;
use crate::domain::text::shell_word;
use crate::error::{Error, Kind};

/// Whether a retry can help, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same request fails again.
    Never,
    /// AWS throttles: later, and at a lower rate.
    Throttled,
    /// The service failed.
    Fault,
    /// The service could not be reached.
    Network,
}

/// The resource of a request, for messages.
#[derive(Debug, Clone, Copy)]
pub enum Resource<'a> {
    /// As in an IAM policy: an id, or `*`.
    Named(&'a str),
    /// An instance and its name.
    Instance {
        /// The name; the id where it has none.
        label: &'a str,
        /// The id.
        id: &'a InstanceId,
    },
}

impl<'a> From<&'a str> for Resource<'a> {
    fn from(name: &'a str) -> Self {
        Self::Named(name)
    }
}

impl Resource<'_> {
    /// What to type for it.
    fn label(&self) -> &str {
        match self {
            Self::Named(label) | Self::Instance { label, .. } => label,
        }
    }

    fn id(&self) -> &str {
        match self {
            Self::Named(id) => id,
            Self::Instance { id, .. } => id.as_str(),
        }
    }
}

impl std::fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Instance { label, id } if *label != id.as_str() => write!(f, "{label} ({id})"),
            _ => f.write_str(self.label()),
        }
    }
}

/// A failed request.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The message.
    pub error: Error,
    /// Whether a retry can help.
    pub retry: Retry,
    /// The error code of the response, if there was one.
    pub code: Option<String>,
}

/// Seconds from which a difference of the clocks explains a refused signature. AWS refuses from 300 s (five minutes); a
/// minute less allows for the duration of the request.
const SKEW: i64 = 240;

/// Translates an SDK error. `action` is IAM's name of the request.
#[must_use]
pub fn explain<'a, E>(
    action: &str,
    resource: impl Into<Resource<'a>>,
    session: &Session,
    error: &SdkError<E, HttpResponse>,
) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let details = DisplayErrorContext(error).to_string();
    let region = &session.region;
    match error {
        SdkError::ServiceError(response) => {
            let meta = response.err().meta();
            let status = response.raw().status().as_u16();
            let code = meta.code().unwrap_or("").to_owned();
            let message = one_line(meta.message().unwrap_or(""));
            let response_error = ResponseError {
                action,
                resource: resource.into(),
                session,
                code: &code,
                message: message.trim().trim_end_matches('.'),
                status,
                skew: skew(response.raw()),
            };
            let (error, retry) = response_error.explained();
            let unusable =
                ["ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"];
            if let Some(file) = session.cache_file.as_ref().filter(|_| unusable.contains(&code.as_str())) {
                file.forget(&session.access_key);
            }
            let request_id = response.raw().headers().get("x-amzn-requestid").unwrap_or("none");
            let details = format!("{code} ({status}), request id {request_id}: {message}");
            Failure {
                error: Error { code: Some(code.as_str().into()), ..error.because(details) },
                retry,
                code: Some(code),
            }
        }
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => {
            let (explained, retry) = transport_error(action, region, &details);
            Failure { error: explained.because(causes(error)), retry, code: None }
        }
        _ => Failure {
            error: Error::new(Kind::Bug, format!("{action}: the request could not be made")).because(causes(error)),
            retry: Retry::Never,
            code: None,
        },
    }
}

/// A successful response with a value that cannot be read. `details` must not contain the response.
pub(super) fn unreadable(action: &str, session: &Session, details: impl std::fmt::Display) -> Failure {
    let error = unreadable_response(action, &session.region).because(details);
    Failure { error, retry: Retry::Never, code: None }
}

fn unreadable_response(action: &str, region: &str) -> Error {
    Error::new(Kind::Unavailable, format!("{action}: the response of AWS in {region} could not be read"))
}

/// An error of this program as the cause of an error of the SDK.
#[derive(Debug)]
pub(super) struct Explained(pub(super) Error);

impl std::fmt::Display for Explained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Explained {}

/// The messages of an error and its causes. Never their `Debug` form, which has the body of the response with secrets.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let below = error.source().map(causes);
    below.map_or_else(|| error.to_string(), |below| format!("{error}: {below}"))
}

/// A failure before there was a response. The SDK has no types for these, only the text in `details`.
fn transport_error(action: &str, region: &str, details: &str) -> (Error, Retry) {
    let failed = |what: &str| Error::new(Kind::Unavailable, format!("{action}: {what} in {region}"));
    let has = |text: &str| details.contains(text);
    if has("invalid peer certificate") {
        let why = details.split("invalid peer certificate: ").nth(1).unwrap_or_default();
        let why = why.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        let error = if why.starts_with("Expired") || why.starts_with("NotValidYet") {
            failed(&format!("the certificate of the AWS endpoint is not valid at this time ({why})"))
                .hint("check this machine's clock; timedatectl set-ntp true sets it")
        } else {
            failed(&format!("the certificate of the AWS endpoint is not trusted ({why})"))
                .hint("behind a proxy that inspects TLS, set AWS_CA_BUNDLE to the PEM file of its CA")
        };
        return (error.cause(Cause::AwsUnreachable), Retry::Never);
    }
    if has(limit::TOO_LARGE) {
        let error = failed("the response of AWS is too large");
        return (error.hint("check AWS_ENDPOINT_URL, endpoint_url in ~/.aws/config and HTTPS_PROXY"), Retry::Never);
    }
    if has("proxy authorization required") {
        let error = failed("the HTTPS proxy requires a user and a password");
        let error = error.hint("HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT, special characters percent-encoded");
        return (error.cause(Cause::AwsUnreachable), Retry::Never);
    }
    if has("ResolveEndpointError") {
        let error = Error::new(Kind::Config, format!("{action}: the endpoint that is set for {region} cannot be used"));
        let error = if has("FIPS") || has("Dualstack") || has("DualStack") {
            error.hint(
                "AWS_USE_FIPS_ENDPOINT and AWS_USE_DUALSTACK_ENDPOINT cannot be combined with AWS_ENDPOINT_URL: unset one",
            )
        } else {
            error.hint("AWS_ENDPOINT_URL (and endpoint_url in ~/.aws/config) is a URL, such as https://HOST")
        };
        return (error.cause(Cause::AwsUnreachable), Retry::Never);
    }
    if has("dns error")
        && let Some(near) = nearest_region(region)
    {
        return (no_such_region(region, near), Retry::Never);
    }
    let error = failed("AWS could not be reached");
    let error = error.hint("check the network, VPN and HTTPS_PROXY; -v shows the details").cause(Cause::AwsUnreachable);
    (error, Retry::Network)
}

/// The error for a misspelt region.
#[must_use]
pub fn no_such_region(region: &str, near: &str) -> Error {
    Error::new(Kind::Config, format!("{region} is not an AWS region; did you mean {near}?"))
        .hint("correct regions in config.toml, AWS_REGION, or region in ~/.aws/config")
        .cause(Cause::NoRegion)
}

/// A response with an error.
struct ResponseError<'a> {
    action: &'a str,
    resource: Resource<'a>,
    session: &'a Session,
    code: &'a str,
    message: &'a str,
    status: u16,
    skew: Option<i64>,
}

impl ResponseError<'_> {
    fn explained(&self) -> (Error, Retry) {
        let Self { action, resource, code, message, status, .. } = self;
        let region = &self.session.region;
        match *code {
            "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" | "AuthException" => {
                (self.denied(), Retry::Never)
            }
            "RequestExpired" | "InvalidSignatureException" | "SignatureDoesNotMatch" if self.clock_is_off() => {
                (self.clock(), Retry::Never)
            }
            "RequestExpired" | "ExpiredToken" | "ExpiredTokenException" => {
                (self.credentials("have expired").cause(Cause::CredentialsExpired), Retry::Never)
            }
            "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "AuthFailure"
            | "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "OptInRequired" => (self.credentials(&format!("are not accepted ({code})")), Retry::Never),
            "EC2InstanceNotFoundException" | "InvalidInstanceID.NotFound" | "InvalidInstanceID.Malformed" => {
                let account = self.session.account.as_deref().map(|a| format!(" of account {a}")).unwrap_or_default();
                let message = format!("{resource} is not in {region}{account}, queried with{}", self.identity());
                let error = Error::new(Kind::NoHost, message).hint("if it was replaced, run ssh-eic sync");
                (error.cause(Cause::InstanceGone), Retry::Never)
            }
            "EC2InstanceStateInvalidException" => {
                let message = format!("{resource} is not running");
                let error = Error::new(Kind::Unreachable, message).hint(self.start_hint());
                (error.cause(Cause::InstanceStopped), Retry::Never)
            }
            "EC2InstanceUnavailableException" => {
                let message = format!("EC2 Instance Connect cannot reach {resource} at the moment");
                let label = resource.label();
                let hint = format!("try again in a moment, it may still be starting; ssh-eic doctor {label} checks it");
                (Error::new(Kind::Unreachable, message).hint(hint).cause(Cause::InstanceUnavailable), Retry::Fault)
            }
            "InvalidArgsException" => {
                let message = format!("EC2 Instance Connect rejects the OS user or the key for {resource}: {message}");
                let error = Error::new(Kind::Usage, message).hint("check user in config.toml and the ssh-eic:user tag");
                (error.cause(Cause::UserRefused), Retry::Never)
            }
            code if is_throttling(code) => (
                Error::new(Kind::Unavailable, format!("{action}: AWS throttles requests in {region}"))
                    .cause(Cause::Throttled),
                Retry::Throttled,
            ),
            "" if *status == 200 => (unreadable_response(action, region), Retry::Never),
            code if *status >= 500 => (
                Error::new(Kind::Unavailable, format!("{action}: AWS failed in {region} ({status} {code})")),
                Retry::Fault,
            ),
            code => (Error::new(Kind::Denied, format!("{action} on {resource}: {code}: {message}")), Retry::Never),
        }
    }

    fn denied(&self) -> Error {
        let Self { action, resource, message, .. } = self;
        let action =
            message.split("perform: ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap_or(action);
        let error = Error::new(Kind::Denied, format!("AWS denies {action} on {resource} to{}", self.identity()));
        let network = "if the policy names a source network (aws:SourceIp): are you on the VPN?";
        error.hint(format!("ssh-eic policy prints the required policy; {network}")).cause(Cause::PermissionDenied)
    }

    fn credentials(&self, what: &str) -> Error {
        let identity = &self.session.identity;
        let login = identity.sso.as_ref().map(|role| format!(" --sso-session {}", shell_word(&role.session)));
        let flag = login.unwrap_or_else(|| identity.flag());
        Error::new(Kind::Credentials, format!("the AWS credentials of{} {what}", self.identity()))
            .hint(format!("aws sso login{flag}, or replace the access key of the profile"))
            .cause(Cause::CredentialsRefused)
    }

    fn clock_is_off(&self) -> bool {
        self.skew.is_some_and(|skew| skew.abs() > SKEW)
    }

    fn clock(&self) -> Error {
        let skew = self.skew.unwrap_or(0);
        let (amount, direction) = (skew.unsigned_abs(), if skew > 0 { "ahead of" } else { "behind" });
        let amount = if amount < 600 { format!("{amount} s") } else { format!("{} min", amount / 60) };
        Error::new(
            Kind::Credentials,
            format!("this machine's clock is {amount} {direction} AWS's, so AWS rejects its signatures"),
        )
        .hint("set the clock: timedatectl set-ntp true")
        .cause(Cause::ClockOff)
    }

    fn identity(&self) -> String {
        let key = &self.session.access_key;
        let identity = &self.session.identity;
        match (&identity.profile, &identity.sso) {
            (None, None) => format!(" access key {key}"),
            _ => format!(" {} (access key {key})", described(identity)),
        }
    }

    fn start_hint(&self) -> String {
        let id = self.resource.id();
        let (region, flag) = (&self.session.region, self.session.identity.flag());
        format!("aws ec2 start-instances --instance-ids {id} --region {region}{flag}")
    }
}

fn is_throttling(code: &str) -> bool {
    matches!(
        code,
        "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestLimitExceeded"
            | "TooManyRequestsException"
            | "RequestThrottled"
            | "SlowDown"
    )
}

/// Seconds that this machine's clock is ahead of the server's Date header (RFC 9110 section 6.6.1).
fn skew(response: &HttpResponse) -> Option<i64> {
    let date = response.headers().get("date")?;
    let server = aws_smithy_types::DateTime::from_str(date, aws_smithy_types::date_time::Format::HttpDate).ok()?;
    let local = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    Some(i64::try_from(local).ok()? - server.secs())
}
