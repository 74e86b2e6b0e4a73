//! Streams without TLS: TCP and child processes.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::peer::{LOOPBACK, listen};
use super::{drive, open, pattern, send_all, to_the_end};
use crate::net::{Child, Closed, State, Stream, Tcp};

fn tcp(addresses: &[IpAddr], port: u16) -> Stream {
    Stream::Tcp(Tcp::start(addresses, port, Some(Duration::from_secs(50)), Instant::now()).unwrap())
}

#[test]
fn tcp_carries_bytes_and_half_closes() {
    let (port, thread) = listen(|mut socket| {
        let mut all = Vec::new();
        socket.read_to_end(&mut all).unwrap();
        socket.write_all(&all).unwrap();
    });
    let mut stream = tcp(&[LOOPBACK], port);
    // Queued while it connects.
    assert_eq!(stream.send(b"early"), 5);
    open(&mut stream);
    assert_eq!(send_all(&mut stream, &pattern(500_000)), b"");
    stream.finish();
    assert_eq!(stream.room(), 0);
    let (received, closed) = to_the_end(&mut stream);
    assert!(received == [b"early".as_slice(), &pattern(500_000)].concat());
    assert_eq!(closed, Closed::Ended);
    thread.join().unwrap();
}

#[test]
fn the_next_address_is_tried_and_the_last_failure_kept() {
    let (port, thread) = listen(|mut socket| socket.write_all(b"hello").unwrap());
    let refusing = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    let mut stream = tcp(&[refusing, LOOPBACK], port);
    assert_eq!(to_the_end(&mut stream).0, b"hello");
    thread.join().unwrap();
    let port = TcpListener::bind((LOOPBACK, 0)).unwrap().local_addr().unwrap().port();
    let closed = match Tcp::start(&[LOOPBACK], port, None, Instant::now()) {
        Ok(tcp) => to_the_end(&mut Stream::Tcp(tcp)).1,
        Err(closed) => closed,
    };
    assert_eq!(closed, Closed::Connect { address: (LOOPBACK, port).into(), error: Errno::CONNREFUSED });
    assert!(matches!(Tcp::start(&[], 22, None, Instant::now()), Err(Closed::NoAddress)));
}

#[test]
fn a_tcp_connection_becomes_blocking_with_what_is_queued() {
    let (port, thread) = listen(|mut socket| {
        socket.write_all(b"banner").unwrap();
        let mut all = Vec::new();
        socket.read_to_end(&mut all).unwrap();
        all
    });
    let mut stream = tcp(&[LOOPBACK], port);
    drive(&mut stream, |stream| stream.received().len() == 6);
    stream.send(b"queued");
    let Stream::Tcp(tcp) = stream else { unreachable!() };
    let (mut socket, unsent, received) = tcp.into_blocking().unwrap();
    assert_eq!((unsent.as_slice(), received.as_slice()), (b"queued".as_slice(), b"banner".as_slice()));
    socket.write_all(&unsent).unwrap();
    drop(socket);
    assert_eq!(thread.join().unwrap(), b"queued");
}

fn shell(script: &str) -> Stream {
    Stream::Child(Child::spawn("/bin/sh", &["-c".to_owned(), script.to_owned()]).unwrap())
}

#[test]
fn a_child_carries_bytes_and_half_closes() {
    let mut stream = shell("cat");
    let mut received = send_all(&mut stream, &pattern(300_000));
    stream.finish();
    let (rest, closed) = to_the_end(&mut stream);
    received.extend(rest);
    assert!(received == pattern(300_000));
    assert_eq!(closed, Closed::Exited { code: Some(0), last_line: None });
}

#[test]
fn the_last_line_of_a_child_is_why_it_failed() {
    let mut stream = shell("echo bytes; echo first >&2; printf 'ssh: no route\\n\\n' >&2; exit 255");
    let (received, closed) = to_the_end(&mut stream);
    assert_eq!(received, b"bytes\n");
    assert_eq!(closed, Closed::Exited { code: Some(255), last_line: Some("ssh: no route".to_owned()) });
    let mut missing = Stream::Child(Child::spawn("/no/such/program", &[]).unwrap());
    let closed = to_the_end(&mut missing).1;
    assert!(
        matches!(closed, Closed::Exited { code: Some(126 | 127), last_line: Some(line) } if line.contains("/no/such"))
    );
}

#[test]
fn a_dropped_child_is_ended_even_if_it_ignores_sigterm() {
    for script in ["echo $$; exec sleep 60", "trap '' TERM; echo $$; while :; do sleep 0.05; done"] {
        let mut stream = shell(script);
        drive(&mut stream, |stream| stream.received().ends_with(b"\n"));
        assert_eq!(*stream.state(), State::Open);
        let pid = String::from_utf8(stream.received().to_vec()).unwrap().trim().parse().unwrap();
        drop(stream);
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        assert_eq!(rustix::process::test_kill_process(pid), Err(Errno::SRCH), "{script}");
    }
}
