//! Verification of signature version 4 in headers, with the canonical forms of both AWS SDKs: the query decoded as a form and encoded
//! again, each path segment encoded once more.

use super::signature::{self, escape, hash};
use crate::identity::Credential;
use crate::server::Request;

/// Checks the signature of a request for a service and region; `Err`: what is wrong with it.
pub(super) fn verify(request: &Request, key: &Credential, region: &str, service: &str) -> Result<(), String> {
    let authorization = request.header("authorization").ok_or("there is no Authorization header")?;
    let field = |name: &str| {
        let mut fields = authorization.split([' ', ',']);
        fields.find_map(|part| part.strip_prefix(name)).unwrap_or_default()
    };
    let time = request.header("x-amz-date").filter(|time| time.len() == 16 && time.is_ascii());
    let time = time.ok_or("X-Amz-Date is missing or malformed")?;
    let scope = signature::scope(time, region, service);
    if field("Credential=") != format!("{}/{scope}", key.access_key_id) {
        return Err(format!("the credential scope is not {scope}"));
    }
    let signed = field("SignedHeaders=");
    let is_signed = |name: &str| signed.split(';').any(|known| known == name);
    if !is_signed("host")
        || !is_signed("x-amz-date")
        || (key.session_token.is_some() && !is_signed("x-amz-security-token"))
    {
        return Err("host, x-amz-date or x-amz-security-token is not signed".to_owned());
    }
    if signed.contains("websocket") || is_signed("upgrade") || is_signed("connection") {
        return Err("a header of the websocket is signed".to_owned());
    }
    let canonical = canonical_request(request, signed);
    if signature::calculate(key, time, &scope, &canonical) == field("Signature=") {
        return Ok(());
    }
    Err("The request signature we calculated does not match the signature you provided.".to_owned())
}

fn canonical_request(request: &Request, signed: &str) -> String {
    let query = signature::canonical_query(request.query().iter());
    let path: Vec<String> = request.path().split('/').map(escape).collect();
    let value = |name: &str| request.header(name).unwrap_or_default().trim().to_owned();
    let headers: Vec<String> = signed.split(';').map(|name| format!("{name}:{}\n", value(name))).collect();
    let headers = headers.concat();
    let (method, body) = (&request.method, hash(&request.body));
    format!("{method}\n{}\n{query}\n{headers}\n{signed}\n{body}", path.join("/"))
}
