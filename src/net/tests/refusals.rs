//! What goes wrong, or comes in an unusual form, before a tunnel is open.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use hyper_util::client::proxy::matcher::Matcher;

use super::peer::{LOOPBACK, Peer, TIMEOUTS, Tls, destination, listen, read_head, stream};
use super::{drive, open, to_the_end};
use crate::domain::upgrade::Refusal;
use crate::net::{Closed, Destination, Mode, Stage, State, Stream, Tunnel, proxy};

const BODY: &str = r#"{"ErrorCode":"AccessDenied","Message":"not authorized to perform OpenTunnel"}"#;

#[test]
fn a_refusal_arrives_whole_in_every_form() {
    let (a, b) = BODY.split_at(20);
    let head = "HTTP/1.1 403 Forbidden\r\nx-amzn-RequestId: r-1\r\n";
    let with_length = format!("{head}Content-Length: {}\r\n\r\n", BODY.len());
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{a}\r\n", a.len());
    let forms: [Vec<String>; 3] = [
        vec![with_length, a.to_owned(), b.to_owned()],
        vec![chunked, format!("{:x}\r\n{b}\r\n", b.len()), "0\r\n\r\n".to_owned()],
        vec![format!("{head}\r\n"), a.to_owned(), b.to_owned()],
    ];
    for records in forms {
        let (mut stream, peer) = stream(move |mut peer| {
            peer.request();
            for record in records {
                peer.record(record.as_bytes());
            }
            peer.stream.conn.send_close_notify();
            let _ = peer.stream.flush();
            let _ = peer.stream.sock.shutdown(Shutdown::Write);
        });
        let refusal = Refusal {
            status: 403,
            code: Some("AccessDenied".to_owned()),
            message: Some("not authorized to perform OpenTunnel".to_owned()),
            request_id: Some("r-1".to_owned()),
        };
        assert_eq!(to_the_end(&mut stream), (Vec::new(), Closed::Refused(Box::new(refusal))));
        peer.join().unwrap();
    }
}

#[test]
fn a_101_may_come_byte_by_byte_or_together_with_the_first_frame() {
    let (mut slow, peer) = stream(|mut peer| {
        let request = peer.request();
        for byte in Peer::<std::net::TcpStream>::acceptance(&request).bytes() {
            peer.record(&[byte]);
        }
        peer.frame(0x82, b"SSH-2.0-x");
        peer.frame(0x88, b"");
        request
    });
    assert_eq!(to_the_end(&mut slow).0, b"SSH-2.0-x");
    let request = peer.join().unwrap();
    assert!(request.starts_with("GET /openTunnel?secret=1 HTTP/1.1\r\nHost: localhost:"), "{request}");
    let (mut together, peer) = stream(|mut peer| {
        let mut all = Peer::<std::net::TcpStream>::acceptance(&peer.request()).into_bytes();
        all.extend(b"\x82\x09SSH-2.0-x\x88\x00");
        peer.record(&all);
        let _ = peer.next();
    });
    assert_eq!(to_the_end(&mut together).0, b"SSH-2.0-x");
    peer.join().unwrap();
}

#[test]
fn what_is_no_websocket_is_told_apart() {
    let (mut cut, peer) = stream(|mut peer| {
        peer.request();
        let _ = peer.stream.sock.shutdown(Shutdown::Both);
    });
    assert_eq!(to_the_end(&mut cut).1, Closed::Cut(Stage::Upgrade));
    peer.join().unwrap();
    let (mut other, peer) = stream(|mut peer| {
        peer.request();
        peer.record(b"220 mail.example ESMTP\r\n");
        let _ = peer.next();
    });
    assert_eq!(to_the_end(&mut other).1, Closed::NotHttp(Stage::Upgrade));
    // What the server still waits for.
    drop(other);
    peer.join().unwrap();
    let (mut wrong, peer) = stream(|mut peer| {
        peer.request();
        peer.record(Peer::<std::net::TcpStream>::acceptance("Sec-WebSocket-Key: another").as_bytes());
        let _ = peer.next();
    });
    assert!(matches!(to_the_end(&mut wrong).1, Closed::Refused(refusal) if refusal.status == 101));
    drop(wrong);
    peer.join().unwrap();
}

