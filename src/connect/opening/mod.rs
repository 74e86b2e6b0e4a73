//! From nothing to an open session: connecting, pushing in parallel, and holding the handshake until both are done.
//!
//! One loop over poll(2). Each side's clear-text packets pass at once; its NEWKEYS and what follows waits until the
//! client is ready (its own NEWKEYS is here, so any host key prompt has been answered) and the key is on the instance
//! within the push window. Until then every failure can still be told in-band, on a packet boundary, in place of the
//! server's NEWKEYS.
//!
//! Beside it: finding the instance (`reach`) and waiting (`waiting`). Not here: what a packet is (`domain::handshake`), talking to AWS (`connect::worker`), the bytes afterwards (`relay`).

use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::stdio::stdin;

use crate::connect::dial::Attempt;
use crate::connect::host_key_check::{HostKeyCheck, Setting};
use crate::connect::last_words::{Failed, Heard};
use crate::connect::push::{self, Job};
use crate::connect::queue::Queue;
use crate::connect::relay::{GONE, hung_up};
use crate::connect::worker::{Answer, Program, Request, Waiting, Worker};
use crate::domain::handshake::{Direction, Phase};
use crate::domain::source::AddressKind;
use crate::domain::ssh_words::{self, Refusal};
use crate::error::{Error, Kind, Result, reason};
use crate::store::keys;
use crate::store::paths::Paths;
use crate::sys::clock;
use crate::ui;

mod reach;
mod waiting;

/// After so long without an answer AWS is asked where the instance is.
const ENQUIRE_AFTER: Duration = Duration::from_secs(1);
/// The most that a push may take, its queue included; sshd hangs up after 120 s (LoginGraceTime).
const PUSH_PATIENCE: Duration = Duration::from_secs(100);
/// What the worker gets on top of a push's time to say that it was not enough.
const WORKER_SLACK: Duration = Duration::from_secs(5);
/// A lease is renewed this often while a prompt is open; a third of its length.
const RENEW_LEASE: Duration = Duration::from_mins(1);
/// Most that a client may send before the server speaks; it is sent again if the address changes.
const LONGEST_EARLY: usize = 64 * 1024;
/// The client is not read while so many bytes wait for the server.
const LONGEST_QUEUE: usize = 64 * 1024;
/// As OpenSSH between two of its `ConnectionAttempts`.
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(1);
/// From the server's version line to the client's NEWKEYS, with the time at the host key prompt. sshd itself waits 120 s
/// unless its LoginGraceTime is changed.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_mins(10);

/// Where to, and with what.
#[derive(Debug)]
pub struct Target {
    /// Address or name as ssh gave it; the instance's own id where ssh knows no better.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Which address of the instance to use if AWS has to be asked.
    pub address: AddressKind,
    /// The push: instance, user, identity.
    pub job: Job,
    /// How host keys are checked before they are relayed; none: ssh alone checks them.
    pub host_keys: Option<Setting>,
    /// When the opening began.
    pub start: Instant,
    /// How long one attempt may take until the server's version line.
    pub patience: Duration,
    /// How long all attempts together may take: less than the time after which ssh gives up on us.
    pub limit: Option<Duration>,
    /// How often a connection that fails is begun: `ConnectionAttempts`.
    pub attempts: u32,
}

impl Target {
    /// What is left of the time until ssh gives up, or until our own timeouts are over.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        let limit = self.limit.unwrap_or_else(|| self.patience.saturating_mul(self.attempts));
        limit.saturating_sub(self.start.elapsed())
    }
}

/// What can be begun before everything is known, since it hardly ever turns out to be in vain.
#[derive(Debug, Default)]
pub struct Early {
    /// A connection on its way to the address that ssh gave.
    pub dialled: Option<Attempt>,
    /// A process that gets ready to push.
    pub worker: Option<Waiting>,
}

/// How the opening ended.
#[derive(Debug)]
pub enum Opened {
    /// Everything that was held has been passed on.
    Session {
        /// The connection, non-blocking.
        stream: TcpStream,
        /// What the client gets first.
        to_client: Queue,
        /// What the server gets first.
        to_server: Queue,
        /// The instance had another address than the one that ssh was told.
        moved: bool,
    },
    /// The client, or the server in the midst of the handshake, has gone: nothing to tell.
    Gone,
}

enum Push {
    /// The key is on the instance; when its request was sent, in milliseconds since 1970.
    Landed(u64),
    Running {
        worker: Worker,
        since: Instant,
    },
}

enum Enquiry {
    NotYet,
    Running(Worker),
    Answered,
}

