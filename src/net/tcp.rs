//! A TCP connection that does not block: while it is established, several addresses in turn, and afterwards.

use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::net::closed::{Closed, Stage};
use crate::net::queue::Queue;
use crate::net::state::State;

/// How long one address may take while there are others to try.
const ATTEMPT: Duration = Duration::from_secs(3);
/// Bytes of one read.
pub(super) const BLOCK: usize = 16 * 1024;

/// A socket on its way to one of several addresses, or connected.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    address: SocketAddr,
    connected: bool,
    /// In reverse: the next one to try is the last.
    others: Vec<SocketAddr>,
    attempt: Instant,
}

impl Socket {
    pub(super) fn start(addresses: &[IpAddr], port: u16, now: Instant) -> Result<Self, Closed> {
        let mut others: Vec<SocketAddr> = addresses.iter().rev().map(|ip| SocketAddr::new(*ip, port)).collect();
        Self::next(&mut others, now)
    }

    /// Begins to connect to the first address for which the system does not fail at once.
    fn next(others: &mut Vec<SocketAddr>, now: Instant) -> Result<Self, Closed> {
        let mut closed = Closed::NoAddress;
        while let Some(address) = others.pop() {
            match open(address) {
                Ok((stream, connected)) => {
                    return Ok(Self { stream, address, connected, others: std::mem::take(others), attempt: now });
                }
                Err(error) => closed = Closed::Connect { address, error },
            }
        }
        Err(closed)
    }

    /// Whether it is connected by now; tries the next address where one has failed or takes too long.
    pub(super) fn connect(&mut self, now: Instant) -> Result<bool, Closed> {
        while !self.connected {
            let mut fds = [PollFd::new(&self.stream, PollFlags::OUT)];
            let ready = poll(&mut fds, Some(&Timespec::default())).is_ok_and(|count| count > 0);
            let slow = now >= self.attempt + ATTEMPT && !self.others.is_empty();
            let error = match sockopt::socket_error(&self.stream) {
                Ok(Ok(())) if ready => {
                    self.connected = true;
                    break;
                }
                Ok(Ok(())) if slow => Errno::TIMEDOUT,
                Ok(Ok(())) => return Ok(false),
                Ok(Err(error)) | Err(error) => error,
            };
            if self.others.is_empty() {
                return Err(Closed::Connect { address: self.address, error });
            }
            *self = Self::next(&mut self.others, now)?;
        }
        Ok(true)
    }

    /// When the next address is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (!self.connected && !self.others.is_empty()).then(|| self.attempt + ATTEMPT)
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connected
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds the descriptor, unless there is nothing to wait for: a closed peer would be reported without end.
    pub(super) fn watch<'a>(&'a self, read: bool, write: bool, fds: &mut Vec<PollFd<'a>>) {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, self.connected && read);
        flags.set(PollFlags::OUT, !self.connected || write);
        if !flags.is_empty() {
            fds.push(PollFd::from_borrowed_fd(self.stream.as_fd(), flags));
        }
    }

    pub(super) fn read(&self, block: &mut [u8]) -> Result<usize, Errno> {
        retry(|| rustix::io::read(&self.stream, &mut *block))
    }

    pub(super) fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        retry(|| rustix::io::write(&self.stream, bytes))
    }
}

/// Repeats a call that a signal interrupted.
pub(super) fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}

fn open(address: SocketAddr) -> Result<(TcpStream, bool), Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::empty(), None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    // From the first byte: waiting to fill packets costs a login 40 ms.
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_socket_keepalive(&socket, true)?;
    let connected = match rustix::net::connect(&socket, &address) {
        Ok(()) => true,
        Err(Errno::INPROGRESS) => false,
        Err(error) => return Err(error),
    };
    Ok((TcpStream::from(socket), connected))
}

/// A direct connection.
#[derive(Debug)]
pub struct Tcp {
    socket: Socket,
    pub(super) half: Half,
    pub(super) state: State,
    /// Until when the connection has to be established.
    deadline: Option<Instant>,
}

