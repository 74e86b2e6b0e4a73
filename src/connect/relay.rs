//! Carrying the bytes after the handshake: one poll(2) loop, a queue for each direction, and no write that blocks.
//!
//! It ends when the remote ends, when stdout has no reader any more, and at most 3 s after stdin has ended, even where
//! neither stdout nor the remote takes another byte. The lease of the key ends on the way: three minutes after its last
//! use the key is removed.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::stdio::{stdin, stdout};

use crate::connect::queue::Queue;
use crate::domain::freshness::KEY_IN_USE;
use crate::sys::running_time;

/// How long the remote may still send after stdin has ended.
pub const AFTER_INPUT: Duration = Duration::from_secs(3);

/// Reports that the other end of a socket has shut down its side, even where no input is asked for.
#[cfg(target_os = "linux")]
#[must_use]
pub fn hung_up() -> PollFlags {
    PollFlags::RDHUP
}

/// Only the end of both sides is reported here.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn hung_up() -> PollFlags {
    PollFlags::empty()
}

/// A descriptor whose other end has gone.
pub const GONE: PollFlags = PollFlags::ERR.union(PollFlags::HUP).union(PollFlags::NVAL);

/// Where stdin stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    Open,
    /// Its writer has gone; there may be bytes left to read.
    HungUp,
    /// Everything has been read, or the remote takes nothing any more.
    Ended,
}

/// One connection and the bytes under way in it.
#[derive(Debug)]
pub struct Relay {
    stream: TcpStream,
    to_client: Queue,
    to_server: Queue,
    input: Input,
    deadline: Option<Instant>,
}

impl Relay {
    /// A relay over a non-blocking connection. The queues hold what is to be sent first.
    #[must_use]
    pub fn new(stream: TcpStream, to_client: Queue, to_server: Queue) -> Self {
        Self { stream, to_client, to_server, input: Input::Open, deadline: None }
    }

    /// Runs until one of the ends. `retire` is called when the key's use may be over and returns when to call again.
    ///
    /// # Errors
    ///
    /// If the system refuses to wait.
    pub fn run(mut self, mut retire: impl FnMut() -> Option<Duration>) -> io::Result<()> {
        // The lease has just been taken; before it is over there is nothing to do.
        let mut retire_at = Some(running_time::now() + Duration::from_millis(KEY_IN_USE));
        loop {
            if self.to_client.flush_to_stdout().is_err() {
                return Ok(());
            }
            self.flush_to_server();
            let next = [self.deadline, retire_at].into_iter().flatten().min();
            let Some([on_stdout, on_server, on_stdin]) = self.wait(next)? else { continue };
            if on_stdout.intersects(GONE) || self.deadline.is_some_and(|at| running_time::now() >= at) {
                return Ok(());
            }
            if retire_at.is_some_and(|at| running_time::now() >= at) {
                retire_at = retire().map(|wait| running_time::now() + wait);
            }
            // A connection that breaks is reported by ssh: it sees its end.
            if !on_server.is_empty() && self.to_client.is_empty() && self.read_server().is_err() {
                return Ok(());
            }
            if !on_stdin.is_empty() {
                self.read_stdin();
            }
        }
    }

    /// What stdout, the connection and stdin are ready for. None: interrupted by a signal.
    fn wait(&self, until_then: Option<Instant>) -> io::Result<Option<[PollFlags; 3]>> {
        let none = PollFlags::empty();
        let when = |condition: bool, flags: PollFlags| if condition { flags } else { none };
        let server = when(self.to_client.is_empty(), PollFlags::IN) | when(!self.to_server.is_empty(), PollFlags::OUT);
        let input = match self.input {
            Input::Open if !self.to_server.is_empty() => Some(hung_up()),
            Input::HungUp if !self.to_server.is_empty() => None,
            Input::Open | Input::HungUp => Some(PollFlags::IN),
            Input::Ended => None,
        };
        // Without events poll(2) still reports a reader that has gone.
        let mut fds = vec![PollFd::from_borrowed_fd(stdout(), when(!self.to_client.is_empty(), PollFlags::OUT))];
        // What is not waited for is left out: a hang-up is reported again and again, whatever is asked for.
        if !server.is_empty() {
            fds.push(PollFd::new(&self.stream, server));
        }
        if let Some(events) = input {
            fds.push(PollFd::from_borrowed_fd(stdin(), events));
        }
        match poll(&mut fds, until_then.map(until).as_ref()) {
            Err(rustix::io::Errno::INTR) => return Ok(None),
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
        let mut ready = fds.iter().map(PollFd::revents);
        let mut next = |is_there: bool| if is_there { ready.next().unwrap_or(none) } else { none };
        Ok(Some([next(true), next(!server.is_empty()), next(input.is_some())]))
    }

    /// Reads from the remote; an error also at its end.
    fn read_server(&mut self) -> io::Result<()> {
        let mut stream = &self.stream;
        match self.to_client.fill(|buffer| stream.read(buffer)) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if !is_temporary(&error) => Err(error),
            _ => Ok(()),
        }
    }

    fn read_stdin(&mut self) {
        if !self.to_server.is_empty() {
            self.end_input(Input::HungUp);
            return;
        }
        match self.to_server.fill(|buffer| rustix::io::read(stdin(), buffer).map_err(io::Error::from)) {
            Err(error) if is_temporary(&error) => {}
            Ok(0) | Err(_) => {
                self.end_input(Input::Ended);
                let _ = self.stream.shutdown(Shutdown::Write);
            }
            Ok(_) => {}
        }
    }

    fn end_input(&mut self, input: Input) {
        self.input = input;
        self.deadline.get_or_insert_with(|| running_time::now() + AFTER_INPUT);
    }

    fn flush_to_server(&mut self) {
        let mut stream = &self.stream;
        if self.to_server.flush(|bytes| stream.write(bytes)).is_err() {
            // What the remote has sent before is still passed on.
            self.to_server.clear();
            self.end_input(Input::Ended);
            let _ = self.stream.shutdown(Shutdown::Write);
        }
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
}

/// The time left until `at`, a time of [`running_time`], for poll(2).
#[must_use]
pub fn until(at: Instant) -> Timespec {
    timespec(at.saturating_duration_since(running_time::now()))
}

/// A timeout for poll(2).
#[must_use]
pub fn timespec(left: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(left.subsec_nanos()) }
}
