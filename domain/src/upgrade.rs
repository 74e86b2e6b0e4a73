//! The HTTP request that opens a websocket (RFC 6455 section 4), and what its response means.
//!
//! Not here: reading the response (`domain::http_response`), frames (`domain::websocket`).

use std::fmt;

use base64ct::{Base64, Encoding};
use serde::Deserialize;
use sha1::{Digest, Sha1};

use crate::http_response::Response;

/// Appended to the key before it is hashed (RFC 6455 section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// As much as is kept of a body that has no known form, in characters.
const LONGEST_TEXT: usize = 300;

/// A `wss://` URL. Its target can contain a signature, so that it is not part of any output.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// Name or address, an IPv6 address without brackets.
    pub host: String,
    /// The port; 443 if there is none in the URL.
    pub port: u16,
    /// Path and query, byte for byte.
    pub target: String,
}

impl Url {
    /// Splits a `wss://` or `https://` URL. None: it is not one, it has user information, or its host is neither a DNS name nor
    /// an address.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let known = ["wss", "https"].iter().any(|one| scheme.eq_ignore_ascii_case(one));
        if !known || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let rest = rest.split('#').next().unwrap_or(rest);
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok()?,
            None if port.is_empty() => 443,
            None => return None,
        };
        let is_valid = if authority.starts_with('[') {
            host.parse::<core::net::Ipv6Addr>().is_ok()
        } else {
            !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        };
        if !is_valid {
            return None;
        }
        let slash = if target.starts_with('/') { "" } else { "/" };
        Some(Self { host: host.to_owned(), port, target: format!("{slash}{target}") })
    }

    /// The `Host` header: the port only if it is not 443, as the signature has it.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = bracketed(&self.host);
        if self.port == 443 { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wss://{}/…", self.authority())
    }
}

/// An IPv6 address in brackets, anything else unchanged.
#[must_use]
pub fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// The value of `Sec-WebSocket-Key` from 16 random bytes.
#[must_use]
pub fn key(random: [u8; 16]) -> String {
    Base64::encode_string(&random)
}

/// The value of `Sec-WebSocket-Accept` that belongs to a key.
#[must_use]
pub fn accept(key: &str) -> String {
    Base64::encode_string(&Sha1::digest(format!("{key}{GUID}")))
}

/// The upgrade request. None: a header contains a control character.
#[must_use]
pub fn request(url: &Url, key: &str, headers: &[(String, String)]) -> Option<Vec<u8>> {
    let mut text = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {key}\r\n",
        url.target,
        url.authority(),
    );
    for (name, value) in headers {
        if name.is_empty() || name.contains(':') || format!("{name}{value}").bytes().any(|byte| byte.is_ascii_control())
        {
            return None;
        }
        text.extend([name.as_str(), ": ", value.as_str(), "\r\n"]);
    }
    text.push_str("\r\n");
    Some(text.into_bytes())
}

/// Why the server did not open the websocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The service's error code, such as `AccessDenied`.
    pub code: Option<String>,
    /// The service's message, or the start of a body in another form; printable, one line.
    pub message: Option<String>,
    /// `x-amzn-RequestId`.
    pub request_id: Option<String>,
}

/// The error bodies of AWS services.
#[derive(Deserialize)]
struct ErrorBody {
    #[serde(alias = "ErrorCode", alias = "__type", alias = "Code", alias = "code")]
    code: Option<String>,
    #[serde(alias = "Message", alias = "message")]
    message: Option<String>,
}

/// Checks that the response opens the websocket with this key.
///
/// # Errors
///
/// [`Refusal`]; one with status 101 if the server switched to something else.
pub fn check(response: &Response, key: &str) -> Result<(), Refusal> {
    let has = |name: &str, wanted: &str| {
        let value = response.header(name).unwrap_or_default();
        value.split(',').any(|one| one.trim().eq_ignore_ascii_case(wanted))
    };
    if response.status != 101 {
        return Err(refusal(response));
    }
    let accepted = response.header("sec-websocket-accept") == Some(accept(key).as_str());
    if accepted && has("upgrade", "websocket") && has("connection", "upgrade") {
        return Ok(());
    }
    Err(refusal(response))
}

