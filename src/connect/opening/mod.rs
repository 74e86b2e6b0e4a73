//! From nothing to an open session: connecting over one or two routes, pushing in parallel, and holding the handshake
//! until both are done.
//!
//! One loop over poll(2). Each candidate gets a replay of the client's first bytes; the first one with a complete version
//! line is the server, and the others are closed. Each side's clear-text packets pass at once; its NEWKEYS and what
//! follows waits until the client is ready (its own NEWKEYS has arrived, so any host key prompt has been answered) and
//! the key has been pushed within the push window. Until then every failure can be reported in-band, on a packet
//! boundary, in place of the server's NEWKEYS.
//!
//! Parts: one route's connection (`candidate`), the address (`address`), the endpoint (`endpoint`), Session Manager
//! (`session`), `auto` (`auto`), the host key at an address (`probe`), poll(2) (`waiting`). Not here: what a packet is
//! (`domain::handshake`), the host key in packets (`domain::kex`), AWS (`connect::worker`), the bytes afterwards (`relay`,
//! `stream_relay`).

use std::time::{Duration, Instant};

use rustix::stdio::stdin;

use crate::connect::disconnect::{ClientState, OpeningFailure};
use crate::connect::host_key_check::HostKeyCheck;
use crate::connect::push;
use crate::connect::queue::Queue;
use crate::connect::stream_relay::StreamSession;
use crate::connect::worker::{Program, Request, Worker};
use crate::domain::handshake::{Direction, Phase};
use crate::domain::kex::{KeyExchange, Sender};
use crate::domain::source::Route;
use crate::error::{Error, Kind, Result};
use crate::net::{State, Stream, Tcp};
use crate::store::keys;
use crate::store::paths::Paths;
use crate::sys::clock;
use crate::sys::running_time::{self, STEP, Turns};

mod address;
mod auto;
mod candidate;
mod endpoint;
mod probe;
mod pushing;
mod session;
mod target;
mod waiting;

use candidate::{Candidate, Progress};
use endpoint::TunnelState;
use probe::Probe;
use session::SessionState;
pub use target::{Outcome, Session, Speculative, Target};

/// After so long without a response AWS is asked for the instance.
const QUERY_AFTER: Duration = Duration::from_secs(1);
/// The most that a push may take, its queue included; sshd closes the connection after 120 s (LoginGraceTime).
const PUSH_TIMEOUT: Duration = Duration::from_secs(100);
/// Added to a push's time, for the worker to report that it was not enough.
const WORKER_SLACK: Duration = Duration::from_secs(5);
/// A lease is renewed this often while a prompt is open; a third of its length.
const RENEW_LEASE: Duration = Duration::from_mins(1);
/// Most that a client may send before the server's version line.
const LONGEST_CLIENT_START: usize = 64 * 1024;
/// As OpenSSH between two of its `ConnectionAttempts`.
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(1);
/// From the server's version line to the client's NEWKEYS, with the time at the host key prompt. sshd itself waits 120 s
/// unless its LoginGraceTime is changed.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_mins(10);

enum Push {
    /// The key is on the instance; when its request was sent, in milliseconds since 1970.
    Done(u64),
    Running {
        worker: Worker,
        since: Instant,
    },
}

/// The query of the instance at AWS.
enum InstanceQuery {
    NotStarted,
    Running(Worker),
    Done,
}

/// Why the address cannot be reached.
#[derive(Debug)]
struct AddressFailure {
    /// In words, the address included.
    message: String,
    /// Replaces the usual hint.
    hint: Option<&'static str>,
}

/// The loop's state.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one connection")]
struct Opening<'a> {
    target: &'a Target,
    paths: &'a Paths,
    program: &'a Program,
    client: Direction,
    /// The client's bytes before the server's version line, for every candidate.
    client_start: Vec<u8>,
    client_closed: bool,
    to_client: Queue,
    to_server: Queue,
    /// Candidates without a version line.
    racing: Vec<Candidate>,
    /// The candidate that delivered its version line first.
    server: Option<Candidate>,
    key_exchange: KeyExchange,
    /// Reads the host key at the address before that is a candidate.
    probe: Option<Probe>,
    host_keys: Option<HostKeyCheck>,
    /// Lines and packets of the server that wait for the console output.
    unchecked: Vec<u8>,
    /// When the present attempt began, and how many have.
    attempt_start: Instant,
    attempts: u32,
    turns: Turns,
    /// When the next attempt begins, and to which host.
    retry: Option<(Instant, String)>,
    version_at: Option<Instant>,
    resolving: Option<Worker>,
    /// Workers that have answered; their exit is waited for at the end.
    finished: Vec<Worker>,
    push: Push,
    query: InstanceQuery,
    address_failure: Option<AddressFailure>,
    /// The address has been tried, which `auto` may not do at all.
    dialled: bool,
    tunnel: TunnelState,
    session: SessionState,
    /// Its VPC has no usable endpoint.
    lacks_endpoint: bool,
    /// `auto` has no other route than the address, so that ssh judges its host key.
    is_direct_only: bool,
    /// When `auto` starts the instance-specific route.
    tunnel_at: Option<Instant>,
    /// Cached endpoints and credentials were refused once.
    refreshed: bool,
    /// Time in the queue for a tunnel, which does not count as connecting.
    queued: Duration,
    moved: bool,
    renewed: Instant,
    /// A push was repeated because a prompt took long: once is enough, whatever the window.
    repeated: bool,
}

