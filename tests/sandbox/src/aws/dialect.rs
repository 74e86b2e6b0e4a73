//! How each service words the same thing: success, failure, and the errors that all of them know.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{ec2, sts, xml};
use crate::server::Reply;

/// An error on its way to the client.
#[derive(Debug)]
pub(super) struct Fault {
    /// HTTP status.
    pub(super) status: u16,
    pub(super) code: String,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into() }
    }
}

/// The services that the stand-in plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Ec2,
    Eic,
    Ssm,
    Sts,
    Sso,
    Oidc,
}

const INVALID_TOKEN: &str = "The security token included in the request is invalid.";
const EXPIRED_TOKEN: &str = "The security token included in the request is expired";
const NO_CREDENTIALS: &str = "AWS was not able to validate the provided access credentials";

impl Service {
    /// The name in the log.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ec2 => "ec2",
            Self::Eic => "ec2-instance-connect",
            Self::Ssm => "ssm",
            Self::Sts => "sts",
            Self::Sso => "sso",
            Self::Oidc => "sso-oidc",
        }
    }

    /// The answer to an unsigned request.
    pub(super) fn unsigned(self) -> Fault {
        match self {
            Self::Ec2 => Fault::new(401, "AuthFailure", NO_CREDENTIALS),
            Self::Eic | Self::Ssm => {
                Fault::new(400, "MissingAuthenticationTokenException", "Missing Authentication Token")
            }
            _ => Fault::new(403, "MissingAuthenticationToken", "Request is missing Authentication Token"),
        }
    }

    /// The answer to an access key, or session token, that does not exist.
    pub(super) fn unknown_key(self) -> Fault {
        match self {
            Self::Ec2 => Fault::new(401, "AuthFailure", NO_CREDENTIALS),
            Self::Eic | Self::Ssm => Fault::new(400, "UnrecognizedClientException", INVALID_TOKEN),
            _ => Fault::new(403, "InvalidClientTokenId", INVALID_TOKEN),
        }
    }

    /// The answer to a session that is over.
    pub(super) fn expired(self) -> Fault {
        match self {
            Self::Ec2 => Fault::new(400, "RequestExpired", "Request has expired."),
            Self::Eic | Self::Ssm => Fault::new(400, "ExpiredTokenException", EXPIRED_TOKEN),
            _ => Fault::new(403, "ExpiredToken", EXPIRED_TOKEN),
        }
    }

    /// The answer to a signature from another time.
    pub(super) fn skewed(self, signed: Timestamp, now: Timestamp, tolerance: SignedDuration) -> Fault {
        let text = |time: Timestamp| time.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
        let (then, here) = (text(signed), text(now));
        let message = if signed < now {
            let limit = text(now.saturating_sub(tolerance).unwrap_or(now));
            format!("Signature expired: {then} is now earlier than {limit} ({here} - 5 min.)")
        } else {
            let limit = text(now.saturating_add(tolerance).unwrap_or(now));
            format!("Signature not yet current: {then} is still later than {limit} ({here} + 5 min.)")
        };
        match self {
            Self::Ec2 => Fault::new(400, "RequestExpired", "Request has expired."),
            Self::Eic | Self::Ssm => Fault::new(400, "InvalidSignatureException", message),
            _ => Fault::new(403, "SignatureDoesNotMatch", message),
        }
    }

    /// The answer to a caller who may not. `sentence` is IAM's own.
    pub(super) fn denied(self, sentence: &str) -> Fault {
        match self {
            Self::Ec2 => Fault::new(
                403,
                "UnauthorizedOperation",
                format!("You are not authorized to perform this operation. {sentence}"),
            ),
            Self::Eic | Self::Ssm => Fault::new(400, "AccessDeniedException", sentence),
            Self::Sts => Fault::new(403, "AccessDenied", sentence),
            Self::Sso | Self::Oidc => Fault::new(403, "ForbiddenException", "No access"),
        }
    }

    /// The answer to one call too many.
    pub(super) fn throttled(self) -> Fault {
        match self {
            Self::Ec2 => Fault::new(503, "RequestLimitExceeded", "Request limit exceeded."),
            Self::Eic | Self::Ssm => Fault::new(400, "ThrottlingException", "Rate exceeded"),
            Self::Sts => Fault::new(400, "Throttling", "Rate exceeded"),
            Self::Sso | Self::Oidc => Fault::new(429, "TooManyRequestsException", "HTTP 429 Unknown Code"),
        }
    }

    /// The response to an unknown action.
    pub(super) fn unknown_action(self, action: &str) -> Fault {
        let message = format!("The action {action} is not valid for this web service.");
        match self {
            Self::Ec2 | Self::Sts => Fault::new(400, "InvalidAction", message),
            Self::Eic | Self::Ssm | Self::Sso | Self::Oidc => Fault::new(400, "UnknownOperationException", ""),
        }
    }

    /// Wraps a result.
    pub(super) fn success(self, action: &str, request_id: &str, body: String) -> Reply {
        match self {
            Self::Ec2 => xml_reply(200, ec2::wrap(action, request_id, &body), request_id),
            Self::Sts => xml_reply(200, sts::wrap(action, request_id, &body), request_id),
            Self::Eic | Self::Ssm => json_reply(200, body, request_id, "application/x-amz-json-1.1"),
            Self::Sso | Self::Oidc => json_reply(200, body, request_id, "application/json"),
        }
    }

    /// Wraps an error.
    pub(super) fn failure(self, fault: &Fault, request_id: &str) -> Reply {
        let (code, message) = (xml::escape(&fault.code), xml::escape(&fault.message));
        let fault_type = if fault.status < 500 { "Sender" } else { "Receiver" };
        match self {
            Self::Ec2 => {
                let body = format!(
                    "{}<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>\
                     <RequestID>{request_id}</RequestID></Response>",
                    xml::PROLOGUE
                );
                xml_reply(fault.status, body, request_id)
            }
            Self::Sts => {
                let body = format!(
                    "<ErrorResponse xmlns=\"{}\"><Error><Type>{fault_type}</Type><Code>{code}</Code>\
                     <Message>{message}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>",
                    sts::NAMESPACE
                );
                xml_reply(fault.status, body, request_id)
            }
            Self::Eic | Self::Ssm => {
                let body = json!({"__type": fault.code, "Message": fault.message}).to_string();
                with_type(json_reply(fault.status, body, request_id, "application/x-amz-json-1.1"), fault)
            }
            Self::Sso => {
                let body = json!({"message": fault.message, "__type": fault.code}).to_string();
                with_type(json_reply(fault.status, body, request_id, "application/json"), fault)
            }
            Self::Oidc => {
                let body = json!({"error": "invalid_grant", "error_description": fault.message}).to_string();
                with_type(json_reply(fault.status, body, request_id, "application/json"), fault)
            }
        }
    }
}

fn xml_reply(status: u16, body: String, request_id: &str) -> Reply {
    let headers = vec![
        ("content-type", String::from("text/xml;charset=UTF-8")),
        ("x-amzn-requestid", request_id.to_owned()),
        ("server", String::from("AmazonEC2")),
    ];
    Reply { status, headers, body, endless: false }
}

fn json_reply(status: u16, body: String, request_id: &str, content_type: &str) -> Reply {
    let headers = vec![("content-type", content_type.to_owned()), ("x-amzn-requestid", request_id.to_owned())];
    Reply { status, headers, body, endless: false }
}

fn with_type(mut reply: Reply, fault: &Fault) -> Reply {
    reply.headers.push(("x-amzn-errortype", fault.code.clone()));
    reply
}
