//! Who calls: the access key of the `Authorization` header, or the portal's bearer token.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::dialect::{Fault, Service};
use crate::server::{Request, World};

/// How far apart the clocks may be.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// An identity, and the region it calls in.
#[derive(Debug, Clone, Default)]
pub(super) struct Caller {
    pub(super) access_key_id: String,
    pub(super) account: String,
    pub(super) arn: String,
    pub(super) user_id: String,
    pub(super) region: String,
}

/// The credential scope of a signature of version 4.
pub(super) struct Scope {
    pub(super) access_key_id: String,
    pub(super) region: String,
    pub(super) service: String,
}

impl Scope {
    /// From the header, or from a presigned query.
    pub(super) fn of(request: &Request) -> Option<Self> {
        let header = request.header("authorization").and_then(|value| {
            value.strip_prefix("AWS4-HMAC-SHA256")?.split([' ', ',']).find_map(|part| part.strip_prefix("Credential="))
        });
        let credential = match header {
            Some(credential) => credential.to_owned(),
            None => request.query().into_iter().find(|(key, _)| key == "X-Amz-Credential")?.1,
        };
        let mut parts = credential.split('/').map(String::from);
        let access_key_id = parts.next()?;
        let _date = parts.next()?;
        Some(Self { access_key_id, region: parts.next()?, service: parts.next()? })
    }
}

/// What an unidentified caller claims to be, for the log.
pub(super) fn claimed(request: &Request) -> Caller {
    let scope = Scope::of(request);
    scope.map_or_else(Caller::default, |scope| Caller {
        access_key_id: scope.access_key_id,
        region: scope.region,
        ..Caller::default()
    })
}

/// The caller, or the service's error for an unknown caller.
pub(super) fn identify(world: &World, service: Service, request: &Request, now: Timestamp) -> Result<Caller, Fault> {
    if matches!(service, Service::Sso | Service::Oidc) {
        return Ok(Caller {
            access_key_id: request.header("x-amz-sso_bearer_token").unwrap_or_default().to_owned(),
            ..Caller::default()
        });
    }
    let Some(scope) = Scope::of(request) else {
        return if super::sts::is_unsigned(request) { Ok(Caller::default()) } else { Err(service.unsigned()) };
    };
    let state = world.lock();
    let known = state.credentials.get(&scope.access_key_id).ok_or_else(|| service.unknown_key())?;
    if known.session_token.as_deref() != request.header("x-amz-security-token") {
        return Err(service.unknown_key());
    }
    let expired = state.switches.expired.iter().flatten().any(|key| *key == scope.access_key_id);
    if expired || known.expires.is_some_and(|expires| expires <= now.as_second()) {
        return Err(service.expired());
    }
    if let Some(signed) = request.header("x-amz-date").and_then(signing_time)
        && signed.duration_since(now).abs() > TOLERANCE
    {
        return Err(service.skewed(signed, now, TOLERANCE));
    }
    if service == Service::Ssm && scope.service == "ssm" {
        super::header_signature::verify(request, known, &scope.region, &scope.service)
            .map_err(|why| Fault::new(400, "InvalidSignatureException", why))?;
    }
    Ok(Caller {
        access_key_id: scope.access_key_id,
        account: known.account.clone(),
        arn: known.arn.clone(),
        user_id: known.user_id.clone(),
        region: scope.region,
    })
}

fn signing_time(text: &str) -> Option<Timestamp> {
    let civil = DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}