/// What a response that is no success says.
#[must_use]
pub fn refusal(response: &Response) -> Refusal {
    let parsed: Option<ErrorBody> = serde_json::from_slice(&response.body).ok();
    let kind = response.header("x-amzn-errortype").map(str::to_owned);
    let (code, message) = match parsed {
        Some(body) => (body.code.or(kind), body.message),
        None => (kind, Some(String::from_utf8_lossy(&response.body).into_owned())),
    };
    // `com.amazonaws.ssm#AccessDeniedException:http://…` is the same code as its last word.
    let code = code.map(|code| {
        let name = code.split(':').next().unwrap_or(&code);
        name.rsplit('#').next().unwrap_or(name).to_owned()
    });
    let kept = |text: Option<String>| text.map(|text| one_line(&text)).filter(|text| !text.is_empty());
    Refusal {
        status: response.status,
        code: kept(code),
        message: kept(message),
        request_id: kept(response.header("x-amzn-requestid").map(str::to_owned)),
    }
}

/// Printable characters, runs of anything else as one space.
fn one_line(text: &str) -> String {
    let printable: String = text.chars().map(|c| if c.is_control() || c.is_whitespace() { ' ' } else { c }).collect();
    let words: Vec<&str> = printable.split(' ').filter(|word| !word.is_empty()).collect();
    words.join(" ").chars().take(LONGEST_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, headers: &[(&str, &str)], body: &str) -> Response {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Response { status, headers, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn the_key_of_the_rfc_is_accepted_and_another_is_not() {
        let headers = [
            ("Upgrade", "WebSocket"),
            ("Connection", "keep-alive, Upgrade"),
            ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ];
        let key = key(*b"the sample nonce");
        assert_eq!(key, "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(check(&response(101, &headers, ""), &key), Ok(()));
        assert_eq!(check(&response(101, &headers, ""), "x").unwrap_err().status, 101);
        assert_eq!(check(&response(101, &headers[1..], ""), &key).unwrap_err().status, 101);
    }

    #[test]
    fn a_refusal_has_code_message_and_request_id() {
        let body = r#"{"ErrorCode":"AccessDenied","Message":"not\nauthorized"}"#;
        let refused = check(&response(403, &[("x-amzn-RequestId", "r-1")], body), "k").unwrap_err();
        let text = |text: &str| Some(text.to_owned());
        let expected = Refusal {
            status: 403,
            code: text("AccessDenied"),
            message: text("not authorized"),
            request_id: text("r-1"),
        };
        assert_eq!(refused, expected);
        let typed = response(400, &[("x-amzn-ErrorType", "a.b#ExpiredToken:http://x")], "<html>\x1b[31m gone");
        let refused = refusal(&typed);
        assert_eq!((refused.code, refused.message), (text("ExpiredToken"), text("<html> [31m gone")));
        assert_eq!(refusal(&response(502, &[], "")).message, None);
    }

    #[test]
    fn urls_are_split_and_never_shown() {
        let table = [
            ("wss://a.example/openTunnel?x=+/%2F", "a.example", 443, "/openTunnel?x=+/%2F", "a.example"),
            ("https://[fd00::1]:8443?q", "fd00::1", 8443, "/?q", "[fd00::1]:8443"),
            ("WSS://h:443", "h", 443, "/", "h"),
        ];
        for (text, host, port, target, authority) in table {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.host.as_str(), url.port, url.target.as_str()), (host, port, target));
            assert_eq!(url.authority(), authority);
            assert!(!format!("{url:?}").contains("openTunnel"));
        }
        for wrong in [
            "ws://h/",
            "wss:///x",
            "wss://u@h/",
            "wss://h:x/",
            "wss://h/a b",
            "wss://[::1/",
            "h",
            "wss://[::1]x/",
            "wss://a=b/",
            "wss://a%b/",
            "wss://a&x?y",
            "wss://[h]/",
        ] {
            assert_eq!(Url::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_header_with_a_line_end_is_not_sent() {
        let url = Url::parse("wss://h/t").unwrap();
        let header = |name: &str, value: &str| [(name.to_owned(), value.to_owned())];
        let text = String::from_utf8(request(&url, "k", &header("X-Amz-Date", "d")).unwrap()).unwrap();
        assert!(
            text.starts_with("GET /t HTTP/1.1\r\nHost: h\r\n") && text.ends_with("X-Amz-Date: d\r\n\r\n"),
            "{text}"
        );
        assert_eq!(request(&url, "k", &header("A", "b\r\nC: d")), None);
        assert_eq!(request(&url, "k", &header("A:b", "c")), None);
    }
}
