//! An open tunnel: bytes, queues, pings and its end.

use std::net::Shutdown;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::peer::{Peer, stream, tunnel};
use super::{drive, open, pattern, send_all, to_the_end};
use crate::domain::websocket::Violation;
use crate::net::{Closed, KeepAlive, Message, Mode, Stage, State, Stream};

const MIB: usize = 1024 * 1024;
/// A queue of 64 KiB and one read with what TLS had of a record.
const BOUND: usize = 128 * 1024;

#[test]
fn bytes_are_exact_in_both_directions_however_they_are_cut() {
    for seed in 0..6 {
        let down = pattern(300_000);
        let up = pattern(400_000);
        let (length, sent) = (up.len(), down.clone());
        let (mut stream, peer) = stream(move |peer| {
            let mut peer = peer.open();
            let mut random = fastrand::Rng::with_seed(seed);
            let mut rest = sent.as_slice();
            let mut fresh = true;
            while !rest.is_empty() {
                let count = random.usize(0..30_000).min(rest.len());
                let last = random.bool() || count == rest.len();
                let opcode = if fresh { 2 } else { 0 };
                peer.frame(if last { 0x80 } else { 0 } | opcode, &rest[..count]);
                fresh = last;
                rest = &rest[count..];
            }
            let received = peer.bytes(length);
            peer.frame(0x88, b"");
            received
        });
        // Queued before the tunnel is open, and in pieces of any size afterwards.
        let mut random = fastrand::Rng::with_seed(seed);
        let mut received = Vec::new();
        let mut rest = up.as_slice();
        drive(&mut stream, |stream| {
            let count = stream.send(&rest[..random.usize(0..50_000).min(rest.len())]);
            rest = &rest[count..];
            let count = random.usize(0..20_000).min(stream.received().len());
            received.extend_from_slice(&stream.received()[..count]);
            stream.consume(count);
            matches!(stream.state(), State::Closed(_)) && stream.received().is_empty()
        });
        assert!(received == down, "what was received differs");
        assert!(peer.join().unwrap() == up, "what was sent differs");
        assert_eq!(*stream.state(), State::Closed(Closed::ByPeer { code: None, reason: String::new() }));
    }
}

#[test]
fn a_slow_reader_slows_the_peer_and_a_frame_of_1_mib_needs_no_memory() {
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let (mut stream, peer) = stream(move |peer| {
        let mut peer = peer.open();
        let block = pattern(MIB);
        for _ in 0..24 {
            peer.frame(0x82, &block);
            count.fetch_add(1, Ordering::Relaxed);
        }
        peer.frame(0x88, b"\x03\xe8");
    });
    open(&mut stream);
    // Nothing is read: the queue fills, then no byte moves any more.
    drive(&mut stream, |stream| {
        let mut fds = Vec::new();
        stream.watch(&mut fds);
        fds.is_empty()
    });
    for _ in 0..100 {
        stream.advance(Instant::now());
    }
    assert!((64 * 1024..BOUND).contains(&stream.received().len()), "{}", stream.received().len());
    assert!(written.load(Ordering::Relaxed) < 24, "all of it was taken");
    let (received, closed) = to_the_end(&mut stream);
    assert!(received == pattern(MIB).repeat(24));
    assert_eq!(closed, Closed::ByPeer { code: Some(1000), reason: String::new() });
    peer.join().unwrap();
}

#[test]
fn a_slow_peer_slows_the_sender() {
    let (go, wait) = mpsc::channel();
    let sent = Arc::new(Mutex::new(0));
    let length = Arc::clone(&sent);
    let (mut stream, peer) = stream(move |peer| {
        let mut peer = peer.open();
        wait.recv().unwrap();
        let length = *length.lock().unwrap();
        let received = peer.bytes(length);
        peer.frame(0x88, b"");
        received
    });
    open(&mut stream);
    let block = pattern(251 * 100);
    let mut total = 0;
    // Until nothing has moved for a while: the buffers of the system are full, and then ours.
    let mut unchanged = 0;
    drive(&mut stream, |stream| {
        let count = stream.send(&block[total % 251..]);
        total += count;
        unchanged = if count == 0 { unchanged + 1 } else { 0 };
        unchanged > 10
    });
    assert_eq!(stream.room(), 0);
    assert!(total < 64 * MIB, "{total} bytes were taken without a reader");
    *sent.lock().unwrap() = total;
    go.send(()).unwrap();
    to_the_end(&mut stream);
    assert!(peer.join().unwrap() == pattern(total));
}