/// Opens the session, over the speculative connection if that leads to the right address.
///
/// # Errors
///
/// [`OpeningFailure`], within the target's timeout until the server's version line.
pub fn open(
    target: &Target,
    speculative: Speculative,
    paths: &Paths,
    program: &Program,
) -> std::result::Result<Outcome, Box<OpeningFailure>> {
    let now = running_time::now();
    let mut opening = Opening {
        target,
        paths,
        program,
        client: Direction::new(),
        client_start: Vec::new(),
        client_closed: false,
        to_client: Queue::new(),
        to_server: Queue::new(),
        racing: Vec::new(),
        server: None,
        key_exchange: KeyExchange::new(),
        probe: None,
        host_keys: None,
        unchecked: Vec::new(),
        attempt_start: now,
        turns: Turns::new(),
        attempts: 1,
        retry: None,
        version_at: None,
        resolving: None,
        finished: Vec::new(),
        push: Push::Done(0),
        query: InstanceQuery::NotStarted,
        address_failure: None,
        dialled: false,
        tunnel: TunnelState::NotStarted,
        session: SessionState::NotStarted,
        lacks_endpoint: false,
        is_direct_only: false,
        tunnel_at: None,
        refreshed: false,
        queued: Duration::ZERO,
        moved: false,
        renewed: now,
        repeated: false,
    };
    opening.run(speculative).map_err(|error| {
        Box::new(OpeningFailure { client: opening.client_state(), error, pending: opening.to_client.take() })
    })
}

