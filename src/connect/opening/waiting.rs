//! Waiting on everything that an opening has under way: the client, the connection, and the workers.

use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::stdio::{stdin, stdout};

use super::{Enquiry, LONGEST_EARLY, Opening, Push};
use crate::connect::relay;
use crate::domain::handshake::Phase;
use crate::error::{Error, Kind, Result};

/// What poll(2) had to say.
#[expect(clippy::struct_excessive_bools, reason = "one for each descriptor, all independent")]
pub(super) struct Happened {
    pub(super) reader_gone: bool,
    pub(super) client: bool,
    pub(super) socket: bool,
    pub(super) push: bool,
    pub(super) enquiry: bool,
    pub(super) resolving: bool,
}

/// The far end of a connection that is not read at the moment has closed its side.
#[cfg(target_os = "linux")]
fn hung_up() -> PollFlags {
    PollFlags::RDHUP
}

/// Elsewhere only the end of both sides is told.
#[cfg(not(target_os = "linux"))]
fn hung_up() -> PollFlags {
    PollFlags::empty()
}

impl Opening<'_> {
    /// Waits on everything that is under way. None: interrupted by a signal.
    pub(super) fn wait(&self) -> Result<Option<Happened>> {
        // A held direction is not read; only its far end's going away is asked for (an empty set of events).
        let client_held = matches!(self.client.phase(), Phase::NewKeys | Phase::Opaque);
        let client = if client_held || self.early.len() >= LONGEST_EARLY { PollFlags::empty() } else { PollFlags::IN };
        let socket = self.attempt.as_ref().map(|attempt| {
            let events = if attempt.connecting { PollFlags::OUT } else { PollFlags::IN };
            (&attempt.stream, if self.server_held() { hung_up() } else { events })
        });
        let mut fds = Vec::with_capacity(6);
        let mut add = |fd| {
            fds.push(fd);
            fds.len() - 1
        };
        let on_stdout = add(PollFd::from_borrowed_fd(stdout(), PollFlags::empty()));
        let on_client = add(PollFd::from_borrowed_fd(stdin(), client));
        let on_socket = socket.map(|(stream, events)| add(PollFd::from_borrowed_fd(stream.as_fd(), events)));
        let on_push = match &self.push {
            Push::Running { worker, .. } => Some(add(PollFd::from_borrowed_fd(worker.fd(), PollFlags::IN))),
            Push::Landed(_) => None,
        };
        let on_enquiry = match &self.enquiry {
            Enquiry::Running(worker) => Some(add(PollFd::from_borrowed_fd(worker.fd(), PollFlags::IN))),
            _ => None,
        };
        let on_resolving =
            self.resolving.as_ref().map(|worker| add(PollFd::from_borrowed_fd(worker.fd(), PollFlags::IN)));
        match poll(&mut fds, Some(&relay::until(self.next_alarm()))) {
            Err(rustix::io::Errno::INTR) => return Ok(None),
            Err(error) => return Err(Error::new(Kind::Bug, "cannot wait for the connection").because(error)),
            Ok(_) => {}
        }
        let happened = |at: Option<usize>| at.is_some_and(|at| !fds[at].revents().is_empty());
        Ok(Some(Happened {
            reader_gone: happened(Some(on_stdout)),
            client: happened(Some(on_client)),
            socket: happened(on_socket),
            push: happened(on_push),
            enquiry: happened(on_enquiry),
            resolving: happened(on_resolving),
        }))
    }
}