#[test]
fn every_stage_has_a_timeout() {
    let (go, wait) = mpsc::channel::<()>();
    let (mut upgrade, peer) = stream(move |mut peer| {
        peer.request();
        let _ = wait.recv();
    });
    // The request is sent once the handshake is done, and then its own timeout runs.
    let start = upgrade.deadline().unwrap();
    drive(&mut upgrade, |stream| stream.deadline().is_some_and(|at| at != start));
    upgrade.advance(Instant::now() + TIMEOUTS.upgrade + Duration::from_secs(1));
    assert_eq!(*upgrade.state(), State::Closed(Closed::TimedOut(Stage::Upgrade)));
    drop(go);
    peer.join().unwrap();
    // A server that never speaks TLS.
    let (go, wait) = mpsc::channel::<()>();
    let (port, thread) = listen(move |_socket| wait.recv().is_ok());
    let tls = Tls::new();
    let mut silent = connect(destination(port), &tls);
    // The connection stands once the hello has been written, and then only the answer is waited for.
    let mut rounds = 0;
    drive(&mut silent, |_| {
        rounds += 1;
        rounds > 5
    });
    silent.advance(Instant::now() + TIMEOUTS.connect);
    assert_eq!(*silent.state(), State::Closed(Closed::TimedOut(Stage::Tls)));
    drop(go);
    thread.join().unwrap();
}

fn connect(destination: Destination, tls: &Tls) -> Stream {
    Stream::Tunnel(Box::new(Tunnel::start(destination, &tls.client, Mode::Bytes, TIMEOUTS, Instant::now()).unwrap()))
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let (server, client) = (Tls::new(), Tls::new());
    let (port, thread) = listen(move |socket| {
        let mut peer = server.accept(socket);
        peer.stream.read(&mut [0; 10]).is_err()
    });
    let mut stream = connect(destination(port), &client);
    assert!(matches!(to_the_end(&mut stream).1, Closed::Tls(rustls::Error::InvalidCertificate(_))));
    assert!(thread.join().unwrap(), "the server got an alert");
}

/// A destination behind the proxy of this URL.
fn behind(url: &str, port: u16) -> Destination {
    let proxy = proxy::of(&Matcher::builder().https(url).build(), "localhost").unwrap();
    Destination { proxy, addresses: vec![LOOPBACK], ..destination(port) }
}

#[test]
fn a_tunnel_goes_through_a_proxy_with_a_password() {
    let tls = Tls::new();
    let server = tls.clone();
    let (port, thread) = listen(move |mut socket| {
        let request = read_head(&mut socket);
        socket.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
        let mut peer = server.accept(socket).open();
        peer.frame(0x82, b"through");
        peer.frame(0x88, b"");
        request
    });
    let mut stream = connect(behind(&format!("http://alice:s3cr%40t@127.0.0.1:{port}"), 443), &tls);
    assert_eq!(to_the_end(&mut stream).0, b"through");
    let expected =
        "CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\nProxy-Authorization: Basic YWxpY2U6czNjckB0\r\n\r\n";
    assert_eq!(thread.join().unwrap(), expected);
}

#[test]
fn a_proxy_that_is_itself_reached_over_tls_gets_a_layer_of_its_own() {
    let tls = Tls::new();
    let server = tls.clone();
    let (port, thread) = listen(move |socket| {
        let mut outer = server.accept(socket);
        outer.request();
        outer.record(b"HTTP/1.1 200 ok\r\n\r\n");
        let mut peer = server.accept(outer.stream).open();
        peer.frame(0x82, &super::pattern(100_000));
        assert_eq!(peer.bytes(5), b"hello");
        peer.frame(0x88, b"");
    });
    let mut destination = behind(&format!("https://localhost:{port}"), 443);
    destination.addresses = vec![LOOPBACK];
    let mut stream = connect(destination, &tls);
    open(&mut stream);
    assert_eq!(stream.send(b"hello"), 5);
    assert!(to_the_end(&mut stream).0 == super::pattern(100_000));
    thread.join().unwrap();
}

#[test]
fn a_proxy_that_refuses_is_named_without_its_password() {
    for status in [403, 407] {
        let (port, thread) = listen(move |mut socket| {
            read_head(&mut socket);
            write!(socket, "HTTP/1.1 {status} no\r\nContent-Length: 4\r\n\r\nbody").unwrap();
        });
        let tls = Tls::new();
        let mut stream = connect(behind(&format!("http://alice:s3cret@127.0.0.1:{port}"), 443), &tls);
        let closed = to_the_end(&mut stream).1;
        assert_eq!(closed, Closed::Proxy { name: format!("127.0.0.1:{port}"), status });
        let shown = format!("{closed} {closed:?} {stream:?}");
        assert!(!shown.contains("s3cret") && !shown.contains("alice") && !shown.contains("YWxp"), "{shown}");
        assert!(!shown.contains("secret=1"), "{shown}");
        thread.join().unwrap();
    }
}
