//! From nothing to an open session: connecting, pushing in parallel, and holding the handshake until both are done.
//!
//! One loop over poll(2). Each side's clear-text packets pass at once; its NEWKEYS and what follows waits until the
//! client is ready (its own NEWKEYS is here, so any host key prompt has been answered) and the key is on the instance
//! within the push window. Until then every failure can still be told in-band, on a packet boundary, in place of the
//! server's NEWKEYS.
//!
//! Beside it: finding the instance (`reach`) and waiting (`waiting`). Not here: what a packet is (`domain::handshake`), talking to AWS (`connect::worker`), the bytes afterwards (`relay`).

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::stdio::stdin;

use crate::connect::dial::Attempt;
use crate::connect::last_words::{Failed, Heard};
use crate::connect::push::{self, Job};
use crate::connect::relay;
use crate::connect::worker::{Answer, Program, Request, Waiting, Worker};
use crate::domain::handshake::{Direction, Phase};
use crate::domain::source::AddressKind;
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
    /// When the attempt began.
    pub start: Instant,
    /// How long it may take until the server's first word.
    pub patience: Duration,
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
        /// The connection.
        stream: TcpStream,
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

/// The loop's state.
struct Opening<'a> {
    target: &'a Target,
    paths: &'a Paths,
    program: &'a Program,
    client: Direction,
    server: Direction,
    early: Vec<u8>,
    attempt: Option<Attempt>,
    resolving: Option<Worker>,
    /// Have answered, and are waited for when nobody waits for us any more.
    done: Vec<Worker>,
    push: Push,
    enquiry: Enquiry,
    /// Why the last attempt failed, to be told once AWS has nothing better.
    refused: Option<String>,
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
pub fn open(target: &Target, early: Early, paths: &Paths, program: &Program) -> std::result::Result<Opened, Failed> {
    let now = Instant::now();
    let mut opening = Opening {
        target,
        paths,
        program,
        client: Direction::new(),
        server: Direction::new(),
        early: Vec::new(),
        attempt: None,
        resolving: None,
        done: Vec::new(),
        push: Push::Landed(0),
        enquiry: Enquiry::NotYet,
        refused: None,
        moved: false,
        renewed: now,
        repeated: false,
    };
    opening.run(early).map_err(|error| Failed { heard: opening.heard(), error })
}

impl Opening<'_> {
    fn run(&mut self, early: Early) -> Result<Opened> {
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
        if happened.enquiry {
            self.enquiry_answers()?;
        }
        if happened.resolving {
            self.name_resolved()?;
        }
        if happened.client && self.client_writes()? {
            return Ok(Some(Opened::Gone));
        }
        if happened.socket && self.socket_ready()? {
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
        if !self.server_spoke() {
            next = next.min(self.target.start + self.target.patience);
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
        if let Push::Running { since, .. } = self.push
            && since.elapsed() >= PUSH_PATIENCE + WORKER_SLACK
        {
            return Err(push::too_late(&self.target.job));
        }
        if self.server_spoke() {
            return Ok(());
        }
        let stuck = self.attempt.is_none() && self.resolving.is_none();
        if stuck && matches!(self.enquiry, Enquiry::Answered) || self.target.start.elapsed() >= self.target.patience {
            return Err(self.unreachable());
        }
        if stuck || self.target.start.elapsed() >= ENQUIRE_AFTER {
            self.enquire()?;
        }
        Ok(())
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
            Phase::Opaque => return Ok(false),
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
        if !self.server_spoke() {
            self.early.extend_from_slice(&pass);
        }
        if let Some(attempt) = self.attempt.as_mut().filter(|attempt| !attempt.connecting) {
            // A broken connection shows on its reading side, with what the server still had to say.
            let _ = attempt.stream.write_all(&pass);
        }
        Ok(false)
    }

    /// Goes on with the connection. True: the server went away after it had spoken, which is ssh's to report.
    fn socket_ready(&mut self) -> Result<bool> {
        let Some(attempt) = &mut self.attempt else { return Ok(false) };
        if attempt.connecting {
            match attempt.finish().and_then(|()| attempt.stream.write_all(&self.early)) {
                Ok(()) => {}
                Err(error) => self.attempt_failed(&reason(&error)),
            }
            return Ok(false);
        }
        match self.server.phase() {
            // The server has given up on a handshake that somebody's prompt, or the push, held up.
            Phase::NewKeys => return Ok(true),
            Phase::Opaque => return Ok(false),
            Phase::Greeting | Phase::Packets => {}
        }
        let mut block = [0; 16 * 1024];
        match attempt.stream.read(&mut block) {
            Ok(0) if self.server_spoke() => Ok(true),
            Ok(0) => {
                self.attempt_failed("closed the connection before it said anything");
                Ok(false)
            }
            Ok(count) => {
                let pass = self.server.read(&block[..count]);
                if self.server_spoke() {
                    self.early = Vec::new();
                }
                relay::write_all(&pass).map(|()| false).or(Ok(true))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(_) if self.server_spoke() => Ok(true),
            Err(error) => {
                self.attempt_failed(&reason(&error));
                Ok(false)
            }
        }
    }

    fn attempt_failed(&mut self, why: &str) {
        if let Some(attempt) = self.attempt.take() {
            self.refused = Some(format!("{} port {}: {why}", attempt.address.ip(), attempt.address.port()));
        }
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
        let mut stream = attempt.stream;
        let told = relay::write_all(&self.server.release());
        if told.is_err() || stream.write_all(&self.client.release()).is_err() {
            return Opened::Gone;
        }
        Opened::Session { stream, moved: self.moved }
    }

    fn heard(&self) -> Heard {
        match self.server.phase() {
            Phase::Packets | Phase::NewKeys => Heard::Packets { ready: self.client_ready() },
            Phase::Opaque if self.server.version_passed() => Heard::Opaque,
            Phase::Greeting | Phase::Opaque => Heard::Nothing,
        }
    }
}
