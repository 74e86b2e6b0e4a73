//! Error messages of sessions: the upgrade, the gateway's and the agent's reasons, and what went wrong in between.

use crate::domain::session_manager::{CloseReason, End, Failure};
use crate::domain::upgrade::Refusal;
use crate::error::{Error, Kind};
use crate::net::Closed;

const POLICY: &str = "ssh-eic policy";

/// A connection to the gateway that could not be opened. `name` is the instance, `host` the gateway.
pub(super) fn not_opened(name: &str, host: &str, closed: &Closed) -> Error {
    match closed {
        Closed::Refused(refusal) => refused_upgrade(name, refusal),
        Closed::Proxy { .. } => Error::new(Kind::Unavailable, format!("{name}: cannot connect to {host}: {closed}"))
            .hint("check HTTPS_PROXY and its password, or let the proxy allow this host; NO_PROXY bypasses it"),
        Closed::Tls(_) => Error::new(Kind::Unavailable, format!("{name}: cannot connect to {host}: {closed}"))
            .hint("if a proxy inspects TLS, set AWS_CA_BUNDLE to the file with its certificate authority"),
        _ => Error::new(Kind::Unavailable, format!("{name}: cannot connect to {host}: {closed}"))
            .hint(format!("check that this machine reaches {host} on port 443, or set HTTPS_PROXY")),
    }
}

fn refused_upgrade(name: &str, refusal: &Refusal) -> Error {
    let Refusal { status, code, message, request_id } = refusal;
    let code = code.as_ref().map(|code| format!(" {code}")).unwrap_or_default();
    let detail = message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
    let kind = if is_final(&Closed::Refused(Box::new(refusal.clone()))) { Kind::Denied } else { Kind::Unavailable };
    let error = Error::new(kind, format!("{name}: Session Manager refused the data channel ({status}{code}){detail}"));
    let error = if kind == Kind::Denied {
        error.hint(format!(
            "either ssmmessages:OpenDataChannel is denied ({POLICY}), or the signature is invalid (clock, expired \
             credentials), or a proxy removed it"
        ))
    } else {
        error.hint("try again in a moment")
    };
    match request_id {
        Some(id) => error.because(format!("request id {id}")),
        None => error,
    }
}

/// Whether another attempt with the same credentials and permissions fails in the same way.
pub(super) fn is_final(closed: &Closed) -> bool {
    match closed {
        Closed::Refused(refusal) => (400..500).contains(&refusal.status) && !matches!(refusal.status, 408 | 429),
        Closed::Tls(_) | Closed::BadRequest => true,
        _ => false,
    }
}

/// Why a session ended; `None`: the connection on the instance was closed in order, or the input ended. `last` is why
/// the last connection to the gateway ended.
pub(super) fn ended(name: &str, port: u16, end: &End, last: Option<&Closed>) -> Option<Error> {
    match end {
        End::InputEnded => None,
        End::Closed(reason) => closed(name, port, reason),
        End::Failed(failure) => Some(failed(name, failure, last)),
    }
}

fn closed(name: &str, port: u16, reason: &CloseReason) -> Option<Error> {
    let unreachable = |what: String| Error::new(Kind::Unreachable, format!("{name}: {what}"));
    Some(match reason {
        CloseReason::Normal => return None,
        CloseReason::ConnectionRefused(text) => {
            unreachable(format!("the agent cannot connect to port {port} of its own instance: {text}"))
                .hint(format!("check that sshd runs on the instance and listens on localhost, port {port}"))
        }
        CloseReason::IdleTimeout => unreachable("Session Manager ended the session after its idle timeout".to_owned())
            .hint("set ServerAliveInterval to 60, or raise the idle session timeout in the preferences of Session Manager"),
        CloseReason::MaximumDuration => {
            unreachable("Session Manager ended the session after its maximum duration".to_owned())
                .hint("connect again; the preferences of Session Manager set the maximum session duration")
        }
        CloseReason::DataChannelSetup(text) => unreachable(format!("the agent could not open its data channel: {text}"))
            .hint("attach AmazonSSMManagedInstanceCore to the role of the instance profile (ssmmessages:OpenDataChannel)"),
        CloseReason::Other(text) => unreachable(format!("Session Manager ended the session: {text}"))
            .hint("connect again; the log of amazon-ssm-agent on the instance has the details"),
    })
}

