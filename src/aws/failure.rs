//! What AWS said, in the words of the contract (section 9): what failed, for which thing, what to do, and whether
//! trying again can help.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::display::DisplayErrorContext;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::aws::limit;
use crate::aws::session::{Session, described};
use crate::domain::diagnosis::Cause;
use crate::domain::handshake::one_line;
use crate::domain::identity::shell_word;
use crate::error::{Error, Kind};

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It cannot.
    Never,
    /// Later and slower.
    Throttled,
    /// The service had a fault.
    Fault,
    /// The service could not be reached.
    Network,
}

/// A failed request.
#[derive(Debug, Clone)]
pub struct Failure {
    /// In words.
    pub error: Error,
    /// Whether trying again can help.
    pub retry: Retry,
    /// AWS's error code, if it answered.
    pub code: Option<String>,
}

/// Seconds by which a clock has to be off before AWS refuses a signature, less some for the way.
const SKEW: i64 = 240;

/// Puts an SDK error into words. `action` as IAM names it, `resource` as a person would.
#[must_use]
pub fn explain<E>(action: &str, resource: &str, session: &Session, error: &SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let details = DisplayErrorContext(error).to_string();
    let region = &session.region;
    match error {
        SdkError::ServiceError(answer) => {
            let meta = answer.err().meta();
            let status = answer.raw().status().as_u16();
            let code = meta.code().unwrap_or("").to_owned();
            let message = one_line(meta.message().unwrap_or(""));
            let said = Said {
                action,
                resource,
                session,
                code: &code,
                message: message.trim().trim_end_matches('.'),
                status,
                skew: skew(answer.raw()),
            };
            let (error, retry) = said.explained();
            let dead = ["ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"];
            if let Some(kept) = session.kept.as_ref().filter(|_| dead.contains(&code.as_str())) {
                kept.forget(&session.access_key);
            }
            let request_id = answer.raw().headers().get("x-amzn-requestid").unwrap_or("none");
            let details = format!("{code} ({status}), request id {request_id}: {message}");
            Failure { error: error.because(details), retry, code: Some(code) }
        }
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => {
            let (told, retry) = on_the_way(action, region, &details);
            Failure { error: told.because(causes(error)), retry, code: None }
        }
        _ => Failure {
            error: Error::new(Kind::Bug, format!("{action}: the request could not be made")).because(causes(error)),
            retry: Retry::Never,
            code: None,
        },
    }
}

/// An error in our own words, on its way through the SDK's types.
#[derive(Debug)]
pub(super) struct Explained(pub(super) Error);

impl std::fmt::Display for Explained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Explained {}

/// The messages of an error and of its causes. Never their `Debug` form, which has the response with its body, and there
/// may be secrets in it.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let below = error.source().map(causes);
    below.map_or_else(|| error.to_string(), |below| format!("{error}: {below}"))
}

/// What went wrong before AWS could answer. The SDK has no types for it, only words; what stays the same however often
/// it is tried is not tried again.
fn on_the_way(action: &str, region: &str, details: &str) -> (Error, Retry) {
    let failed = |what: &str| Error::new(Kind::Unavailable, format!("{action}: {what} in {region}"));
    let has = |words: &str| details.contains(words);
    if has("invalid peer certificate") {
        let why = details.split("invalid peer certificate: ").nth(1).unwrap_or_default();
        let why = why.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        let error = if why.starts_with("Expired") || why.starts_with("NotValidYet") {
            failed(&format!("the certificate of AWS's endpoint is not valid at this time ({why})"))
                .hint("check this machine's clock; timedatectl set-ntp true sets it")
        } else {
            failed(&format!("the certificate of AWS's endpoint is not trusted ({why})"))
                .hint("if a proxy of your company's opens TLS, name its authority's PEM file by AWS_CA_BUNDLE")
        };
        return (error.cause(Cause::AwsUnreachable), Retry::Never);
    }
    if has(limit::TOO_LARGE) {
        let error = failed("the response of AWS is too large");
        return (error.hint("check AWS_ENDPOINT_URL, endpoint_url in ~/.aws/config and HTTPS_PROXY"), Retry::Never);
    }
    if has("proxy authorization required") {
        let error = failed("the proxy on the way to AWS wants a user and a password");
        let error = error.hint("HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT, special characters percent-encoded");
        return (error.cause(Cause::AwsUnreachable), Retry::Never);
    }
    if has("ResolveEndpointError") {
        let error = Error::new(Kind::Config, format!("{action}: the endpoint that is set for {region} cannot be used"));
        let error = if has("FIPS") || has("Dualstack") || has("DualStack") {
            error.hint(
                "AWS_USE_FIPS_ENDPOINT and AWS_USE_DUALSTACK_ENDPOINT do not go with an AWS_ENDPOINT_URL: unset one",
            )
        } else {
            error.hint("AWS_ENDPOINT_URL (and endpoint_url in ~/.aws/config) is a URL, such as https://HOST")
        };
        return (error.cause(Cause::AwsUnreachable), Retry::Never);
    }
    let error = failed("AWS could not be reached");
    let error = error.hint("check the network, VPN and HTTPS_PROXY; -v shows the details").cause(Cause::AwsUnreachable);
    (error, Retry::Network)
}

