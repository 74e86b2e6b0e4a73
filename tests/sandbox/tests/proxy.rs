//! The CONNECT proxy, with curl and with raw connections.

mod common;
#[path = "common/tunnel.rs"]
#[allow(unreachable_pub, dead_code, reason = "shared by test files")]
mod tunnel_client;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use common::{said, start};
use sandbox::{Endpoint, Form, Options, Proxy, ProxyRequest, Sandbox};

/// `alice:s3cr@t` and its encoding.
const PASSWORD: &str = "alice:s3cr%40t";
const BASIC: &str = "Basic YWxpY2U6czNjckB0";

fn tls_sandbox() -> Sandbox {
    Sandbox::start(Options { form: Form::Loopback, tls: true, ..Options::default() }).unwrap()
}

/// The statuses of curl's CONNECT and of its request through a proxy.
fn curl(sandbox: &Sandbox, proxy: &str, url: &str) -> String {
    let ca = sandbox.ca().unwrap();
    let mut curl = sandbox.command("curl");
    curl.args(["-sS", "-o", "/dev/null", "-w", "%{http_connect} %{http_code}", "-x", proxy]);
    curl.arg("--cacert").arg(ca).arg("--proxy-cacert").arg(ca).arg(url);
    said(&curl.output().unwrap())
}

fn request(sandbox: &Sandbox, authorization: Option<&str>, status: u16) -> ProxyRequest {
    ProxyRequest {
        method: "CONNECT".into(),
        target: sandbox.endpoint().trim_start_matches("https://").into(),
        authorization: authorization.map(String::from),
        status,
    }
}

fn password() -> (String, String) {
    ("alice".into(), "s3cr@t".into())
}

#[test]
fn curl_reaches_aws_through_a_proxy_of_every_kind() {
    let sandbox = tls_sandbox();
    for tls in [false, true] {
        let scheme = if tls { "https" } else { "http" };
        let open = sandbox.add_proxy(Proxy { tls, ..Proxy::default() }).unwrap();
        assert_eq!(curl(&sandbox, &format!("{scheme}://{open}"), sandbox.endpoint()), "200 401");
        assert_eq!(sandbox.proxy_requests(open).unwrap(), [request(&sandbox, None, 200)]);

        let closed = sandbox.add_proxy(Proxy { tls, password: Some(password()), ..Proxy::default() }).unwrap();
        assert!(curl(&sandbox, &format!("{scheme}://{closed}"), sandbox.endpoint()).starts_with("407 000"));
        assert!(curl(&sandbox, &format!("{scheme}://alice:x@{closed}"), sandbox.endpoint()).starts_with("407 000"));
        assert_eq!(curl(&sandbox, &format!("{scheme}://{PASSWORD}@{closed}"), sandbox.endpoint()), "200 401");
        let requests = sandbox.proxy_requests(closed).unwrap();
        assert_eq!(requests.len(), 3, "{requests:?}");
        assert_eq!(requests[0], request(&sandbox, None, 407));
        assert_eq!(requests[2], request(&sandbox, Some(BASIC), 200));
        sandbox.clear_proxy_requests(closed).unwrap();
        assert_eq!(sandbox.proxy_requests(closed).unwrap(), []);
    }
}

#[test]
fn a_proxy_refuses_by_switch_and_other_methods_and_unreachable_targets_always() {
    let sandbox = tls_sandbox();
    let proxy = sandbox.add_proxy(Proxy::default()).unwrap();
    let url = format!("http://{proxy}");
    for status in [403, 407] {
        sandbox.update_proxy(proxy, Proxy { refuse: Some(status), ..Proxy::default() }).unwrap();
        assert!(curl(&sandbox, &url, sandbox.endpoint()).starts_with(&format!("{status} 000")));
    }
    sandbox.update_proxy(proxy, Proxy::default()).unwrap();
    assert_eq!(curl(&sandbox, &url, sandbox.endpoint()), "200 401");
    assert_eq!(curl(&sandbox, &url, "http://example.invalid/"), "000 405");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(curl(&sandbox, &url, &format!("https://{closed}")).starts_with("502 000"));
}

#[test]
fn names_of_aws_and_of_endpoints_lead_to_the_sandbox() {
    let sandbox = tls_sandbox();
    sandbox.add_endpoint(Endpoint::default()).unwrap();
    let proxy = format!("http://{}", sandbox.add_proxy(Proxy::default()).unwrap());
    assert_eq!(curl(&sandbox, &proxy, "https://ec2.eu-west-1.amazonaws.com/"), "200 401");
    let endpoint = "eice-0aaaabbbbccccdddd.0123abcd.ec2-instance-connect-endpoint.eu-west-1.amazonaws.com";
    assert_eq!(curl(&sandbox, &proxy, &format!("https://{endpoint}/")), "200 404");
}

/// Sends `data` to `target` through a proxy, ends the client's direction and reads to the end.
fn exchange(sandbox: &Sandbox, proxy: SocketAddr, tls: bool, target: SocketAddr, data: &[u8]) -> Vec<u8> {
    let connect = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n");
    let mut received = Vec::new();
    if tls {
        let mut stream = tunnel_client::connect(sandbox, &proxy.to_string());
        stream.write_all(connect.as_bytes()).unwrap();
        stream.write_all(data).unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        stream.read_to_end(&mut received).unwrap();
    } else {
        let mut stream = TcpStream::connect(proxy).unwrap();
        stream.write_all(connect.as_bytes()).unwrap();
        stream.write_all(data).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        stream.read_to_end(&mut received).unwrap();
    }
    let head = b"HTTP/1.1 200 Connection established\r\n\r\n";
    received.strip_prefix(head.as_slice()).expect("the proxy accepts").to_vec()
}

#[test]
fn a_proxy_relays_megabytes_and_the_end_of_one_direction() {
    let sandbox = start(Form::Loopback);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut data = Vec::new();
            stream.read_to_end(&mut data).unwrap();
            stream.write_all(&data).unwrap();
        }
    });
    let data: Vec<u8> = (0..=250).cycle().take(5 << 20).collect();
    for tls in [false, true] {
        let proxy = sandbox.add_proxy(Proxy { tls, ..Proxy::default() }).unwrap();
        assert!(exchange(&sandbox, proxy, tls, target, &data) == data, "TLS: {tls}");
    }
}