impl Tcp {
    /// Begins to connect, to several addresses in turn; `timeout` is for all of them.
    ///
    /// # Errors
    ///
    /// [`Closed::Connect`] if the system refuses every address at once, [`Closed::NoAddress`] without one.
    pub fn start(addresses: &[IpAddr], port: u16, timeout: Option<Duration>, now: Instant) -> Result<Self, Closed> {
        let socket = Socket::start(addresses, port, now)?;
        let state = if socket.is_connected() { State::Open } else { State::Connecting };
        Ok(Self { socket, half: Half::default(), state, deadline: timeout.map(|timeout| now + timeout) })
    }

    /// The address that it is connected to, or tries.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.socket.address()
    }

    /// The blocking socket, for a session that copies bytes in two plain loops; with what is still to be sent and what
    /// has been received.
    ///
    /// # Errors
    ///
    /// If the system cannot make it blocking.
    pub fn into_blocking(mut self) -> std::io::Result<(TcpStream, Vec<u8>, Vec<u8>)> {
        self.socket.stream.set_nonblocking(false)?;
        Ok((self.socket.stream, self.half.outgoing.take(), self.half.incoming.take()))
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let connecting = matches!(self.state, State::Connecting);
        let own = self.deadline.filter(|_| connecting);
        [own, self.socket.deadline().filter(|_| connecting)].into_iter().flatten().min()
    }

    pub(super) fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        if !matches!(self.state, State::Closed(_)) {
            self.socket.watch(self.half.wants_read(), self.half.wants_write(), fds);
        }
    }

    pub(super) fn advance(&mut self, now: Instant) {
        if matches!(self.state, State::Connecting) {
            self.state = match self.socket.connect(now) {
                Ok(true) => State::Open,
                Ok(false) if self.deadline.is_some_and(|deadline| now >= deadline) => {
                    State::Closed(Closed::Connect { address: self.socket.address, error: Errno::TIMEDOUT })
                }
                Ok(false) => return,
                Err(closed) => State::Closed(closed),
            };
        }
        if matches!(self.state, State::Open) {
            let Socket { stream, .. } = &self.socket;
            if let Some(ended) = self.half.exchange(
                |block| self.socket.read(block),
                |bytes| self.socket.write(bytes),
                || stream.shutdown(Shutdown::Write),
            ) {
                self.state = State::Closed(ended);
            }
        }
    }
}

/// Both queues of a plain byte stream: TCP or the socket of a child.
#[derive(Debug, Default)]
pub(super) struct Half {
    pub(super) incoming: Queue,
    pub(super) outgoing: Queue,
    /// Nothing more will be sent once the queue is empty.
    finishing: bool,
    /// The writing side is shut down or broken.
    write_ended: bool,
}

impl Half {
    fn wants_read(&self) -> bool {
        self.incoming.room() > 0
    }

    pub(super) fn wants_write(&self) -> bool {
        !self.write_ended && !self.outgoing.is_empty()
    }

    pub(super) fn room(&self) -> usize {
        if self.finishing || self.write_ended { 0 } else { self.outgoing.room() }
    }

    pub(super) fn finish(&mut self) {
        self.finishing = true;
    }

    /// Events to poll a connected socket for.
    pub(super) fn interest(&self) -> PollFlags {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, self.wants_read());
        flags.set(PollFlags::OUT, self.wants_write());
        flags
    }

    /// Writes and reads until either would block. Some: the reading side is over.
    pub(super) fn exchange(
        &mut self,
        mut read: impl FnMut(&mut [u8]) -> Result<usize, Errno>,
        mut write: impl FnMut(&[u8]) -> Result<usize, Errno>,
        shutdown: impl FnOnce() -> std::io::Result<()>,
    ) -> Option<Closed> {
        while self.wants_write() {
            match write(self.outgoing.as_slice()) {
                Ok(count) => self.outgoing.consume(count),
                Err(Errno::AGAIN) => break,
                // A broken connection shows on its reading side, behind what the peer still had to send.
                Err(_) => {
                    self.write_ended = true;
                    self.outgoing.clear();
                }
            }
        }
        if self.finishing && !self.write_ended && self.outgoing.is_empty() {
            self.write_ended = true;
            let _ = shutdown();
        }
        let mut block = [0; BLOCK];
        while self.wants_read() {
            match read(&mut block) {
                Ok(0) => return Some(Closed::Ended),
                Ok(count) => self.incoming.append(&block[..count]),
                Err(Errno::AGAIN) => break,
                Err(error) => return Some(Closed::Broken { stage: Stage::Open, error }),
            }
        }
        None
    }
}
