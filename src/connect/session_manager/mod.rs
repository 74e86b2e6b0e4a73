//! The route `ssm`: a byte stream over a Session Manager session, resumed over as many connections as it takes.
//!
//! It connects the pure reliability layer (`domain::session_manager`) to a websocket (`net::Tunnel`) and to the worker
//! processes that sign (`connect::session_worker`). Nothing here blocks, except that dropping an open session waits up
//! to a second for its orderly end.
//!
//! Invariant: a session that the gateway or the agent has not closed is terminated, by a process that outlives this one.
//!
//! Not here: credentials and AWS calls; the race of routes (`opening`).

mod errors;
mod overflow;

use std::fmt;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use crate::connect::first_hop::Websocket;
use crate::connect::push::Job;
use crate::connect::relay::until;
use crate::connect::session_worker::{self, DataChannelGrant, SessionResponse, SessionWorker};
use crate::connect::worker::{Program, SessionRequest};
use crate::domain::session_manager::{Action, Channel, End};
use crate::domain::upgrade::Url;
use crate::error::{Error, Kind, Result};
use crate::net::{self, Closed, Destination, KeepAlive, Message, Mode, State, Timeouts, Transport, Tunnel, trust};
use crate::sys::signals::HangUp;
use crate::sys::{clock, running_time};
use crate::ui;
use overflow::TemporaryFile;

/// Longest message in bytes: the longest payload that the gateway passes on, and its header.
const LONGEST_MESSAGE: usize = 80 * 1024;
const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(10), upgrade: Duration::from_secs(10) };
/// A dead connection is noticed within 90 s: pings at 30 s and 60 s without an answer. Routers on the way forget
/// connections that are idle for one to five minutes.
const KEEP_ALIVE: KeepAlive = KeepAlive { interval: Duration::from_secs(30), timeout: Duration::from_secs(75) };
/// For a worker to start a session, throttling included.
const START_TIMEOUT: Duration = Duration::from_secs(40);
/// For a worker to resume a session.
const RESUME_TIMEOUT: Duration = Duration::from_secs(20);
/// After SIGHUP, the time for the last bytes of stdin to be read,
const HANG_UP_GRACE: Duration = Duration::from_millis(200);
/// and the time after which the session is given up.
const HANG_UP_TIMEOUT: Duration = Duration::from_millis(1500);
/// How long an open session that is dropped may take to end in order.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
/// Most rounds before other streams have their turn.
const MOST_ROUNDS: u32 = 64;

/// The connection below the session.
enum Link {
    /// A worker requests a data channel.
    Requesting {
        worker: SessionWorker,
        until: Instant,
    },
    /// The websocket is being opened; the token is for its first message.
    Dialling {
        tunnel: Box<Tunnel>,
        token: String,
    },
    Up(Box<Tunnel>),
    /// None: the reliability layer decides when to resume.
    Down,
}

/// A session with one port of an instance.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one session")]
pub struct SessionStream {
    program: Program,
    job: Job,
    port: u16,
    began: Instant,
    channel: Channel,
    link: Link,
    /// The session's id while it may exist.
    session: Option<String>,
    tls: Option<(Option<PathBuf>, net::Config)>,
    gateway: String,
    /// A message that the connection does not take yet.
    unsent: Option<Message>,
    state: State,
    /// Why the last connection ended, or was not opened.
    last: Option<Closed>,
    /// Whether any connection was open,
    was_up: bool,
    /// and whether the caller has taken any bytes.
    has_delivered: bool,
    is_finished: bool,
    has_more: bool,
    signal: HangUp,
    hung_up: Option<Instant>,
}

