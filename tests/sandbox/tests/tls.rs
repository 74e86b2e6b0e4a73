//! AWS over TLS: who trusts the sandbox's authority is served, in both versions of the protocol; nobody else is.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::Arc;

use common::{authorization, forms, prod};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use sandbox::{Form, Instance, Options, Sandbox};

const BODY: &str = "Action=DescribeInstances&Version=2016-11-15";

fn start(form: Form) -> Sandbox {
    let sandbox = Sandbox::start(Options { form, tls: true, ..Options::default() }).expect("the sandbox starts");
    sandbox.add(Instance::new("web")).unwrap();
    sandbox
}

/// Two requests on one connection of the stand-in's own library; the answers and the protocol agreed on.
fn ask_twice(sandbox: &Sandbox, version: &'static SupportedProtocolVersion) -> (String, Option<Vec<u8>>) {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(sandbox.ca().unwrap()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let mut config = versions.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let address = sandbox.endpoint().strip_prefix("https://").unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(address).unwrap());
    let head = format!("POST / HTTP/1.1\r\nhost: x\r\n{}", authorization(prod(sandbox), "eu-west-1", "ec2"));
    let mut text = String::new();
    for last in [false, true] {
        let close = if last { "connection: close\r\n" } else { "" };
        let request = format!("{head}{close}content-length: {}\r\n\r\n{BODY}", BODY.len());
        stream.write_all(request.as_bytes()).unwrap();
    }
    // Fails unless the server says goodbye.
    stream.read_to_string(&mut text).unwrap();
    (text, stream.conn.alpn_protocol().map(<[u8]>::to_vec))
}

#[test]
fn both_versions_keep_the_connection_and_speak_http_1() {
    let sandbox = start(Form::Loopback);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let (text, protocol) = ask_twice(&sandbox, version);
        assert_eq!(text.matches("<instanceId>").count(), 2, "{text}");
        assert_eq!(protocol.as_deref(), Some(b"http/1.1".as_slice()));
    }
}

#[test]
fn real_clients_trust_it_by_the_bundle_alone() {
    for form in forms() {
        let sandbox = start(form);
        let ca = sandbox.ca().unwrap();
        assert!(sandbox.endpoint().starts_with("https://127.0.0.1:"), "{}", sandbox.endpoint());
        let told = sandbox.command("sh").args(["-c", "echo \"$AWS_CA_BUNDLE\""]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&told.stdout).trim(), ca.display().to_string());

        let signed = authorization(prod(&sandbox), "eu-west-1", "ec2");
        let curl = |args: &[&str]| {
            let mut curl = sandbox.command("curl");
            curl.args(["-sS", "-H", signed.trim(), "-d", BODY, "-w", "%{num_connects}\n"]).args(args);
            let output = curl.stdin(Stdio::null()).output().ok()?;
            // nsenter's own code for a program that is not there.
            (output.status.code() != Some(127)).then_some(output)
        };
        let (url, ca) = (sandbox.endpoint(), ca.to_str().unwrap());
        let Some(distrusting) = curl(&[url]) else {
            assert!(std::env::var_os("CI").is_none(), "CI has to have curl");
            return;
        };
        assert_eq!(distrusting.status.code(), Some(60), "{distrusting:?}");
        for version in ["1.2", "1.3"] {
            let output = curl(&["--cacert", ca, "--tls-max", version, url, url]).unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(text.matches("<instanceId>").count(), 2, "{form:?} {version}: {output:?}");
            // The second request went over the first one's connection.
            assert!(text.contains("Response>1\n") && text.ends_with("Response>0\n"), "{text}");
        }
    }
}
