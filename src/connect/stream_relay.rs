//! Carrying the bytes of a session over a tunnel or a child process: one poll(2) loop, no runtime, bounded queues.
//!
//! It ends when the remote ends, when stdout has no reader any more, and at most 3 s after stdin has ended. A websocket
//! has no half-close, so the end of stdin cannot be passed on. Not here: direct connections (`relay`).

use std::io;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::stdio::{stdin, stdout};

use crate::connect::queue::Queue;
use crate::connect::relay::{AFTER_INPUT, GONE, hung_up, until};
use crate::connect::tunnel::PreparedTunnel;
use crate::connect::tunnel_errors;
use crate::domain::freshness::KEY_IN_USE;
use crate::error::Error;
use crate::net::{Closed, State, Stream};
use crate::store::tunnel_slots::Slot;
use crate::sys::running_time;

/// What carries a connection.
#[derive(Debug)]
pub enum Via {
    /// TCP to the instance.
    Direct,
    /// `ssh -W` through this host.
    Jump(String),
    /// A tunnel through an EC2 Instance Connect Endpoint.
    Endpoint(Box<OpenTunnel>),
    /// A session of Session Manager.
    Session,
}

/// A tunnel and its slot.
#[derive(Debug)]
pub struct OpenTunnel {
    /// Endpoint and address.
    pub tunnel: PreparedTunnel,
    /// Held for the life of the tunnel.
    pub slot: Slot,
    /// When it was started.
    pub opened: Instant,
    /// The `maxTunnelDuration` requested, in seconds.
    pub max_duration: u16,
}

impl Via {
    /// The error of a connection that has ended unexpectedly; none where ssh's own message says as much.
    #[must_use]
    pub fn ended(&self, closed: &Closed) -> Option<Error> {
        match self {
            Self::Endpoint(open) => Some(tunnel_errors::ended(&open.tunnel, open.opened, open.max_duration, closed)),
            Self::Session => match closed {
                Closed::Failed(error) => Some((**error).clone()),
                _ => None,
            },
            Self::Direct | Self::Jump(_) => None,
        }
    }
}

/// An open session.
#[derive(Debug)]
pub struct StreamSession {
    /// The connection.
    pub stream: Stream,
    /// What carries it.
    pub via: Via,
    /// What the server gets first.
    pub to_server: Queue,
}

/// The loop's state.
#[derive(Debug)]
pub struct StreamRelay {
    session: StreamSession,
    to_client: Queue,
    stdin_open: bool,
    deadline: Option<Instant>,
}

impl StreamRelay {
    /// A relay; the client gets `to_client` first.
    #[must_use]
    pub fn new(session: StreamSession, to_client: Queue) -> Self {
        Self { session, to_client, stdin_open: true, deadline: None }
    }

    /// Runs until one of the ends, and returns the error if that was unexpected. `retire` is called when the key may be
    /// out of use and returns when to call again.
    ///
    /// # Errors
    ///
    /// If the system refuses to wait.
    pub fn run(mut self, mut retire: impl FnMut() -> Option<Duration>) -> io::Result<Option<Error>> {
        // The lease has just been taken; before it is over there is nothing to do.
        let mut retire_at = Some(running_time::now() + Duration::from_millis(KEY_IN_USE));
        loop {
            let now = running_time::now();
            self.send_queued();
            self.session.stream.advance(now);
            if self.write_to_client().is_err() || self.deadline.is_some_and(|at| now >= at) {
                self.close();
                return Ok(None);
            }
            if retire_at.is_some_and(|at| now >= at) {
                retire_at = retire().map(|wait| now + wait);
            }
            if let State::Closed(closed) = self.session.stream.state()
                && self.to_client.is_empty()
                && self.session.stream.received().is_empty()
            {
                // After the client's own end an end of the connection is expected.
                let is_expected = !self.stdin_open || client_has_closed();
                return Ok(self.session.via.ended(closed).filter(|_| !is_expected));
            }
            let next = [self.deadline, retire_at, self.session.stream.deadline()].into_iter().flatten().min();
            let Some((on_stdout, on_stdin)) = self.wait(next)? else { continue };
            if on_stdout.intersects(GONE) {
                self.close();
                return Ok(None);
            }
            if !on_stdin.is_empty() {
                self.read_stdin(on_stdin);
            }
        }
    }

    /// Moves what was received to stdout, as much as that takes.
    fn write_to_client(&mut self) -> io::Result<()> {
        loop {
            self.to_client.flush_to_stdout()?;
            let received = self.session.stream.received();
            if !self.to_client.is_empty() || received.is_empty() {
                return Ok(());
            }
            let count = match rustix::io::write(stdout(), received) {
                Ok(count) => count,
                Err(rustix::io::Errno::INTR) => continue,
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            self.session.stream.consume(count);
            // There is room again.
            self.session.stream.advance(running_time::now());
        }
    }

    fn send_queued(&mut self) {
        let StreamSession { stream, to_server, .. } = &mut self.session;
        let _ = to_server.flush(|bytes| match stream.send(bytes) {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        });
    }

    /// Events of stdout and stdin. None: interrupted by a signal.
    fn wait(&self, until_then: Option<Instant>) -> io::Result<Option<(PollFlags, PollFlags)>> {
        let has_output = !self.to_client.is_empty() || !self.session.stream.received().is_empty();
        let output = if has_output { PollFlags::OUT } else { PollFlags::empty() };
        // Without events poll(2) still reports a reader that has closed.
        let mut fds = vec![PollFd::from_borrowed_fd(stdout(), output)];
        let reads_stdin = self.stdin_open;
        if reads_stdin {
            let events = if self.wants_input() { PollFlags::IN } else { hung_up() };
            fds.push(PollFd::from_borrowed_fd(stdin(), events));
        }
        self.session.stream.watch(&mut fds);
        match poll(&mut fds, until_then.map(until).as_ref()) {
            Err(rustix::io::Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
            Ok(_) => {
                let on_stdin = if reads_stdin { fds[1].revents() } else { PollFlags::empty() };
                Ok(Some((fds[0].revents(), on_stdin)))
            }
        }
    }

    fn wants_input(&self) -> bool {
        self.session.to_server.is_empty() && self.session.stream.room() > 0
    }

    fn read_stdin(&mut self, events: PollFlags) {
        if !self.wants_input() {
            if events.intersects(GONE | hung_up()) {
                // Its writer has closed; what is in the pipe is dropped with it.
                self.end_input();
            }
            return;
        }
        let mut block = [0; 16 * 1024];
        let room = self.session.stream.room().min(block.len());
        match rustix::io::read(stdin(), &mut block[..room]) {
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Ok(0) | Err(_) => {
                self.end_input();
                self.session.stream.finish();
            }
            Ok(count) => {
                self.session.stream.send(&block[..count]);
            }
        }
    }

    fn end_input(&mut self) {
        self.stdin_open = false;
        self.deadline.get_or_insert_with(|| running_time::now() + AFTER_INPUT);
    }

    /// Sends a websocket's close frame, so that the endpoint counts one tunnel less at once.
    fn close(&mut self) {
        if let Stream::Tunnel(tunnel) = &mut self.session.stream {
            tunnel.close();
        }
    }
}

/// Whether ssh has closed its side: of a session that it ended itself.
fn client_has_closed() -> bool {
    let mut fds =
        [PollFd::from_borrowed_fd(stdout(), PollFlags::empty()), PollFd::from_borrowed_fd(stdin(), PollFlags::empty())];
    let now = until(running_time::now());
    poll(&mut fds, Some(&now)).is_ok() && fds.iter().any(|fd| fd.revents().intersects(GONE))
}
