//! Whether a connection goes through an HTTP proxy, as the environment says.
//!
//! `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` are read by the matcher that the SDK's own client uses, so that a tunnel
//! and a call to AWS cannot differ.

use std::fmt;

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

use crate::domain::upgrade::bracketed;

/// An HTTP proxy. Its `Debug` and its name contain no password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Name or address, an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The connection to the proxy itself is TLS (`https://`).
    pub tls: bool,
    /// The value of `Proxy-Authorization`.
    authorization: Option<String>,
}

impl Proxy {
    /// Host and port, for messages.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}:{}", bracketed(&self.host), self.port)
    }

    /// The request for a connection to this host.
    pub(super) fn connect_request(&self, host: &str, port: u16) -> Vec<u8> {
        let target = format!("{}:{port}", bracketed(host));
        let mut text = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(authorization) = &self.authorization {
            text.push_str("Proxy-Authorization: ");
            text.push_str(authorization);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        text.into_bytes()
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// The proxy's URL has a scheme, such as socks5, through which the SDK's client does not connect either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsupportedScheme(pub String);

/// The proxy on the way to this host over TLS; none: the connection is direct.
///
/// # Errors
///
/// [`UnsupportedScheme`].
pub fn for_host(host: &str) -> Result<Option<Proxy>, UnsupportedScheme> {
    of(&Matcher::from_env(), host)
}

pub(super) fn of(matcher: &Matcher, host: &str) -> Result<Option<Proxy>, UnsupportedScheme> {
    let Ok(uri) = Uri::builder().scheme("https").authority(bracketed(host)).path_and_query("/").build() else {
        return Ok(None);
    };
    let Some(found) = matcher.intercept(&uri) else { return Ok(None) };
    let scheme = found.uri().scheme_str().unwrap_or("http");
    if !matches!(scheme, "http" | "https") {
        return Err(UnsupportedScheme(scheme.to_owned()));
    }
    let tls = scheme == "https";
    let host = found.uri().host().unwrap_or_default();
    Ok(Some(Proxy {
        host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        port: found.uri().port_u16().unwrap_or(if tls { 443 } else { 80 }),
        tls,
        authorization: found.basic_auth().and_then(|value| value.to_str().ok()).map(str::to_owned),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(https: &str, no: &str, host: &str) -> Result<Option<Proxy>, UnsupportedScheme> {
        of(&Matcher::builder().https(https).no(no).build(), host)
    }

    #[test]
    fn a_proxy_has_host_port_and_a_password_that_is_not_shown() {
        let proxy = matched("http://alice:s3cr%40t@proxy.example:3128", "", "aws.example").unwrap().unwrap();
        assert_eq!((proxy.name().as_str(), proxy.tls), ("proxy.example:3128", false));
        assert_eq!(format!("{proxy:?}"), "proxy.example:3128");
        let request = String::from_utf8(proxy.connect_request("fd00::1", 443)).unwrap();
        assert_eq!(
            request,
            "CONNECT [fd00::1]:443 HTTP/1.1\r\nHost: [fd00::1]:443\r\nProxy-Authorization: Basic YWxpY2U6czNjckB0\r\n\r\n"
        );
        for (url, name, tls) in [
            ("proxy", "proxy:80", false),
            ("proxy:3128", "proxy:3128", false),
            ("https://proxy", "proxy:443", true),
            ("http://[fd00::2]:8080", "[fd00::2]:8080", false),
        ] {
            let proxy = matched(url, "", "aws.example").unwrap().unwrap();
            assert_eq!((proxy.name().as_str(), proxy.tls), (name, tls), "{url}");
        }
    }

    #[test]
    fn no_proxy_matches_domains_and_networks_and_not_parts_of_names() {
        for (no, host, direct) in [
            ("example.com", "a.example.com", true),
            ("ample.com", "a.example.com", false),
            ("*", "a.example.com", true),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("x, fd00::/8", "fd00::1", true),
        ] {
            assert_eq!(matched("http://p", no, host).unwrap().is_none(), direct, "{no} {host}");
        }
        assert_eq!(matched("", "", "a.example.com"), Ok(None));
        assert_eq!(matched("socks5://p:1", "", "a.example.com"), Err(UnsupportedScheme("socks5".to_owned())));
    }
}
