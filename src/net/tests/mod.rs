//! Streams against scripted peers on loopback: real TCP, real TLS, real processes.

mod peer;
mod plain;
mod refusals;
mod tunnels;

use std::time::{Duration, Instant};

use rustix::event::{Timespec, poll};

use super::{Closed, State, Stream};

/// How long anything may take before a test fails.
const LIMIT: Duration = Duration::from_mins(1);

/// Runs the loop that the proxy runs, until `done`.
fn drive(stream: &mut Stream, mut done: impl FnMut(&mut Stream) -> bool) {
    let end = Instant::now() + LIMIT;
    loop {
        stream.advance(Instant::now());
        if done(stream) {
            return;
        }
        assert!(Instant::now() < end, "took too long: {stream:?}");
        let mut fds = Vec::new();
        stream.watch(&mut fds);
        let next = stream.deadline().map_or(Duration::from_millis(20), |at| {
            at.saturating_duration_since(Instant::now()).min(Duration::from_millis(20))
        });
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(next.subsec_nanos()) };
        poll(&mut fds, Some(&timeout)).expect("poll");
    }
}

/// Drives it to its end and returns everything received and why it closed.
fn to_the_end(stream: &mut Stream) -> (Vec<u8>, Closed) {
    let mut received = Vec::new();
    drive(stream, |stream| {
        received.extend_from_slice(stream.received());
        let count = stream.received().len();
        stream.consume(count);
        matches!(stream.state(), State::Closed(_)) && stream.received().is_empty()
    });
    // A closed stream is nothing to wait for: no loop that spins at its end.
    let mut fds = Vec::new();
    stream.watch(&mut fds);
    assert_eq!((fds.len(), stream.deadline()), (0, None));
    let State::Closed(closed) = stream.state() else { panic!("open") };
    (received, closed.clone())
}

fn open(stream: &mut Stream) {
    drive(stream, |stream| {
        assert!(!matches!(stream.state(), State::Closed(_)), "{:?}", stream.state());
        *stream.state() == State::Open
    });
}

/// Sends all of it, as fast as the peer takes it, and returns what arrived meanwhile.
fn send_all(stream: &mut Stream, mut bytes: &[u8]) -> Vec<u8> {
    let mut received = Vec::new();
    drive(stream, |stream| {
        received.extend_from_slice(stream.received());
        let count = stream.received().len();
        stream.consume(count);
        let count = stream.send(bytes);
        bytes = &bytes[count..];
        bytes.is_empty() && !stream.is_sending()
    });
    received
}

/// Bytes that do not repeat at any power of two.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect()
}
