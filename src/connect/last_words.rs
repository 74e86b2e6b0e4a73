//! Reporting in the client's own protocol why there will be no session.
//!
//! ssh sends our stderr to /dev/null under ControlPersist (so under all of Ansible); a DISCONNECT in place of the next
//! packet is printed even then. It has to stand on a packet boundary and before the server's NEWKEYS.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::stdio::{stdin, stdout};

use crate::connect::queue::Queue;
use crate::connect::relay::{self, GONE};
use crate::domain::handshake;
use crate::error::Error;

/// A failure, and what the client has received from the server so far.
#[derive(Debug)]
pub struct Failed {
    /// The failure.
    pub error: Error,
    /// Decides how it can be reported in-band.
    pub heard: Heard,
    /// Whole lines and packets that the client has not taken yet.
    pub pending: Vec<u8>,
}

/// What a client has received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// No version line yet: it needs one of ours before the DISCONNECT.
    Nothing,
    /// Whole packets. It may have a host key prompt open and read nothing until that is answered.
    Packets {
        /// Its NEWKEYS is here, so that no prompt is open.
        ready: bool,
    },
    /// Something that we do not read: nothing can be reported in it.
    Opaque,
}

/// How long the client gets to read the DISCONNECT.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The same while a prompt may be open: as long as a server would wait (sshd's LoginGraceTime).
const LAST_WORDS_AT_A_PROMPT: Duration = Duration::from_mins(2);

/// Writes the DISCONNECT and waits until the client has gone or had its time to read it: one that writes into a closed
/// pipe first would be killed by that and never print it.
pub fn tell(failed: &Failed) {
    let disconnect = handshake::disconnect(&failed.error.in_one_line());
    let (version, limit): (&[u8], Duration) = match failed.heard {
        Heard::Nothing => (handshake::OUR_VERSION, LAST_WORDS),
        Heard::Packets { ready: true } => (b"", LAST_WORDS),
        Heard::Packets { ready: false } => (b"", LAST_WORDS_AT_A_PROMPT),
        Heard::Opaque => return,
    };
    let mut queue = Queue::with([&failed.pending, version, &disconnect].concat());
    let deadline = Instant::now() + limit;
    let mut block = [0; 4096];
    while Instant::now() < deadline {
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
