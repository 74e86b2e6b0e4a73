//! Signature version 4 for the service's requests and for the upgrade of the data channel's websocket.
//!
//! The gateway expects the canonical forms of the SDKs: the query decoded as a form and encoded again, so that `+`
//! becomes `%20`, and each path segment encoded once more. `aws-sigv4` produces both from the raw URL (tests below).

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;

use crate::aws::credentials::{Session, described};
use crate::error::{Error, Kind, Result};

/// A header of the upgrade request.
pub type UpgradeHeader = (String, String);

/// The headers that authorise the upgrade to this URL, with credentials that are valid now: `Authorization`,
/// `X-Amz-Date` and for temporary credentials `X-Amz-Security-Token`. None for a URL that is signed already.
///
/// # Errors
///
/// [`Kind::Credentials`] if there are none; [`Kind::Unavailable`] if the URL cannot be parsed.
pub async fn sign_upgrade(session: &Session, url: &str) -> Result<Vec<UpgradeHeader>> {
    if is_presigned(url) {
        return Ok(Vec::new());
    }
    let credentials = credentials(session).await?;
    signed(&credentials, "GET", url, &[], b"", "ssmmessages", &session.region, SystemTime::now())
}

/// A URL with a signature in its query is not signed, and its session cannot be resumed.
fn is_presigned(url: &str) -> bool {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    query.split('&').any(|pair| pair.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-")))
}

/// The further headers of a request to the service.
pub(super) async fn sign_request(
    session: &Session,
    url: &str,
    headers: &[(String, String)],
    body: &[u8],
) -> Result<Vec<(String, String)>> {
    let credentials = credentials(session).await?;
    // The path that the request will have.
    let url = format!("{}/", url.trim_end_matches('/'));
    signed(&credentials, "POST", &url, headers, body, "ssm", &session.region, SystemTime::now())
}

async fn credentials(session: &Session) -> Result<Credentials> {
    let missing = || Error::new(Kind::Credentials, format!("no AWS credentials for {}", described(&session.identity)));
    let provider = session.config.credentials_provider().ok_or_else(missing)?;
    provider.provide_credentials().await.map_err(|error| missing().because(error))
}

#[expect(clippy::too_many_arguments, reason = "each is one input of the signature")]
fn signed(
    credentials: &Credentials,
    method: &str,
    url: &str,
    headers: &[(String, String)],
    body: &[u8],
    service: &str,
    region: &str,
    time: SystemTime,
) -> Result<Vec<(String, String)>> {
    let failed = || Error::new(Kind::Unavailable, format!("the request to {service} cannot be signed"));
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(time)
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| failed().because(error))?;
    let plain = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let request =
        SignableRequest::new(method, url, plain, SignableBody::Bytes(body)).map_err(|error| failed().because(error))?;
    let output = sign(request, &params.into()).map_err(|error| failed().because(error))?;
    let (instructions, _) = output.into_parts();
    Ok(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use aws_credential_types::Credentials;

    use super::{is_presigned, signed};

    /// The signature of an upgrade at 2026-11-25 01:00:00 UTC.
    fn signature(path_and_query: &str) -> String {
        let credentials =
            Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI/EXAMPLEKEY", Some("token".into()), None, "test");
        let url = format!("wss://ssmmessages.eu-west-1.amazonaws.com{path_and_query}");
        let time = UNIX_EPOCH + Duration::from_hours(498_769);
        let headers = signed(&credentials, "GET", &url, &[], b"", "ssmmessages", "eu-west-1", time).expect("signed");
        let value = |name: &str| {
            headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
        };
        assert_eq!(
            (headers.len(), value("x-amz-date"), value("x-amz-security-token")),
            (3, Some("20261125T010000Z"), Some("token"))
        );
        let authorization = value("authorization").expect("a signature");
        let (scope, signature) = authorization.rsplit_once("Signature=").expect("a signature");
        assert_eq!(
            scope,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261125/eu-west-1/ssmmessages/aws4_request, \
             SignedHeaders=host;x-amz-date;x-amz-security-token, "
        );
        signature.to_owned()
    }

    // The expected values come from a program of a few lines over Python's hmac that writes out the canonical forms.
    #[test]
    fn the_canonical_forms_of_the_gateway_follow_from_the_raw_url() {
        let query = "?role=publish_subscribe&cell-number=AAE+a/b+c==";
        let plain = format!("/v1/data-channel/alice-0a1b{query}");
        assert_eq!(signature(&plain), "0e521fd4d031ef4b318299ef227ae2bb115ae73a192245c23cf4e5b13be0a7ac");
        let raw = format!("/v1/data-channel/alice@example.com-0a1b{query}");
        assert_eq!(signature(&raw), "07cb4d7a388775a17f919618b1107188914cf5a2113ef20063ae10ea185d0e01");
        let encoded = format!("/v1/data-channel/alice%40example.com-0a1b{query}");
        assert_eq!(signature(&encoded), "1f8494a56389bd9d55408cec2be083f75463802d8deb500653877ca6ce573c2c");
        assert_eq!(
            signature("/v1/data-channel/alice-0a1b?role=publish_subscribe&cell-number=AAE%20a%2Fb%20c%3D%3D"),
            "0e521fd4d031ef4b318299ef227ae2bb115ae73a192245c23cf4e5b13be0a7ac"
        );
    }

    #[test]
    fn a_presigned_url_is_left_alone() {
        assert!(is_presigned("wss://h/p?role=x&X-Amz-Signature=1") && is_presigned("wss://h/p?x-amz-date=1"));
        assert!(!is_presigned("wss://h/X-Amz-Date?role=x") && !is_presigned("wss://h/p"));
    }
}
