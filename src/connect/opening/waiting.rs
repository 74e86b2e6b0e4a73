//! Waiting for everything that an opening has under way: the client, the connections, and the workers.

use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::stdio::{stdin, stdout};

use super::{InstanceQuery, LONGEST_CLIENT_START, Opening, Push};
use crate::connect::host_key_check::HostKeyCheck;
use crate::connect::relay::{self, GONE};
use crate::connect::worker::Worker;
use crate::domain::handshake::Phase;
use crate::error::{Error, Kind, Result};

/// Descriptors that are ready. Connections are advanced in any case.
#[expect(clippy::struct_excessive_bools, reason = "one for each descriptor, all independent")]
pub(super) struct Events {
    pub(super) reader_gone: bool,
    pub(super) client: bool,
    pub(super) push: bool,
    pub(super) query: bool,
    pub(super) resolving: bool,
    pub(super) tunnel: bool,
    pub(super) console: bool,
}

impl Opening<'_> {
    /// Waits at most `limit` for everything that is under way. None: interrupted by a signal.
    pub(super) fn wait(&self, limit: Duration) -> Result<Option<Events>> {
        let mut fds = Vec::with_capacity(8);
        let output = if self.to_client.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        // Without events poll(2) still reports a reader that has closed.
        fds.push(PollFd::from_borrowed_fd(stdout(), output));
        let on_client = self.client_events().map(|events| {
            fds.push(PollFd::from_borrowed_fd(stdin(), events));
            fds.len() - 1
        });
        let push = match &self.push {
            Push::Running { worker, .. } => Some(worker),
            Push::Done(_) => None,
        };
        let query = match &self.query {
            InstanceQuery::Running(worker) => Some(worker),
            _ => None,
        };
        let console = self.host_keys.as_ref().and_then(HostKeyCheck::worker);
        let workers = [push, query, self.resolving.as_ref(), self.tunnel.worker(), console];
        let on_workers = workers.map(|worker: Option<&Worker>| {
            worker.map(|worker| {
                fds.push(PollFd::from_borrowed_fd(worker.fd(), PollFlags::IN));
                fds.len() - 1
            })
        });
        for candidate in self.racing.iter().chain(&self.server) {
            candidate.stream.watch(&mut fds);
        }
        if let Some(probe) = &self.probe {
            probe.stream.watch(&mut fds);
        }
        match poll(&mut fds, Some(&relay::timespec(limit))) {
            Err(rustix::io::Errno::INTR) => return Ok(None),
            Err(error) => return Err(Error::new(Kind::Bug, "cannot wait for the connection").because(error)),
            Ok(_) => {}
        }
        let is_ready = |at: Option<usize>| at.is_some_and(|at| !fds[at].revents().is_empty());
        let [push, query, resolving, tunnel, console] = on_workers.map(is_ready);
        Ok(Some(Events {
            reader_gone: fds[0].revents().intersects(GONE),
            client: is_ready(on_client),
            push,
            query,
            resolving,
            tunnel,
            console,
        }))
    }

    /// Events of stdin; none: it is left out, since poll(2) reports a closed writer without end.
    fn client_events(&self) -> Option<PollFlags> {
        match self.client.phase() {
            _ if self.client_closed => None,
            // A held direction is not read; only its end is waited for.
            Phase::NewKeys | Phase::Opaque => Some(PollFlags::empty()),
            _ if self.client_start.len() >= LONGEST_CLIENT_START || !self.to_server.is_empty() => None,
            Phase::Greeting | Phase::Packets => Some(PollFlags::IN),
        }
    }
}
