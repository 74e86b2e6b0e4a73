//! Verification of a `SigV4` query presign, as the endpoint of a tunnel does it.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::signature;
use crate::identity::Credential;
use crate::server::Request;

/// SHA-256 of the empty body.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// How far in the future a signature may be dated.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);
const SERVICE: &str = "ec2-instance-connect";

/// What is wrong with a signature: an error code and its text.
pub(super) type Invalid = (&'static str, String);

/// Checks a presigned GET for a region: scope, time, signed host, session token, and the signature itself.
pub(super) fn verify(request: &Request, key: &Credential, region: &str, now: Timestamp) -> Result<(), Invalid> {
    let query = request.query();
    let mut names: Vec<&str> = query.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let twice = names.iter().zip(names.iter().skip(1)).find(|(name, next)| name == next);
    if let Some((name, _)) = twice {
        return Err(("InvalidParameter", format!("the parameter {name} is given twice")));
    }
    let param = |name: &str| query.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str());
    let mismatch = |text: &str| ("InvalidSignatureException", text.to_owned());
    if request.method != "GET" {
        return Err(mismatch("the request is not a GET"));
    }
    if param("X-Amz-Algorithm") != "AWS4-HMAC-SHA256" {
        return Err(mismatch("X-Amz-Algorithm is not AWS4-HMAC-SHA256"));
    }
    let time = param("X-Amz-Date");
    let signed = DateTime::strptime("%Y%m%dT%H%M%SZ", time).ok().and_then(|at| at.to_zoned(TimeZone::UTC).ok());
    let signed = signed.ok_or_else(|| mismatch("X-Amz-Date is malformed"))?.timestamp();
    let scope = signature::scope(time, region, SERVICE);
    if param("X-Amz-Credential") != format!("{}/{scope}", key.access_key_id) {
        return Err(mismatch(&format!("the credential scope is not {scope}")));
    }
    let expires: i64 = param("X-Amz-Expires")
        .parse()
        .ok()
        .filter(|seconds| (1..=604_800).contains(seconds))
        .ok_or_else(|| mismatch("X-Amz-Expires is missing or not between 1 and 604800"))?;
    if signed.duration_since(now) > TOLERANCE {
        return Err(mismatch(&format!("signature not yet current: {time}")));
    }
    if now.duration_since(signed) > SignedDuration::from_secs(expires) {
        return Err(("ExpiredTokenException", format!("signature expired: {time} and {expires} s are over")));
    }
    if key.session_token.as_deref().unwrap_or_default() != param("X-Amz-Security-Token") {
        return Err(("UnrecognizedClientException", "the security token included in the request is invalid".into()));
    }
    let headers = param("X-Amz-SignedHeaders");
    if !headers.split(';').any(|name| name == "host") {
        return Err(mismatch("the header host is not signed"));
    }
    let canonical = canonical_request(request, &query, headers);
    if signature::calculate(key, time, &scope, &canonical) == param("X-Amz-Signature") {
        return Ok(());
    }
    Err(mismatch("the request signature we calculated does not match the signature you provided"))
}

/// The canonical request: method, path, sorted query without the signature, signed headers, hash of the empty body.
fn canonical_request(request: &Request, query: &[(String, String)], headers: &str) -> String {
    let query = signature::canonical_query(query.iter().filter(|(name, _)| name != "X-Amz-Signature"));
    let values = headers.split(';').map(|name| format!("{name}:{}\n", request.header(name).unwrap_or_default().trim()));
    let values: String = values.collect();
    format!("GET\n{}\n{query}\n{values}\n{headers}\n{EMPTY}", request.path())
}