impl fmt::Debug for SessionStream {
    /// Without the link: it holds the token and the URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionStream")
            .field("session", &self.session)
            .field("state", &self.state)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

impl SessionStream {
    /// Starts a session with a port of the job's instance.
    ///
    /// # Errors
    ///
    /// If the worker process cannot be started.
    pub fn start(program: &Program, job: &Job, port: u16, now: Instant) -> Result<Self> {
        let signal =
            HangUp::new().map_err(|error| Error::new(Kind::Bug, "cannot set signal handlers").because(error))?;
        let worker = SessionWorker::start(program, SessionRequest::Start(Box::new(job.clone()), port))?;
        let mut seed = [0; 32];
        fastrand::fill(&mut seed);
        Ok(Self {
            program: program.clone(),
            job: job.clone(),
            port,
            began: now,
            channel: Channel::new(seed, clock::now(), Duration::ZERO, Box::new(TemporaryFile::default())),
            link: Link::Requesting { worker, until: now + START_TIMEOUT },
            session: None,
            tls: None,
            gateway: String::new(),
            unsent: None,
            state: State::Connecting,
            last: None,
            was_up: false,
            has_delivered: false,
            is_finished: false,
            has_more: false,
            signal,
            hung_up: None,
        })
    }

    fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed(_))
    }

    /// The end: whatever is left of the session is terminated.
    fn close(&mut self, closed: Closed) {
        if let Link::Up(tunnel) = &mut self.link {
            tunnel.close();
        }
        self.link = Link::Down;
        self.unsent = None;
        if !self.is_closed() {
            self.state = State::Closed(closed);
        }
        if let Some(id) = self.session.take() {
            session_worker::terminate(&self.program, &self.job, &id);
        }
    }

    fn fail(&mut self, error: Error) {
        self.close(Closed::Failed(Box::new(error)));
    }

    fn end(&mut self, end: &End) {
        if let End::Closed(_) = end {
            self.session = None;
        }
        let error = errors::ended(&self.job.name(), self.port, end, self.last.as_ref());
        self.close(error.map_or(Closed::Ended, |error| Closed::Failed(Box::new(error))));
    }

    /// SIGHUP: ssh has ended or is about to.
    fn check_signal(&mut self, now: Instant) {
        if self.signal.has_arrived() {
            self.hung_up.get_or_insert(now);
        }
        let Some(at) = self.hung_up else { return };
        if now >= at + HANG_UP_GRACE || !self.channel.is_open() {
            self.is_finished = true;
            self.channel.end_input(self.elapsed(now));
        }
        if now >= at + HANG_UP_TIMEOUT {
            self.close(Closed::Ended);
        }
    }

    /// Advances the connection. True: something has changed.
    fn advance_link(&mut self, now: Instant) -> bool {
        match &mut self.link {
            Link::Requesting { worker, until } => {
                let is_late = now >= *until;
                match worker.read() {
                    Some(response) => self.responded(response, now),
                    None if is_late => {
                        let error = errors::timed_out(&self.job.name());
                        self.not_connected(Closed::Failed(Box::new(error)), self.was_up, now);
                    }
                    None => return false,
                }
                true
            }
            Link::Dialling { tunnel, token } => {
                tunnel.advance(now);
                match tunnel.state() {
                    State::Connecting => false,
                    State::Open => {
                        let token = std::mem::take(token);
                        if let Link::Dialling { tunnel, .. } = std::mem::replace(&mut self.link, Link::Down) {
                            self.link = Link::Up(tunnel);
                        }
                        self.was_up = true;
                        self.channel.connected(&token, self.elapsed(now));
                        true
                    }
                    State::Closed(closed) => {
                        let closed = closed.clone();
                        let may_retry = self.was_up && !errors::is_final(&closed);
                        let error = errors::not_opened(&self.job.name(), &self.gateway, &closed);
                        self.not_connected(Closed::Failed(Box::new(error)), may_retry, now);
                        true
                    }
                }
            }
            Link::Up(_) => self.receive(now),
            Link::Down => false,
        }
    }

    fn responded(&mut self, response: SessionResponse, now: Instant) {
        match response {
            SessionResponse::Granted(grant) => {
                self.session = Some(grant.session_id.clone());
                if let Err(error) = self.dial(*grant, now) {
                    self.fail(error);
                }
            }
            SessionResponse::Failed { error, is_temporary } => {
                self.not_connected(Closed::Failed(error), is_temporary && self.was_up, now);
            }
        }
    }

    fn dial(&mut self, grant: DataChannelGrant, now: Instant) -> Result<()> {
        let url = Url::parse(&grant.url)
            .ok_or_else(|| Error::new(Kind::Bug, "the URL of a data channel could not be read"))?;
        self.gateway.clone_from(&url.host);
        let config = self.tls(grant.ca_bundle)?;
        let proxy = Websocket::DataChannel.proxy_for(&url.host)?;
        let destination = Destination { url, proxy, addresses: grant.addresses, headers: grant.headers };
        let mode = Mode::Messages { longest: LONGEST_MESSAGE };
        match Tunnel::start(destination, &config, mode, TIMEOUTS, now) {
            Ok(tunnel) => {
                let tunnel = Box::new(tunnel.with_keep_alive(KEEP_ALIVE));
                self.link = Link::Dialling { tunnel, token: grant.token };
            }
            Err(closed) => {
                let error = errors::not_opened(&self.job.name(), &self.gateway, &closed);
                self.not_connected(Closed::Failed(Box::new(error)), self.was_up, now);
            }
        }
        Ok(())
    }

    fn tls(&mut self, ca_bundle: Option<PathBuf>) -> Result<net::Config> {
        if let Some((of, config)) = &self.tls
            && *of == ca_bundle
        {
            return Ok(config.clone());
        }
        let config = net::config(trust::roots(ca_bundle.as_deref())?)?;
        self.tls = Some((ca_bundle, config.clone()));
        Ok(config)
    }

    /// There is no connection: the session ends, or is resumed later.
    fn not_connected(&mut self, closed: Closed, may_retry: bool, now: Instant) {
        self.link = Link::Down;
        if may_retry {
            ui::verbose(|| format!("{closed}; trying again"));
            self.last = Some(closed);
            self.channel.disconnected(self.elapsed(now));
        } else {
            self.close(closed);
        }
    }

    /// Takes the messages that have arrived. True: there were some, or the connection ended.
    fn receive(&mut self, now: Instant) -> bool {
        let elapsed = self.elapsed(now);
        let Link::Up(tunnel) = &mut self.link else { return false };
        let before = tunnel.last_frame();
        tunnel.advance(now);
        if tunnel.last_frame() > before {
            self.channel.frame_received(elapsed);
        }
        let mut has_received = false;
        while self.channel.wants_input()
            && let Some(message) = tunnel.next_message()
        {
            has_received = true;
            match message {
                Message::Binary(frame) => self.channel.receive(&frame, elapsed),
                Message::Text(_) => self.channel.frame_received(elapsed),
            }
        }
        // What arrived before the end is taken first.
        if let (State::Closed(closed), true, false) = (tunnel.state(), self.channel.wants_input(), has_received) {
            let closed = closed.clone();
            ui::verbose(|| format!("the data channel of {} ended: {closed}", self.job.name()));
            self.last = Some(closed);
            self.link = Link::Down;
            self.channel.disconnected(elapsed);
            return true;
        }
        has_received
    }

    /// Performs what the reliability layer requires. True: something was done.
    fn act(&mut self, now: Instant) -> bool {
        let elapsed = self.elapsed(now);
        let mut has_acted = false;
        while !self.is_closed() && self.flush_message() {
            let Some(action) = self.channel.next_action(elapsed) else { break };
            has_acted = true;
            match action {
                Action::SendText(text) => self.unsent = Some(Message::Text(text.into_bytes())),
                Action::SendBinary(bytes) => self.unsent = Some(Message::Binary(bytes)),
                // The tunnel sends pings of its own (`KEEP_ALIVE`).
                Action::Ping => {}
                Action::Resume => self.resume(now),
                Action::Notice(text) => ui::note(&format!("{}: {text}", self.job.label)),
                Action::Opened => self.state = State::Open,
                Action::End(end) => self.end(&end),
            }
        }
        has_acted
    }

    /// Sends the message that waits; one without a connection is dropped, since the reliability layer repeats it. False:
    /// the connection does not take it yet.
    fn flush_message(&mut self) -> bool {
        let Some(message) = self.unsent.take() else { return true };
        if let Link::Up(tunnel) = &mut self.link
            && *tunnel.state() == State::Open
            && !tunnel.send_message(&message)
        {
            self.unsent = Some(message);
            return false;
        }
        true
    }

    fn resume(&mut self, now: Instant) {
        self.link = Link::Down;
        let Some(id) = self.session.clone() else { return };
        match SessionWorker::start(&self.program, SessionRequest::Resume(Box::new(self.job.clone()), id)) {
            Ok(worker) => self.link = Link::Requesting { worker, until: now + RESUME_TIMEOUT },
            Err(error) => self.not_connected(Closed::Failed(Box::new(error)), true, now),
        }
    }

    /// Ends an open session in order: flushes, sends the flag, and waits for the close.
    fn linger(&mut self) {
        self.finish();
        let limit = running_time::now() + LINGER_TIMEOUT;
        loop {
            let now = running_time::now();
            self.advance(now);
            while !self.channel.output().is_empty() {
                let count = self.channel.output().len();
                self.channel.consume(count, self.elapsed(now));
                self.has_more = true;
            }
            if self.is_closed() || now >= limit {
                return;
            }
            let mut fds = Vec::new();
            self.watch(&mut fds);
            let next = self.deadline().map_or(limit, |deadline| deadline.min(limit));
            let _ = poll(&mut fds, Some(&until(next)));
        }
    }
}