#[test]
fn pings_are_answered_at_once_and_within_a_message() {
    let (mut stream, peer) = stream(|peer| {
        let mut peer = peer.open();
        peer.frame(0x02, b"a");
        peer.frame(0x89, b"are you there");
        assert_eq!(peer.next().unwrap(), (0x8a, b"are you there".to_vec()));
        peer.frame(0x80, b"b");
        peer.frame(0x88, b"\x03\xf3gone");
        // The close is answered with its own code.
        peer.next().unwrap()
    });
    let (received, closed) = to_the_end(&mut stream);
    assert_eq!(received, b"ab");
    assert_eq!(closed, Closed::ByPeer { code: Some(1011), reason: "gone".to_owned() });
    assert_eq!(peer.join().unwrap(), (0x88, b"\x03\xf3".to_vec()));
}

#[test]
fn what_breaks_the_protocol_ends_the_tunnel() {
    for (first, violation, code) in [(0x81, Violation::Text, 1003), (0x83, Violation::Opcode(3), 1002)] {
        let (mut stream, peer) = stream(move |peer| {
            let mut peer = peer.open();
            peer.frame(0x82, b"before");
            peer.frame(first, b"x");
            peer.next().unwrap()
        });
        assert_eq!(to_the_end(&mut stream), (b"before".to_vec(), Closed::Protocol(violation)));
        assert_eq!(peer.join().unwrap(), (0x88, u16::to_be_bytes(code).to_vec()));
    }
}

#[test]
fn a_connection_that_is_cut_is_not_an_end_in_order() {
    let (mut stream, peer) = stream(|peer| {
        let mut peer = peer.open();
        peer.frame(0x82, b"last bytes");
        peer.stream.sock.shutdown(Shutdown::Both).unwrap();
    });
    assert_eq!(to_the_end(&mut stream), (b"last bytes".to_vec(), Closed::Cut(Stage::Open)));
    peer.join().unwrap();
}

#[test]
fn our_own_close_follows_what_was_sent_and_ends_in_order() {
    let (mut one, peer) = tunnel(Mode::Messages { longest: 100 }, |peer| {
        let mut peer = peer.open();
        assert_eq!(peer.next().unwrap(), (0x81, b"hello".to_vec()));
        assert_eq!(peer.next().unwrap(), (0x88, b"\x03\xe8".to_vec()));
        peer.frame(0x88, b"\x03\xe8");
    });
    let mut asked = false;
    let mut stream = loop {
        one.advance(Instant::now());
        if !asked && one.send_message(&Message::Text(b"hello".to_vec())) {
            one.close();
            asked = true;
        }
        if asked {
            break Stream::Tunnel(Box::new(one));
        }
    };
    assert_eq!(to_the_end(&mut stream), (Vec::new(), Closed::Ended));
    peer.join().unwrap();
}

#[test]
fn a_close_waits_for_queued_bytes() {
    let (mut tunnel, peer) = tunnel(Mode::Bytes, |peer| {
        let mut peer = peer.open();
        let received = peer.bytes(60_000);
        assert_eq!(peer.next().unwrap(), (0x88, b"\x03\xe8".to_vec()));
        peer.frame(0x88, b"\x03\xe8");
        received
    });
    assert_eq!(tunnel.send(&pattern(60_000)), 60_000);
    tunnel.close();
    assert_eq!(to_the_end(&mut Stream::Tunnel(Box::new(tunnel))), (Vec::new(), Closed::Ended));
    assert!(peer.join().unwrap() == pattern(60_000));
}

