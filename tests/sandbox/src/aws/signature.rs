//! Signature version 4, as far as signatures in headers and in the query have it in common.

use std::fmt::Write;

use ring::{digest, hmac};

use crate::identity::Credential;

/// The credential scope of a request with this `X-Amz-Date`, which has at least 8 bytes.
pub(super) fn scope(time: &str, region: &str, service: &str) -> String {
    format!("{}/{region}/{service}/aws4_request", &time[..8])
}

/// The signature of a canonical request, in hexadecimal.
pub(super) fn calculate(key: &Credential, time: &str, scope: &str, canonical: &str) -> String {
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hash(canonical.as_bytes()));
    let mut secret = format!("AWS4{}", key.secret_access_key).into_bytes();
    for part in scope.split('/') {
        secret = sign(&secret, part);
    }
    hex(&sign(&secret, &text))
}

/// The canonical query: encoded and sorted.
pub(super) fn canonical_query<'q>(pairs: impl Iterator<Item = &'q (String, String)>) -> String {
    let mut pairs: Vec<_> = pairs.map(|(name, value)| (escape(name), escape(value))).collect();
    pairs.sort();
    let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// Percent-encoded, also a slash.
pub(super) fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}

/// SHA-256 in hexadecimal.
pub(super) fn hash(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn sign(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