impl Transport for SessionStream {
    fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        if self.is_closed() {
            return;
        }
        fds.push(PollFd::from_borrowed_fd(self.signal.as_fd(), PollFlags::IN));
        match &self.link {
            Link::Requesting { worker, .. } => fds.push(PollFd::from_borrowed_fd(worker.fd(), PollFlags::IN)),
            Link::Dialling { tunnel, .. } | Link::Up(tunnel) => tunnel.watch(fds),
            Link::Down => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        if self.is_closed() {
            return None;
        }
        if self.has_more {
            return Some(self.began);
        }
        let link = match &self.link {
            Link::Requesting { until, .. } => Some(*until),
            Link::Dialling { tunnel, .. } | Link::Up(tunnel) => tunnel.deadline(),
            Link::Down => None,
        };
        // While a message cannot be sent the connection is waited for, and nothing else can be done.
        let elapsed = self.elapsed(running_time::now());
        let channel = self.channel.next_deadline(elapsed).filter(|_| self.unsent.is_none());
        let signal = self.hung_up.map(|at| at + if self.is_finished { HANG_UP_TIMEOUT } else { HANG_UP_GRACE });
        [link, channel.map(|due| self.began + due), signal].into_iter().flatten().min()
    }

    fn advance(&mut self, now: Instant) {
        self.has_more = false;
        if self.is_closed() {
            return;
        }
        self.check_signal(now);
        for _ in 0..MOST_ROUNDS {
            let has_changed = self.advance_link(now);
            let has_acted = self.act(now);
            if self.is_closed() || !(has_changed || has_acted) {
                return;
            }
        }
        self.has_more = true;
    }