fn failed(name: &str, failure: &Failure, last: Option<&Closed>) -> Error {
    let reason = last.map(|closed| format!("; the last attempt: {closed}")).unwrap_or_default();
    let error = |kind, detail: &str| Error::new(kind, format!("{name}: {failure}{detail}"));
    match failure {
        Failure::Malformed(_) => error(Kind::Unavailable, "").hint("connect again; report it if it happens again"),
        Failure::Overflow => error(Kind::File, "").hint("connect again, with TMPDIR on another file system"),
        Failure::EncryptionRequested => error(Kind::Denied, ", which ssh-eic does not support").hint(
            "SSH is encrypted already: turn off KMS encryption for this document in the preferences of Session Manager",
        ),
        Failure::UnknownAction(_) | Failure::UnsupportedSessionType(_) | Failure::RepeatedHandshake => {
            error(Kind::Unavailable, "")
                .hint("update ssh-eic; until then set another route for the host in config.toml")
        }
        Failure::Unacknowledged => error(Kind::Unreachable, "")
            .hint("check that amazon-ssm-agent still runs on the instance, and connect again"),
        Failure::Rejected => error(Kind::Unavailable, "").hint(
            "connect again; check that amazon-ssm-agent on the instance is up to date and its role has ssmmessages:*",
        ),
        Failure::NotResumed => error(Kind::Unavailable, &reason).hint("check the network, and connect again"),
    }
}

/// A worker that takes too long.
pub(super) fn timed_out(name: &str) -> Error {
    Error::new(Kind::Unavailable, format!("{name}: AWS did not start or resume the session in time"))
        .hint("check the network, VPN and HTTPS_PROXY; -v shows the details")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::session_manager::Malformed;

    const NAME: &str = "web-1 (i-0123456789abcdef0)";

    fn refusal(status: u16) -> Closed {
        let message = Some("not authorized".to_owned());
        Closed::Refused(Box::new(Refusal { status, code: None, message, request_id: None }))
    }

    #[test]
    fn a_refused_upgrade_names_permission_signature_and_proxy() {
        let error = not_opened(NAME, "ssmmessages.eu-west-1.amazonaws.com", &refusal(403));
        assert_eq!(
            error.in_one_line(),
            "ssh-eic: web-1 (i-0123456789abcdef0): Session Manager refused the data channel (403): not authorized; hint: \
             either ssmmessages:OpenDataChannel is denied (ssh-eic policy), or the signature is invalid (clock, expired \
             credentials), or a proxy removed it"
        );
        assert_eq!(error.kind, Kind::Denied);
        assert!(is_final(&refusal(401)) && !is_final(&refusal(429)) && !is_final(&refusal(503)));
    }

    #[test]
    fn every_end_but_an_orderly_one_has_an_error_and_a_hint() {
        let text = || "x".to_owned();
        let failures = [
            Failure::Malformed(Malformed::Truncated),
            Failure::Overflow,
            Failure::RepeatedHandshake,
            Failure::EncryptionRequested,
            Failure::UnknownAction(text()),
            Failure::UnsupportedSessionType(text()),
            Failure::Unacknowledged,
            Failure::Rejected,
            Failure::NotResumed,
        ];
        let reasons = [
            CloseReason::ConnectionRefused(text()),
            CloseReason::IdleTimeout,
            CloseReason::MaximumDuration,
            CloseReason::DataChannelSetup(text()),
            CloseReason::Other(text()),
        ];
        for end in failures.map(End::Failed).into_iter().chain(reasons.map(End::Closed)) {
            let error = ended(NAME, 22, &end, None).unwrap_or_else(|| panic!("{end:?}"));
            assert!(error.message.starts_with(NAME) && !error.hints.is_empty(), "{error:?}");
            assert!(error.in_one_line().len() <= 400, "{error:?}");
        }
        assert_eq!(ended(NAME, 22, &End::InputEnded, None), None);
        assert_eq!(ended(NAME, 22, &End::Closed(CloseReason::Normal), None), None);
    }
}
