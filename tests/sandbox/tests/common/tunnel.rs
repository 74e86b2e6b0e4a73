//! A client of the endpoint: a presigned URL and a real websocket over TLS.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use ring::{digest, hmac};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sandbox::{Credential, Endpoint, Form, Instance, Sandbox, Tunnel};
use tungstenite::{Message, WebSocket};

use crate::common::{query, start};

pub(crate) type Client = WebSocket<StreamOwned<ClientConnection, TcpStream>>;

/// A sandbox of the loopback form with one instance and one endpoint; the instance and the endpoint's name.
pub(crate) fn world() -> (Sandbox, Instance, String) {
    let sandbox = start(Form::Loopback);
    sandbox.add(Instance::new("web")).unwrap();
    sandbox.add_endpoint(Endpoint::default()).unwrap();
    let instance = sandbox.instances().unwrap().pop().unwrap();
    let name = name(&sandbox);
    (sandbox, instance, name)
}

/// The name of the only endpoint, with its port in the loopback form.
pub(crate) fn name(sandbox: &Sandbox) -> String {
    let (_, xml) = query(sandbox, "ec2", "Action=DescribeInstanceConnectEndpoints");
    xml.split("<dnsName>").nth(1).and_then(|rest| rest.split('<').next()).unwrap().to_owned()
}

pub(crate) fn key(sandbox: &Sandbox) -> Credential {
    sandbox.credential("prod").unwrap().clone()
}

/// The parameters of a tunnel to an instance.
pub(crate) fn parameters(instance: &Instance) -> Vec<(String, String)> {
    let pairs = [
        ("instanceConnectEndpointId", Endpoint::default().id),
        ("remotePort", instance.listen.to_string()),
        ("privateIpAddress", instance.address.clone()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => write!(out, "%{byte:02X}").unwrap(),
        }
        out
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}

/// Path and query, signed at a time for 60 s.
pub(crate) fn presign(key: &Credential, host: &str, params: &[(String, String)], at: Timestamp) -> String {
    let time = at.strftime("%Y%m%dT%H%M%SZ").to_string();
    let scope = format!("{}/eu-west-1/ec2-instance-connect/aws4_request", &time[..8]);
    let mut all = params.to_vec();
    for (name, value) in [
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
        ("X-Amz-Credential", format!("{}/{scope}", key.access_key_id)),
        ("X-Amz-Date", time.clone()),
        ("X-Amz-Expires", "60".to_owned()),
        ("X-Amz-SignedHeaders", "host".to_owned()),
    ] {
        all.push((name.to_owned(), value));
    }
    all.extend(key.session_token.iter().map(|token| ("X-Amz-Security-Token".to_owned(), token.clone())));
    let mut pairs: Vec<String> = all.iter().map(|(n, v)| format!("{}={}", escape(n), escape(v))).collect();
    pairs.sort();
    let canonical_query = pairs.join("&");
    let empty = hex(digest::digest(&digest::SHA256, b"").as_ref());
    let canonical = format!("GET\n/openTunnel\n{canonical_query}\nhost:{host}\n\nhost\n{empty}");
    let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{hash}");
    let sign =
        |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec();
    let secret = scope
        .split('/')
        .fold(format!("AWS4{}", key.secret_access_key).into_bytes(), |secret, part| sign(&secret, part));
    format!("/openTunnel?{canonical_query}&X-Amz-Signature={}", hex(&sign(&secret, &text)))
}

/// Connects by TLS.
pub(crate) fn connect(sandbox: &Sandbox, host: &str) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(sandbox.ca().unwrap()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream)
}

/// Opens a tunnel with a signed path and query.
pub(crate) fn open(sandbox: &Sandbox, host: &str, target: &str) -> Result<Client, String> {
    let stream = connect(sandbox, host);
    match tungstenite::client(format!("wss://{host}{target}"), stream) {
        Ok((client, _)) => Ok(client),
        Err(error) => Err(format!("{error:?}")),
    }
}

/// Opens a tunnel to an instance, signed by `prod` now.
pub(crate) fn tunnel(sandbox: &Sandbox, host: &str, instance: &Instance) -> Client {
    let target = presign(&key(sandbox), host, &parameters(instance), Timestamp::now());
    open(sandbox, host, &target).expect("a tunnel")
}

/// The status and body of a refusal, read to the end of the connection.
pub(crate) fn refusal(sandbox: &Sandbox, host: &str, target: &str) -> String {
    let mut stream = connect(sandbox, host);
    request_upgrade(&mut stream, host, target);
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// Sends the request of an upgrade and does not wait for the response.
pub(crate) fn request_upgrade(stream: &mut impl Write, host: &str, target: &str) {
    let head = format!(
        "GET {target} HTTP/1.1\r\nhost: {host}\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
}

/// Reads data until it contains `wanted` bytes.
pub(crate) fn data(client: &mut Client, wanted: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < wanted {
        if let Message::Binary(part) = client.read().expect("a message") {
            bytes.extend_from_slice(&part);
        }
    }
    bytes
}

/// Reads until the endpoint closes; code and reason.
pub(crate) fn closed(client: &mut Client) -> Option<(u16, String)> {
    loop {
        if let Message::Close(frame) = client.read().expect("a message") {
            return frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
        }
    }
}

/// Waits until the last tunnel's record satisfies a condition.
pub(crate) fn wait(sandbox: &Sandbox, condition: impl Fn(&Tunnel) -> bool) -> Tunnel {
    let begun = Instant::now();
    loop {
        let tunnels = sandbox.tunnels().unwrap();
        if let Some(tunnel) = tunnels.last().filter(|tunnel| condition(tunnel)) {
            return tunnel.clone();
        }
        assert!(begun.elapsed() < Duration::from_mins(1), "{tunnels:?}\n{}", sandbox.server_log());
        std::thread::sleep(Duration::from_millis(10));
    }
}