    fn state(&self) -> &State {
        &self.state
    }

    fn received(&self) -> &[u8] {
        if self.hung_up.is_some() && self.is_closed() { &[] } else { self.channel.output() }
    }

    fn consume(&mut self, count: usize) {
        self.has_delivered |= count > 0;
        self.channel.consume(count, self.elapsed(running_time::now()));
        // The output is in chunks: no descriptor reports the next one.
        self.has_more |= count > 0 && !self.channel.output().is_empty();
    }

    fn room(&self) -> usize {
        if self.is_closed() { 0 } else { self.channel.can_take() }
    }

    fn send(&mut self, bytes: &[u8]) -> usize {
        if self.is_closed() { 0 } else { self.channel.send(bytes) }
    }

    /// After `finish`: until the session has ended.
    fn is_sending(&self) -> bool {
        self.is_finished && !self.is_closed()
    }

    fn finish(&mut self) {
        self.is_finished = true;
        self.channel.end_input(self.elapsed(running_time::now()));
    }
}

impl Drop for SessionStream {
    fn drop(&mut self) {
        // A route that has lost the race must not delay the one that won: it has delivered nothing.
        if self.session.is_some() && self.has_delivered && self.channel.is_open() && matches!(self.link, Link::Up(_)) {
            self.linger();
        }
        self.close(Closed::Ended);
    }
}
