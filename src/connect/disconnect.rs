//! Reporting in the client's own protocol why there will be no session.
//!
//! ssh sends our stderr to /dev/null under ControlPersist (so under all of Ansible); a DISCONNECT in place of the next
//! packet is printed even then. It has to follow a packet boundary and precede the server's NEWKEYS.

use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::stdio::{stdin, stdout};

use crate::connect::queue::Queue;
use crate::connect::relay::{self, GONE};
use crate::domain::handshake;
use crate::error::Error;
use crate::sys::running_time;

/// A failed opening, and what the client has received from the server so far.
#[derive(Debug)]
pub struct OpeningFailure {
    /// The failure.
    pub error: Error,
    /// Decides how it can be reported in-band.
    pub client: ClientState,
    /// Whole lines and packets that have not been written to the client.
    pub pending: Vec<u8>,
}

/// What a client has received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientState {
    /// No version line yet: the proxy's own version line precedes the DISCONNECT.
    NoVersion,
    /// Whole packets. It may have a host key prompt open and read nothing until that is answered.
    Packets {
        /// Its NEWKEYS has arrived, so that no prompt is open.
        ready: bool,
    },
    /// Another protocol: nothing can be reported in it.
    Opaque,
}

/// How long the client may take to read the DISCONNECT.
const TIMEOUT: Duration = Duration::from_secs(1);
/// The same while a prompt may be open: as long as a server would wait (sshd's LoginGraceTime).
const TIMEOUT_AT_A_PROMPT: Duration = Duration::from_mins(2);

/// The in-band message if the user has read the error on stderr, where ssh prints this one below it.
const SHORT: &str = "ssh-eic: see the error above";

/// Writes the DISCONNECT and waits until the client has closed or had its time to read it: one that writes into a closed
/// pipe first would be ended by a signal and never print it.
///
/// `is_read`: the error has been printed on a terminal, so that the in-band message is short. If it went to a pipe or to
/// /dev/null, as with Ansible and editors, the complete message is sent in-band too.
pub fn send(failure: &OpeningFailure, is_read: bool) {
    let message = if is_read { SHORT.to_owned() } else { failure.error.in_one_line() };
    let disconnect = handshake::disconnect(&message);
    let (version, limit): (&[u8], Duration) = match failure.client {
        ClientState::NoVersion => (handshake::OUR_VERSION, TIMEOUT),
        ClientState::Packets { ready: true } => (b"", TIMEOUT),
        ClientState::Packets { ready: false } => (b"", TIMEOUT_AT_A_PROMPT),
        ClientState::Opaque => return,
    };
    let mut queue = Queue::with([&failure.pending, version, &disconnect].concat());
    let deadline = running_time::now() + limit;
    let mut block = [0; 4096];
    while running_time::now() < deadline {
        if queue.flush_to_stdout().is_err() {
            return;
        }
        let output = if queue.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        let mut fds = [PollFd::from_borrowed_fd(stdin(), PollFlags::IN), PollFd::from_borrowed_fd(stdout(), output)];
        match poll(&mut fds, Some(&relay::until(deadline))) {
            Err(rustix::io::Errno::INTR) => continue,
            Ok(count) if count > 0 => {}
            _ => return,
        }
        let (input, output) = (fds[0].revents(), fds[1].revents());
        if output.intersects(GONE) {
            return;
        }
        if input.is_empty() {
            continue;
        }
        match rustix::io::read(stdin(), &mut block) {
            Ok(count) if count > 0 => {}
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            _ => return,
        }
    }
}