#[test]
fn pings_are_bounded_while_the_peer_takes_nothing() {
    let (mut stream, peer) = stream(|peer| {
        let mut peer = peer.open();
        // The system's buffers hold some; the answers to the rest are not kept.
        for number in 0..200_000_u32 {
            peer.frame(0x89, &number.to_be_bytes().repeat(31));
        }
        peer.frame(0x82, b"still read");
        loop {
            let (first, payload) = peer.next().unwrap();
            assert_eq!(first, 0x8a);
            if payload.starts_with(&199_999_u32.to_be_bytes()) {
                peer.frame(0x88, b"");
                return;
            }
        }
    });
    assert_eq!(to_the_end(&mut stream).0, b"still read");
    peer.join().unwrap();
}

#[test]
fn messages_are_whole_and_bounded() {
    let (mut tunnel, peer) = tunnel(Mode::Messages { longest: 10 }, |peer| {
        let mut peer = peer.open();
        peer.frame(0x02, b"frag");
        peer.frame(0x80, b"ments");
        peer.frame(0x81, b"text");
        peer.frame(0x82, b"");
        peer.frame(0x82, b"eleven byte");
        peer.next().unwrap()
    });
    let end = Instant::now() + super::LIMIT;
    let mut messages = Vec::new();
    while !matches!(tunnel.state(), State::Closed(_)) {
        assert!(Instant::now() < end);
        tunnel.advance(Instant::now());
        messages.extend(std::iter::from_fn(|| tunnel.next_message()));
        std::thread::yield_now();
    }
    let expected =
        [Message::Binary(b"fragments".to_vec()), Message::Text(b"text".to_vec()), Message::Binary(Vec::new())];
    assert_eq!(messages, expected);
    assert_eq!(*tunnel.state(), State::Closed(Closed::Protocol(Violation::TooLong)));
    assert_eq!(peer.join().unwrap(), (0x88, 1009_u16.to_be_bytes().to_vec()));
}

#[test]
fn a_peer_that_answers_no_ping_is_gone() {
    let alive = KeepAlive { interval: Duration::from_secs(30), timeout: Duration::from_secs(80) };
    let (go, wait) = mpsc::channel::<()>();
    let (one, peer) = tunnel(Mode::Bytes, move |peer| {
        let mut peer = peer.open();
        let ping = peer.next().unwrap();
        let _ = wait.recv();
        ping
    });
    let mut stream = Stream::Tunnel(Box::new(one.with_keep_alive(alive)));
    open(&mut stream);
    let start = Instant::now();
    let due = stream.deadline().unwrap();
    assert!(due <= start + alive.interval);
    stream.advance(due);
    assert_eq!(*stream.state(), State::Open);
    stream.advance(start + alive.timeout);
    assert_eq!(*stream.state(), State::Closed(Closed::NoPong));
    drop(go);
    assert_eq!(peer.join().unwrap(), (0x89, Vec::new()));
}

#[test]
fn an_idle_tunnel_waits_without_a_deadline() {
    let (go, wait) = mpsc::channel::<()>();
    let (mut stream, peer) = stream(move |peer: Peer<_>| {
        let mut peer = peer.open();
        assert_eq!(peer.bytes(3), b"abc");
        let _ = wait.recv();
    });
    open(&mut stream);
    send_all(&mut stream, b"abc");
    stream.finish();
    assert_eq!((stream.room(), stream.deadline()), (0, None));
    // Behind TLS's own tickets nothing is ready.
    drive(&mut stream, |stream| {
        let mut fds = Vec::new();
        stream.watch(&mut fds);
        assert_eq!(fds.len(), 1);
        rustix::event::poll(&mut fds, Some(&rustix::event::Timespec::default())).unwrap() == 0
    });
    drop(go);
    assert_eq!(to_the_end(&mut stream).1, Closed::Cut(Stage::Open));
    peer.join().unwrap();
}
