//! Waiting on everything that an opening has under way: the client, the connection, and the workers.

use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::stdio::{stdin, stdout};

use super::{Enquiry, LONGEST_EARLY, LONGEST_QUEUE, Opening, Push};
use crate::connect::host_key_check::HostKeyCheck;
use crate::connect::relay::{self, GONE, hung_up};
use crate::domain::handshake::Phase;
use crate::error::{Error, Kind, Result};

/// What poll(2) had to say.
#[expect(clippy::struct_excessive_bools, reason = "one for each descriptor, all independent")]
pub(super) struct Happened {
    pub(super) reader_gone: bool,
    pub(super) client: bool,
    pub(super) socket: PollFlags,
    pub(super) push: bool,
    pub(super) console: bool,
    pub(super) enquiry: bool,
    pub(super) resolving: bool,
}

impl Opening<'_> {
    /// Waits on everything that is under way. None: interrupted by a signal.
    pub(super) fn wait(&self) -> Result<Option<Happened>> {
        let when = |condition: bool, flags: PollFlags| if condition { flags } else { PollFlags::empty() };
        let mut fds = Vec::with_capacity(6);
        let mut add = |fd| {
            fds.push(fd);
            fds.len() - 1
        };
        // Without events poll(2) still reports a reader that has gone.
        let on_stdout = add(PollFd::from_borrowed_fd(stdout(), when(!self.to_client.is_empty(), PollFlags::OUT)));
        let on_client = self.client_events().map(|events| add(PollFd::from_borrowed_fd(stdin(), events)));
        let on_socket = match (&self.attempt, self.socket_events()) {
            (Some(attempt), Some(events)) => Some(add(PollFd::from_borrowed_fd(attempt.stream.as_fd(), events))),
            _ => None,
        };
        let on_push = match &self.push {
            Push::Running { worker, .. } => Some(add(PollFd::from_borrowed_fd(worker.fd(), PollFlags::IN))),
            Push::Landed(_) => None,
        };
        let on_console = self
            .host_keys
            .as_ref()
            .and_then(HostKeyCheck::fd)
            .map(|fd| add(PollFd::from_borrowed_fd(fd, PollFlags::IN)));
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
            reader_gone: fds[on_stdout].revents().intersects(GONE),
            client: happened(on_client),
            socket: on_socket.map_or(PollFlags::empty(), |at| fds[at].revents()),
            push: happened(on_push),
            console: happened(on_console),
            enquiry: happened(on_enquiry),
            resolving: happened(on_resolving),
        }))
    }

    /// What to wait for on stdin; none: it is left out, since a hang-up is reported again and again, whatever is asked
    /// for.
    fn client_events(&self) -> Option<PollFlags> {
        match self.client.phase() {
            _ if self.client_closed => None,
            // A held direction is not read; only its hang-up is waited for.
            Phase::NewKeys | Phase::Opaque => Some(PollFlags::empty()),
            _ if self.early.len() >= LONGEST_EARLY || self.to_server.len() >= LONGEST_QUEUE => None,
            Phase::Greeting | Phase::Packets => Some(PollFlags::IN),
        }
    }

    /// The same for the connection.
    fn socket_events(&self) -> Option<PollFlags> {
        let attempt = self.attempt.as_ref()?;
        if attempt.connecting {
            return Some(PollFlags::OUT);
        }
        let output = if self.to_server.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        if self.server_closed {
            return None;
        }
        if self.server_held() {
            return Some(output | hung_up());
        }
        let has_room = self.to_client.is_empty() && self.unchecked.len() < LONGEST_QUEUE;
        let input = if has_room { PollFlags::IN } else { PollFlags::empty() };
        Some(output | input).filter(|events| !events.is_empty())
    }
}