impl Opening<'_> {
    fn run(&mut self, speculative: Speculative) -> Result<Outcome> {
        if let Some(setting) = &self.target.host_keys {
            let connect_timeout = self.target.limit.map(|limit| self.target.start + limit);
            let check = HostKeyCheck::start(self.paths, self.program, &self.target.job, setting, connect_timeout)?;
            self.host_keys = Some(check);
        }
        self.start_push(speculative.worker)?;
        self.start_route(speculative.connection)?;
        loop {
            if let Some(outcome) = self.step()? {
                return Ok(outcome);
            }
            if self.ready()? {
                return self.release();
            }
        }
    }

    fn start_route(&mut self, speculative: Option<Tcp>) -> Result<()> {
        match &self.target.job.connection.route {
            Route::Direct | Route::Jump(_) => self.dial_host(speculative),
            Route::Endpoint => self.start_tunnel(),
            Route::Ssm => self.start_session(),
            Route::Auto => self.start_auto(),
        }
    }

    fn ask(&self, request: &Request) -> Result<Worker> {
        self.program.start(request)
    }

    /// Waits for an event and handles it. Some: the opening has ended.
    fn step(&mut self) -> Result<Option<Outcome>> {
        let limit = self.wait_limit();
        let events = self.wait(limit)?;
        self.turns.end(limit);
        let Some(events) = events else { return Ok(None) };
        if events.reader_gone {
            return Ok(Some(Outcome::Closed));
        }
        if events.push {
            self.read_push()?;
        }
        if events.query {
            self.read_query()?;
        }
        if events.resolving {
            self.read_addresses()?;
        }
        if events.tunnel {
            self.read_tunnel()?;
        }
        if events.console
            && let Some(check) = &mut self.host_keys
        {
            self.finished.extend(check.read_worker());
        }
        if events.client && self.read_client()? {
            return Ok(Some(Outcome::Closed));
        }
        self.advance_candidates()?;
        self.relay_checked()?;
        if self.relay_server()? {
            return Ok(Some(Outcome::Closed));
        }
        self.check_timers()?;
        Ok(None)
    }

    fn server_phase(&self) -> Phase {
        self.server.as_ref().map_or(Phase::Greeting, |server| server.server.phase())
    }

    /// The longest wait: up to the next timer, and short while the server's answer is waited for.
    fn wait_limit(&self) -> Duration {
        let left = self.next_timer().saturating_duration_since(running_time::now());
        if self.version_at.is_none() { left.min(STEP) } else { left }
    }

    fn next_timer(&self) -> Instant {
        let mut next = self.renewed + RENEW_LEASE;
        if let Push::Running { since, .. } = self.push {
            next = next.min(since + PUSH_TIMEOUT + WORKER_SLACK);
        }
        if let Some(timer) = self.host_keys.as_ref().and_then(HostKeyCheck::next_timer) {
            next = next.min(timer);
        }
        let streams = self.racing.iter().chain(&self.server).map(|candidate| &candidate.stream);
        let streams = streams.chain(self.probe.as_ref().map(|probe| &probe.stream)).filter_map(Stream::deadline);
        next = streams.fold(next, Instant::min);
        if let Some(version_at) = self.version_at {
            return if self.client_ready() { next } else { next.min(version_at + HANDSHAKE_TIMEOUT) };
        }
        let timers = [self.attempt_deadline(), self.retry.as_ref().map(|(at, _)| *at), self.tunnel_at];
        next = timers.into_iter().flatten().chain(self.tunnel.next_timer()).fold(next, Instant::min);
        if matches!(self.query, InstanceQuery::NotStarted) {
            next = next.min(self.target.start + QUERY_AFTER);
        }
        next
    }

    fn check_timers(&mut self) -> Result<()> {
        if running_time::since(self.renewed) >= RENEW_LEASE {
            self.renewed = running_time::now();
            let job = &self.target.job;
            keys::lease(self.paths, &job.id, job.key_type, job.readable, clock::now())?;
        }
        if let Some(check) = &mut self.host_keys {
            check.check_timers();
            // What the server has sent has waited for the end of the reading.
            self.relay_checked()?;
        }
        if let Push::Running { since, .. } = self.push
            && running_time::since(since) >= PUSH_TIMEOUT + WORKER_SLACK
        {
            return Err(push::too_late(&self.target.job));
        }
        if let Some(version_at) = self.version_at {
            return if running_time::since(version_at) >= HANDSHAKE_TIMEOUT && !self.client_ready() {
                Err(self.handshake_failed(format!("did not finish within {} min", HANDSHAKE_TIMEOUT.as_secs() / 60)))
            } else {
                Ok(())
            };
        }
        self.check_tunnel_timers()?;
        self.check_connection_timers()
    }

    fn handshake_failed(&self, what: impl std::fmt::Display) -> Error {
        Error::new(Kind::Unreachable, format!("the SSH handshake with {} {what}", self.target.job.name()))
            .hint("try again; ssh -v shows how far it gets")
    }

    /// Reads from the client. True: it has closed.
    fn read_client(&mut self) -> Result<bool> {
        match self.client.phase() {
            // ssh has ended a handshake that was waiting for the push.
            Phase::NewKeys => return Ok(true),
            // Another protocol's client may send everything and close: that is still passed on.
            Phase::Opaque => {
                self.client_closed = true;
                return Ok(false);
            }
            Phase::Greeting | Phase::Packets => {}
        }
        let mut block = [0; 16 * 1024];
        let count = match rustix::io::read(stdin(), &mut block) {
            Ok(0) | Err(rustix::io::Errno::CONNRESET) => return Ok(true),
            Ok(count) => count,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return Ok(false),
            Err(error) => return Err(Error::new(Kind::Bug, "cannot read from ssh").because(error)),
        };
        let pass = self.client.read(&block[..count]);
        self.key_exchange.observe(Sender::Client, &pass);
        if let Some(check) = &mut self.host_keys {
            check.client_units(&pass)?;
        }
        if self.server.is_some() {
            self.to_server.push(&pass);
        } else {
            self.client_start.extend_from_slice(&pass);
        }
        Ok(false)
    }

    /// Moves bytes on all connections; the first one with a version line becomes the server.
    fn advance_candidates(&mut self) -> Result<()> {
        let now = running_time::now();
        if let Some(server) = &mut self.server {
            server.send(&mut self.to_server);
            server.stream.advance(now);
            return Ok(());
        }
        self.advance_probe(now)?;
        let mut at = 0;
        while at < self.racing.len() {
            let is_alone = self.racing.len() == 1 && !self.tunnel.is_pending();
            match self.racing[at].advance(&self.client_start, is_alone, now) {
                Progress::Pending => at += 1,
                Progress::Version => return self.choose(at),
                Progress::Closed(closed) => {
                    let candidate = self.racing.remove(at);
                    self.candidate_failed(candidate, &closed)?;
                }
            }
        }
        Ok(())
    }

    /// Relays what the server has sent. True: a side has closed, which ssh reports.
    fn relay_server(&mut self) -> Result<bool> {
        loop {
            if self.to_client.flush_to_stdout().is_err() {
                return Ok(true);
            }
            let Some(server) = &mut self.server else { return Ok(false) };
            let is_held = matches!(server.server.phase(), Phase::NewKeys | Phase::Opaque);
            let has_room = self.to_client.is_empty() && self.unchecked.is_empty();
            if !has_room || is_held || server.stream.received().is_empty() {
                break;
            }
            let pass = server.read();
            self.pass_to_client(&pass)?;
        }
        let Some(server) = &self.server else { return Ok(false) };
        let State::Closed(closed) = server.stream.state() else { return Ok(false) };
        match server.server.phase() {
            Phase::Opaque => Ok(false),
            Phase::NewKeys | Phase::Packets | Phase::Greeting if !self.to_client.is_empty() => Ok(false),
            _ => match server.lost(closed) {
                Some(error) => Err(error),
                None => Ok(true),
            },
        }
    }

    /// Every whole packet of the server's key exchange passes here before the client gets it.
    fn pass_to_client(&mut self, bytes: &[u8]) -> Result<()> {
        self.unchecked.extend_from_slice(bytes);
        self.relay_checked()?;
        let Some(server) = &self.server else { return Ok(()) };
        if server.server.phase() == Phase::NewKeys && !server.server.key_exchange_seen() {
            // Held until the client is ready, which it never would be without the server's reply.
            return Err(self.handshake_failed("failed: the server sent NEWKEYS before the key exchange"));
        }
        Ok(())
    }

    /// Relays what the server has sent, once its console output has been read, up to a host key that is refused.
    fn relay_checked(&mut self) -> Result<()> {
        if self.unchecked.is_empty() || self.host_keys.as_ref().is_some_and(HostKeyCheck::is_reading) {
            return Ok(());
        }
        let units = std::mem::take(&mut self.unchecked);
        self.check_host_key(&units)?;
        let (accepted, decided) = match &mut self.host_keys {
            Some(check) => check.server_units(&units),
            None => (units.len(), Ok(())),
        };
        self.to_client.push(&units[..accepted]);
        decided
    }

    /// Whether the host key has been accepted, without which NEWKEYS is not relayed.
    fn host_key_accepted(&self) -> Result<bool> {
        let Some(check) = &self.host_keys else { return Ok(true) };
        if check.is_reading() {
            return Ok(false);
        }
        match (self.client.phase(), self.server_phase()) {
            (Phase::Opaque, _) | (_, Phase::Opaque) => Err(check.not_ssh()),
            (_, Phase::NewKeys) => check.finish().map(|()| true),
            (_, Phase::Greeting | Phase::Packets) => Ok(false),
        }
    }

    /// Makes a candidate the server and closes the others.
    fn choose(&mut self, at: usize) -> Result<()> {
        let mut candidate = self.racing.swap_remove(at);
        self.racing.clear();
        self.probe = None;
        self.tunnel = TunnelState::NotStarted;
        self.version_at = Some(running_time::now());
        self.to_server = Queue::with(candidate.not_replayed(&self.client_start).to_vec());
        self.client_start = Vec::new();
        let greeting = candidate.take_greeting();
        self.server = Some(candidate);
        self.pass_to_client(&greeting)
    }

    /// The client has answered every prompt, or speaks a protocol that is not read.
    fn client_ready(&self) -> bool {
        matches!(self.client.phase(), Phase::NewKeys | Phase::Opaque) || self.server_phase() == Phase::Opaque
    }

    fn release(&mut self) -> Result<Outcome> {
        let Some(mut server) = self.server.take() else { return Ok(Outcome::Closed) };
        self.remember_route(&server);
        self.to_client.push(&server.server.release());
        self.to_server.push(&self.client.release());
        let mut to_client = std::mem::take(&mut self.to_client);
        let mut to_server = std::mem::take(&mut self.to_server);
        let session = match server.stream {
            Stream::Tcp(tcp) => {
                let failed = |error| Error::new(Kind::Bug, "cannot prepare the connection").because(error);
                let (stream, outgoing, incoming) = tcp.into_blocking().map_err(failed)?;
                stream.set_nonblocking(true).map_err(failed)?;
                to_client.push(&incoming);
                Session::Tcp(stream, Queue::with([outgoing, to_server.take()].concat()))
            }
            stream => Session::Stream(Box::new(StreamSession { stream, via: server.via, to_server })),
        };
        Ok(Outcome::Session { session, to_client, moved: self.moved })
    }

    fn client_state(&self) -> ClientState {
        let Some(server) = &self.server else { return ClientState::NoVersion };
        // The version line may still wait for the console output.
        if self.host_keys.as_ref().is_some_and(|check| !check.version_relayed()) {
            return ClientState::NoVersion;
        }
        match server.server.phase() {
            Phase::Packets | Phase::NewKeys => ClientState::Packets { ready: self.client_ready() },
            Phase::Opaque if server.server.version_passed() => ClientState::Opaque,
            Phase::Greeting | Phase::Opaque => ClientState::NoVersion,
        }
    }
}