/// Why there is no connection at the moment.
#[derive(Debug)]
struct Refused {
    /// In words, the address included.
    what: String,
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
    server: Direction,
    early: Vec<u8>,
    to_client: Queue,
    to_server: Queue,
    host_keys: Option<HostKeyCheck>,
    /// Units of the server that wait for the console output.
    unchecked: Vec<u8>,
    /// The far end of a direction that is held has gone: it is not waited for any more.
    client_closed: bool,
    server_closed: bool,
    attempt: Option<Attempt>,
    /// When the present attempt began, and how many have.
    attempt_start: Instant,
    attempts: u32,
    /// When the next attempt begins, and where to.
    retry: Option<(Instant, IpAddr)>,
    /// When the server's version line came.
    spoke: Option<Instant>,
    resolving: Option<Worker>,
    /// Have answered, and are waited for when nobody waits for us any more.
    done: Vec<Worker>,
    push: Push,
    enquiry: Enquiry,
    /// Why the last attempt failed, to be told once AWS has nothing better.
    refused: Option<Refused>,
    moved: bool,
    renewed: Instant,
    /// A push was repeated because a prompt took long: once is enough, whatever the window.
    repeated: bool,
}

/// Opens the session, over a connection that is on its way already if it leads to where it should.
///
/// # Errors
///
/// [`Failed`], within the target's patience as long as the server has not spoken.
pub fn open(
    target: &Target,
    early: Early,
    paths: &Paths,
    program: &Program,
) -> std::result::Result<Opened, Box<Failed>> {
    let now = Instant::now();
    let mut opening = Opening {
        target,
        paths,
        program,
        client: Direction::new(),
        server: Direction::new(),
        early: Vec::new(),
        to_client: Queue::new(),
        to_server: Queue::new(),
        host_keys: None,
        unchecked: Vec::new(),
        client_closed: false,
        server_closed: false,
        attempt: None,
        attempt_start: target.start,
        attempts: 1,
        retry: None,
        spoke: None,
        resolving: None,
        done: Vec::new(),
        push: Push::Landed(0),
        enquiry: Enquiry::NotYet,
        refused: None,
        moved: false,
        renewed: now,
        repeated: false,
    };
    opening
        .run(early)
        .map_err(|error| Box::new(Failed { heard: opening.heard(), error, pending: opening.to_client.take() }))
}

