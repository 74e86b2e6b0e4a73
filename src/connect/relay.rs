//! Carrying the bytes once the handshake is let go: two directions, each a plain loop of read and write.
//!
//! It ends when the remote ends, when nobody reads our output any more, and at most 3 s after our input has ended. The
//! lease of the key ends on the way: three minutes after its last use the key is removed.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::domain::freshness::KEY_IN_USE;

/// Bytes at a time; more buys nothing, and pages are touched only when used.
const BLOCK: usize = 64 * 1024;
/// How long the remote may still talk after our input has ended.
const AFTER_INPUT: Duration = Duration::from_secs(3);

/// Runs until one of the ends. `retire` is called when the key's use may be over and says when to call again.
///
/// # Errors
///
/// An I/O error other than the far ends being gone.
pub fn run(stream: &TcpStream, retire: impl FnMut() -> Option<Duration>) -> io::Result<()> {
    let (ended, end_of_input) = io::pipe()?;
    let upward = stream.try_clone()?;
    thread::Builder::new().stack_size(128 * 1024).spawn(move || {
        send(&upward);
        drop(end_of_input);
    })?;
    receive(stream, &ended, retire)
}

/// stdin to the remote, until either ends.
fn send(mut stream: &TcpStream) {
    let mut block = vec![0; BLOCK];
    loop {
        match rustix::io::read(rustix::stdio::stdin(), &mut block) {
            Ok(0) => break,
            Ok(count) => {
                if stream.write_all(&block[..count]).is_err() {
                    break;
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => break,
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
}

/// The remote to stdout. `ended` hangs up when our input has ended.
fn receive(
    mut stream: &TcpStream,
    ended: &io::PipeReader,
    mut retire: impl FnMut() -> Option<Duration>,
) -> io::Result<()> {
    let stdout = rustix::stdio::stdout();
    let mut block = vec![0; BLOCK];
    let mut last_call: Option<Instant> = None;
    // The lease has just been taken; before it is over there is nothing to look at.
    let mut retire_at = Some(Instant::now() + Duration::from_millis(KEY_IN_USE));
    loop {
        let next = [last_call, retire_at].into_iter().flatten().min();
        let mut fds = vec![
            PollFd::new(&stream, PollFlags::IN),
            // No events asked for: only the loss of the reader is told.
            PollFd::from_borrowed_fd(stdout, PollFlags::empty()),
        ];
        if last_call.is_none() {
            fds.push(PollFd::from_borrowed_fd(ended.as_fd(), PollFlags::IN));
        }
        match poll(&mut fds, next.map(until).as_ref()) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
        let (readable, gone) = (!fds[0].revents().is_empty(), !fds[1].revents().is_empty());
        let input_ended = fds.get(2).is_some_and(|fd| !fd.revents().is_empty());
        if gone || last_call.is_some_and(|at| Instant::now() >= at) {
            return Ok(());
        }
        if input_ended {
            last_call = Some(Instant::now() + AFTER_INPUT);
        }
        if retire_at.is_some_and(|at| Instant::now() >= at) {
            retire_at = retire().map(|wait| Instant::now() + wait);
        }
        if readable {
            match stream.read(&mut block) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    if write_all(&block[..count]).is_err() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A connection that breaks is ssh's to report: it sees our end.
                Err(_) => return Ok(()),
            }
        }
    }
}

/// Writes to stdout past std's line buffer.
///
/// # Errors
///
/// If nobody reads any more.
pub fn write_all(mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The time left until `at`, for poll(2).
#[must_use]
pub fn until(at: Instant) -> Timespec {
    let left = at.saturating_duration_since(Instant::now());
    Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(left.subsec_nanos()) }
}
