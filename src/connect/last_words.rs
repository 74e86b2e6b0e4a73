//! Telling the client in its own protocol why there will be no session.
//!
//! ssh sends our stderr to /dev/null under ControlPersist (so under all of Ansible); a DISCONNECT in place of the next
//! packet is printed even then. It has to stand on a packet boundary and before the server's NEWKEYS.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::stdio::stdin;

use crate::connect::relay;
use crate::domain::handshake;
use crate::error::Error;

/// A failure, and what the client has heard from the server so far.
#[derive(Debug)]
pub struct Failed {
    /// In words.
    pub error: Error,
    /// Decides how it can be told in-band.
    pub heard: Heard,
}

/// What a client has heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// No version line yet: it needs one of ours before the DISCONNECT.
    Nothing,
    /// Whole packets. It may have a host key prompt open and read nothing until that is answered.
    Packets {
        /// Its NEWKEYS is here, so that no prompt is open.
        ready: bool,
    },
    /// Something that we do not read: nothing can be told in it.
    Opaque,
}

/// How long the client gets to read its last words.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The same while a prompt may be open: as long as a server would wait (sshd's LoginGraceTime).
const LAST_WORDS_AT_A_PROMPT: Duration = Duration::from_mins(2);

/// Writes the last words and waits until the client has gone or had its time to read them: one that writes into a
/// closed pipe first would die of that and never show them.
pub fn tell(failed: &Failed) {
    let disconnect = handshake::disconnect(&failed.error.in_one_line());
    let (version, patience): (&[u8], Duration) = match failed.heard {
        Heard::Nothing => (handshake::OUR_VERSION, LAST_WORDS),
        Heard::Packets { ready: true } => (b"", LAST_WORDS),
        Heard::Packets { ready: false } => (b"", LAST_WORDS_AT_A_PROMPT),
        Heard::Opaque => return,
    };
    if relay::write_all(&[version, &disconnect].concat()).is_err() {
        return;
    }
    let deadline = Instant::now() + patience;
    let mut block = [0; 4096];
    while Instant::now() < deadline {
        let mut fds = [PollFd::from_borrowed_fd(stdin(), PollFlags::IN)];
        match poll(&mut fds, Some(&relay::until(deadline))) {
            Err(rustix::io::Errno::INTR) => continue,
            Ok(count) if count > 0 => {}
            _ => return,
        }
        if !matches!(rustix::io::read(stdin(), &mut block), Ok(count) if count > 0) {
            return;
        }
    }
}