struct Said<'a> {
    action: &'a str,
    resource: &'a str,
    session: &'a Session,
    code: &'a str,
    message: &'a str,
    status: u16,
    skew: Option<i64>,
}

impl Said<'_> {
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
                let message = format!("{resource} is not in {region}{account}, asked with{}", self.identity());
                let error = Error::new(Kind::NoHost, message).hint("ssh-eic sync, if it was replaced");
                (error.cause(Cause::InstanceGone), Retry::Never)
            }
            "EC2InstanceStateInvalidException" => {
                let message = format!("{resource} is not running");
                let error = Error::new(Kind::Unreachable, message).hint(self.start_hint());
                (error.cause(Cause::InstanceStopped), Retry::Never)
            }
            "EC2InstanceUnavailableException" => {
                let message = format!("EC2 Instance Connect cannot reach {resource} just now");
                let label = resource.split(' ').next().unwrap_or_default();
                let hint =
                    format!("try again in a moment, it may still be starting; ssh-eic doctor {label} looks into it");
                (Error::new(Kind::Unreachable, message).hint(hint).cause(Cause::InstanceUnavailable), Retry::Fault)
            }
            "InvalidArgsException" => {
                let message = format!("EC2 Instance Connect refuses the OS user or the key for {resource}: {message}");
                let error = Error::new(Kind::Usage, message).hint("check user in config.toml and the ssh-eic:user tag");
                (error.cause(Cause::UserRefused), Retry::Never)
            }
            code if is_throttling(code) => (
                Error::new(Kind::Unavailable, format!("{action}: AWS throttles requests in {region}"))
                    .cause(Cause::Throttled),
                Retry::Throttled,
            ),
            "" if *status == 200 => (
                Error::new(Kind::Unavailable, format!("{action}: AWS's answer in {region} could not be read")),
                Retry::Never,
            ),
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
        error.hint(format!("ssh-eic policy prints the policy that is needed; {network}")).cause(Cause::PermissionDenied)
    }

    fn credentials(&self, what: &str) -> Error {
        let identity = &self.session.identity;
        let login = identity.sso.as_ref().map(|role| format!(" --sso-session {}", shell_word(&role.session)));
        let flag = login.unwrap_or_else(|| identity.flag());
        Error::new(Kind::Credentials, format!("the AWS credentials of{} {what}", self.identity()))
            .hint(format!("aws sso login{flag}, or renew them where they come from"))
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
            format!("this machine's clock is {amount} {direction} AWS's, so AWS refuses its signatures"),
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
        let id = self.resource.rsplit(' ').next().unwrap_or(self.resource).trim_matches(['(', ')']);
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

/// How far our clock is ahead of the server's, in seconds, by its Date header (RFC 9110 section 6.6.1).
fn skew(response: &HttpResponse) -> Option<i64> {
    let theirs = response.headers().get("date")?;
    let theirs = aws_smithy_types::DateTime::from_str(theirs, aws_smithy_types::date_time::Format::HttpDate).ok()?;
    let ours = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    Some(i64::try_from(ours).ok()? - theirs.secs())
}