impl Opening<'_> {
    fn run(&mut self, early: Early) -> Result<Opened> {
        if let Some(setting) = &self.target.host_keys {
            self.host_keys = Some(HostKeyCheck::start(self.paths, self.program, &self.target.job, setting)?);
        }
        self.start_push(early.worker)?;
        self.dial_host(early.dialled)?;
        loop {
            if let Some(opened) = self.step()? {
                return Ok(opened);
            }
            if self.ready()? {
                return Ok(self.release());
            }
        }
    }

    /// Leases the key, and starts the push unless it is on the instance already.
    fn start_push(&mut self, ready: Option<Waiting>) -> Result<()> {
        let job = &self.target.job;
        let now = clock::now();
        if let Some(stamp) = push::stamp(self.paths, &job.id, &job.user)
            && stamp.is_fresh(&stamp.key, &job.user, now, job.window)
        {
            // In use from here on; one that has been removed is made anew, and is another key then.
            let key = keys::lease(self.paths, &job.id, job.key_type, now)?;
            if stamp.key == key.fingerprint {
                self.push = Push::Landed(stamp.sent);
                return Ok(());
            }
        }
        let patience = u64::try_from(PUSH_PATIENCE.as_millis()).unwrap_or(u64::MAX);
        let ready = ready.map_or_else(|| self.program.prepare(), Ok)?;
        let worker = ready.ask(&Request::Push(Box::new(job.clone()), patience))?;
        self.push = Push::Running { worker, since: Instant::now() };
        Ok(())
    }

    fn ask(&self, request: &Request) -> Result<Worker> {
        self.program.start(request)
    }

    fn server_spoke(&self) -> bool {
        self.server.phase() != Phase::Greeting
    }

    /// Waits for something to happen and deals with it. Some: it is over.
    fn step(&mut self) -> Result<Option<Opened>> {
        let Some(happened) = self.wait()? else { return Ok(None) };
        if happened.reader_gone {
            return Ok(Some(Opened::Gone));
        }
        if happened.push {
            self.push_answers()?;
        }
        if happened.console
            && let Some(check) = &mut self.host_keys
        {
            check.worker_writes();
        }
        self.relay_checked()?;
        if happened.enquiry {
            self.enquiry_answers()?;
        }
        if happened.resolving {
            self.name_resolved()?;
        }
        if happened.client && self.client_writes()? {
            return Ok(Some(Opened::Gone));
        }
        if !happened.socket.is_empty() && self.socket_ready(happened.socket)? {
            return Ok(Some(Opened::Gone));
        }
        self.flush_to_server();
        if self.to_client.flush_to_stdout().is_err() {
            return Ok(Some(Opened::Gone));
        }
        self.alarms()?;
        Ok(None)
    }

    fn server_held(&self) -> bool {
        matches!(self.server.phase(), Phase::NewKeys | Phase::Opaque)
    }

    fn next_alarm(&self) -> Instant {
        let mut next = self.renewed + RENEW_LEASE;
        if let Push::Running { since, .. } = self.push {
            next = next.min(since + PUSH_PATIENCE + WORKER_SLACK);
        }
        if let Some(alarm) = self.host_keys.as_ref().and_then(HostKeyCheck::next_alarm) {
            next = next.min(alarm);
        }
        if let Some(spoke) = self.spoke {
            if !self.client_ready() {
                next = next.min(spoke + HANDSHAKE_TIMEOUT);
            }
        } else {
            next = next.min(self.attempt_deadline());
            if let Some((at, _)) = self.retry {
                next = next.min(at);
            }
            if matches!(self.enquiry, Enquiry::NotYet) {
                next = next.min(self.target.start + ENQUIRE_AFTER);
            }
        }
        next
    }

    fn alarms(&mut self) -> Result<()> {
        if self.renewed.elapsed() >= RENEW_LEASE {
            self.renewed = Instant::now();
            keys::lease(self.paths, &self.target.job.id, self.target.job.key_type, clock::now())?;
        }
        if let Some(check) = &mut self.host_keys {
            check.alarm();
        }
        self.relay_checked()?;
        if let Push::Running { since, .. } = self.push
            && since.elapsed() >= PUSH_PATIENCE + WORKER_SLACK
        {
            return Err(push::too_late(&self.target.job));
        }
        if let Some(spoke) = self.spoke {
            return if spoke.elapsed() >= HANDSHAKE_TIMEOUT && !self.client_ready() {
                Err(self.handshake_failed(format!("did not finish within {} min", HANDSHAKE_TIMEOUT.as_secs() / 60)))
            } else {
                Ok(())
            };
        }
        self.connection_alarms()
    }

    fn handshake_failed(&self, what: impl std::fmt::Display) -> Error {
        Error::new(Kind::Unreachable, format!("the SSH handshake with {} {what}", self.target.job.name()))
            .hint("try again; ssh -v shows how far it comes")
    }

    fn push_answers(&mut self) -> Result<()> {
        let Push::Running { worker, .. } = &mut self.push else { return Ok(()) };
        let Some(answer) = worker.read() else { return Ok(()) };
        let Answer::Pushed(sent) = answer? else {
            return Err(Error::new(Kind::Bug, "the process that pushes answered something else"));
        };
        let taken = self.target.start.elapsed().as_millis();
        ui::verbose(|| format!("the key is on {} after {taken} ms", self.target.job.label));
        if let Push::Running { worker, .. } = std::mem::replace(&mut self.push, Push::Landed(sent)) {
            self.done.push(worker);
        }
        Ok(())
    }

    /// Reads what the client says. True: it is gone.
    fn client_writes(&mut self) -> Result<bool> {
        match self.client.phase() {
            // ssh has hung up on a handshake that was waiting for the push.
            Phase::NewKeys => return Ok(true),
            // Whatever this is may say all it has to say and close: that is still to be passed on.
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
        if let Some(check) = &mut self.host_keys {
            check.client_units(&pass)?;
        }
        if !self.server_spoke() {
            self.early.extend_from_slice(&pass);
        }
        if self.attempt.is_some() {
            self.to_server.push(&pass);
        }
        Ok(false)
    }

    fn flush_to_server(&mut self) {
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| !attempt.connecting) else { return };
        if self.to_server.flush(|bytes| attempt.stream.write(bytes)).is_err() {
            // A broken connection shows on its reading side, with what the server has sent before.
            self.to_server.clear();
        }
    }

    /// Goes on with the connection. True: the server went away after its version line, which ssh reports.
    fn socket_ready(&mut self, ready: PollFlags) -> Result<bool> {
        let is_held = self.server_held();
        let Some(attempt) = &mut self.attempt else { return Ok(false) };
        if attempt.connecting {
            if let Err(error) = attempt.finish() {
                self.attempt_failed(&reason(&error));
            }
            return Ok(false);
        }
        let has_closed = ready.intersects(GONE | hung_up());
        match self.server.phase() {
            _ if is_held && !has_closed => return Ok(false),
            // The server has given up on a handshake that somebody's prompt, or the push, held up.
            Phase::NewKeys => return Ok(true),
            Phase::Opaque => {
                self.server_closed = true;
                return Ok(false);
            }
            Phase::Greeting | Phase::Packets => {}
        }
        if !self.to_client.is_empty() {
            return Ok(false);
        }
        let mut block = [0; 16 * 1024];
        match attempt.stream.read(&mut block) {
            Ok(0) if self.server_spoke() => Ok(true),
            Ok(0) => {
                self.closed_by_server();
                Ok(false)
            }
            Ok(count) => self.server_writes(&block[..count]).map(|()| false),
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => Ok(false),
            Err(_) if self.server_spoke() => Ok(true),
            Err(error) => {
                self.attempt_failed(&reason(&error));
                Ok(false)
            }
        }
    }

    fn server_writes(&mut self, bytes: &[u8]) -> Result<()> {
        let pass = self.server.read(bytes);
        if self.server_spoke() {
            self.early = Vec::new();
            self.spoke.get_or_insert_with(Instant::now);
        }
        self.unchecked.extend(pass);
        self.relay_checked()?;
        if self.server.phase() == Phase::NewKeys && !self.server.key_exchange_seen() {
            // Held until the client is ready, which it never would be without the server's reply.
            return Err(self.handshake_failed("failed: the server sent NEWKEYS before the key exchange"));
        }
        Ok(())
    }

    /// Relays what the server has sent, once its console output has been read and its host key is accepted.
    fn relay_checked(&mut self) -> Result<()> {
        if let Some(check) = &mut self.host_keys {
            if check.is_reading() {
                return Ok(());
            }
            let (accepted, decided) = check.server_units(&self.unchecked);
            self.to_client.push(&self.unchecked[..accepted]);
            self.unchecked.clear();
            decided?;
            if self.server.phase() == Phase::Opaque || self.client.phase() == Phase::Opaque {
                return Err(check.not_ssh());
            }
        }
        self.to_client.push(&std::mem::take(&mut self.unchecked));
        Ok(())
    }

    /// The server closed the connection before its version line.
    fn closed_by_server(&mut self) {
        let Some(attempt) = self.attempt.take() else { return };
        let place = format!("{} port {}", attempt.address.ip(), attempt.address.port());
        let line = self.server.text_before_version();
        self.refused = Some(if line.is_empty() {
            let what = format!("{place} closed the connection before it sent a version");
            Refused { what, hint: Some(ssh_words::CLOSED_AT_ONCE) }
        } else {
            let what = format!("{place} refused the connection: {line:?}");
            Refused { what, hint: Refusal::of(&line).map(Refusal::hint) }
        });
    }

    /// The client has answered every prompt, or speaks something that we do not read.
    fn client_ready(&self) -> bool {
        matches!(self.client.phase(), Phase::NewKeys | Phase::Opaque) || self.server.phase() == Phase::Opaque
    }

    /// Whether everything may pass: the client is ready, and the push has landed and still counts. If a prompt took
    /// longer than the push window, the key is pushed once more.
    fn ready(&mut self) -> Result<bool> {
        let connected = self.attempt.as_ref().is_some_and(|attempt| !attempt.connecting);
        let Push::Landed(sent) = self.push else { return Ok(false) };
        if !connected || !self.client_ready() {
            return Ok(false);
        }
        if let Some(check) = &self.host_keys {
            if check.is_reading() || self.server.phase() != Phase::NewKeys {
                return Ok(false);
            }
            check.finish()?;
        }
        // By what the worker said and not by the record on disk: a disk that takes none must not push for ever.
        let window = self.target.job.window;
        if self.repeated || clock::now().checked_sub(sent).is_some_and(|age| age < window) {
            return Ok(true);
        }
        self.repeated = true;
        ui::verbose(|| format!("the key on {} has grown old meanwhile: pushing it again", self.target.job.label));
        self.start_push(None)?;
        Ok(matches!(self.push, Push::Landed(_)))
    }

    fn release(&mut self) -> Opened {
        let Some(attempt) = self.attempt.take() else { return Opened::Gone };
        self.to_client.push(&self.server.release());
        self.to_server.push(&self.client.release());
        Opened::Session {
            stream: attempt.stream,
            to_client: std::mem::take(&mut self.to_client),
            to_server: std::mem::take(&mut self.to_server),
            moved: self.moved,
        }
    }

    fn heard(&self) -> Heard {
        // The version line may still wait for the console output.
        let has_version = self.host_keys.as_ref().is_none_or(HostKeyCheck::version_relayed);
        match self.server.phase() {
            _ if !has_version => Heard::Nothing,
            Phase::Packets | Phase::NewKeys => Heard::Packets { ready: self.client_ready() },
            Phase::Opaque if self.server.version_passed() => Heard::Opaque,
            Phase::Greeting | Phase::Opaque => Heard::Nothing,
        }
    }
}
