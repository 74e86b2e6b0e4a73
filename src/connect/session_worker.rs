//! The requests of Session Manager, each made by a process of its own: the proxy keeps neither credentials nor the SDK.
//!
//! The protocol is the same as in `connect::worker`, one line each way, with two differences. The process that starts a session
//! waits until the caller has confirmed the response, and terminates the session if the caller ends before. The process
//! that terminates a session does not depend on its caller at all. Tokens, URLs and headers travel through pipes only.

use std::fmt;
use std::io::{self, BufRead, Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::aws::client::{self, RequestLimits};
use crate::aws::credentials::{self, Session};
use crate::aws::failure::{Failure, Retry};
use crate::aws::profiles;
use crate::aws::session_manager::{self, DataChannel, Target};
use crate::connect::first_hop::Websocket;
use crate::connect::push::Job;
use crate::connect::worker::{Program, Request, SessionRequest};
use crate::domain::upgrade::Url;
use crate::error::{Error, Kind, Result};
use crate::ui;

/// How long throttled requests are repeated; a throttled `StartSession` has started nothing.
const THROTTLED_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a failed `TerminateSession` is repeated.
const TERMINATE_TIMEOUT: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// Confirms that the caller has read the response and takes care of the session.
const CONFIRMATION: &[u8] = b"taken\n";

/// A data channel that can be dialled now. URL, token and headers authorise it, so `Debug` leaves them out.
#[derive(Clone, Serialize, Deserialize)]
pub struct DataChannelGrant {
    /// Identifies the session in later requests.
    pub session_id: String,
    /// The websocket's URL.
    pub url: String,
    /// For the first message.
    pub token: String,
    /// The signature of the upgrade request.
    pub headers: Vec<(String, String)>,
    /// Of the URL's host, or of the HTTP proxy on the way.
    pub addresses: Vec<IpAddr>,
    /// The profile's own file of trusted certificates.
    pub ca_bundle: Option<PathBuf>,
}

impl fmt::Debug for DataChannelGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataChannelGrant").field("session_id", &self.session_id).finish_non_exhaustive()
    }
}

/// The response to [`SessionRequest::Start`] and [`SessionRequest::Resume`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionResponse {
    /// The data channel.
    Granted(Box<DataChannelGrant>),
    /// There is none.
    Failed {
        /// Why.
        error: Box<Error>,
        /// Another attempt can succeed.
        is_temporary: bool,
    },
}

/// A process that starts or resumes a session.
#[derive(Debug)]
pub struct SessionWorker {
    child: Option<Child>,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    response: Vec<u8>,
    /// It starts a session, so that it must not be killed.
    is_start: bool,
}

impl SessionWorker {
    /// Starts the process.
    ///
    /// # Errors
    ///
    /// [`Kind::File`] if it cannot be started.
    pub fn start(program: &Program, request: SessionRequest) -> Result<Self> {
        let is_start = matches!(request, SessionRequest::Start(..));
        let (mut child, stdin) = spawn(program, request, Stdio::piped(), true)?;
        let stdout = child.stdout.take().ok_or_else(|| Error::new(Kind::Bug, "a child without pipes"))?;
        rustix::io::ioctl_fionbio(&stdout, true)
            .map_err(|error| Error::new(Kind::Bug, "cannot set up a pipe").because(error))?;
        Ok(Self { child: Some(child), stdin: Some(stdin), stdout, response: Vec::new(), is_start })
    }

    /// Readable when there is more of the response.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.stdout.as_fd()
    }

    /// The response once it is complete; never blocks. The session is the caller's responsibility from then on.
    pub fn read(&mut self) -> Option<SessionResponse> {
        let mut block = [0; 4096];
        let ended = loop {
            match self.stdout.read(&mut block) {
                Ok(0) => break true,
                Ok(count) => self.response.extend_from_slice(&block[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break false,
                Err(_) => break true,
            }
        };
        if !self.response.ends_with(b"\n") && !ended {
            return None;
        }
        let response = serde_json::from_slice(&self.response).unwrap_or_else(|_| SessionResponse::Failed {
            error: Box::new(Error::new(Kind::Bug, "the process that queries AWS ended without a response")),
            is_temporary: false,
        });
        if let (Some(stdin), true) = (&mut self.stdin, self.is_start) {
            let _ = stdin.write_all(CONFIRMATION);
        }
        Some(response)
    }
}

impl Drop for SessionWorker {
    fn drop(&mut self) {
        // The end of its input makes a process that started a session terminate it.
        drop(self.stdin.take());
        let Some(mut child) = self.child.take() else { return };
        if !self.is_start {
            let _ = child.kill();
        }
        reap(child);
    }
}

/// Terminates a session, in a process that outlives this one. Failures are not reported: the gateway's idle timeout
/// ends the session in that case.
pub fn terminate(program: &Program, job: &Job, session_id: &str) {
    let request = SessionRequest::Terminate(Box::new(job.clone()), session_id.to_owned());
    match spawn(program, request, Stdio::null(), false) {
        Ok((child, _)) => reap(child),
        Err(error) => ui::verbose(|| error.message),
    }
}

fn spawn(program: &Program, request: SessionRequest, stdout: Stdio, may_print: bool) -> Result<(Child, ChildStdin)> {
    let mut command = program.worker();
    command.stdout(stdout);
    if !may_print {
        command.stderr(Stdio::null());
    }
    let mut child = command.spawn().map_err(|error| Error::file("start", &program.binary, &error))?;
    let mut stdin = child.stdin.take().ok_or_else(|| Error::new(Kind::Bug, "a child without pipes"))?;
    let mut line = serde_json::to_vec(&Request::Session(request)).unwrap_or_default();
    line.push(b'\n');
    // A process that has ended already shows on its stdout.
    let _ = stdin.write_all(&line);
    Ok((child, stdin))
}

/// Collects the exit status, without waiting for it: the proxy may go on for days.
fn reap(mut child: Child) {
    if !matches!(child.try_wait(), Ok(None)) {
        return;
    }
    let _ = thread::Builder::new().stack_size(32 * 1024).spawn(move || child.wait());
}

/// The process's side: makes the request and writes the response. `input` continues behind the request.
pub fn serve(request: SessionRequest, mut input: impl BufRead) {
    match request {
        SessionRequest::Start(job, port) => {
            let response = respond(client::run(open(&job, Attempt::Start(port))));
            let session_id = match &response {
                SessionResponse::Granted(grant) => Some(grant.session_id.clone()),
                SessionResponse::Failed { .. } => None,
            };
            let written = write(&response);
            let mut confirmation = Vec::new();
            let is_taken =
                written.is_ok() && input.read_until(b'\n', &mut confirmation).is_ok() && confirmation == CONFIRMATION;
            if let Some(session_id) = session_id.filter(|_| !is_taken) {
                terminate_now(&job, &session_id);
            }
        }
        SessionRequest::Resume(job, session_id) => {
            let _ = write(&respond(client::run(open(&job, Attempt::Resume(&session_id)))));
        }
        SessionRequest::Terminate(job, session_id) => terminate_now(&job, &session_id),
    }
}

fn write(response: &SessionResponse) -> io::Result<()> {
    let mut line = serde_json::to_vec(response)?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}

fn respond(result: Result<SessionResponse>) -> SessionResponse {
    result.unwrap_or_else(|error| {
        let is_temporary = error.kind == Kind::Unavailable || error.kind == Kind::Unreachable;
        SessionResponse::Failed { error: Box::new(error), is_temporary }
    })
}

enum Attempt<'a> {
    Start(u16),
    Resume(&'a str),
}

async fn sign_in(job: &Job) -> Result<Session> {
    credentials::open(&job.identity, job.region.as_deref(), RequestLimits::PUSH, job.cache.as_deref()).await
}

/// Starts or resumes a session, and prepares the upgrade request.
async fn open(job: &Job, request: Attempt<'_>) -> Result<SessionResponse> {
    let name = job.name();
    let began = Instant::now();
    let mut pause = FIRST_PAUSE;
    let mut session = sign_in(job).await?;
    let channel = loop {
        let result = match request {
            Attempt::Start(port) => session_manager::start(&session, Target { id: &job.id, name: &name }, port).await,
            Attempt::Resume(id) => session_manager::resume(&session, id, &name).await,
        };
        let Failure { error, retry, .. } = match result {
            Ok(channel) => break channel,
            Err(failure) => failure,
        };
        if error.kind == Kind::Credentials && session.cache_file.take().is_some() {
            // Cached credentials are not accepted any more: once with fresh ones.
            session = Session { cache_file: None, ..sign_in(job).await? };
            continue;
        }
        if retry != Retry::Throttled || began.elapsed() + pause > THROTTLED_TIMEOUT {
            let is_temporary = retry != Retry::Never;
            return Ok(SessionResponse::Failed { error: Box::new(error), is_temporary });
        }
        ui::verbose(|| format!("{}; trying again", error.message));
        tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    };
    let session_id = channel.session_id.clone();
    match grant(job, &session, channel).await {
        Ok(grant) => Ok(SessionResponse::Granted(Box::new(grant))),
        Err(error) => {
            if matches!(request, Attempt::Start(_)) {
                // The first error is the one to report.
                let _ = session_manager::terminate(&session, &session_id, &name).await;
            }
            Err(error)
        }
    }
}

async fn grant(job: &Job, session: &Session, channel: DataChannel) -> Result<DataChannelGrant> {
    let headers = session_manager::sign_upgrade(session, &channel.stream_url).await?;
    let url = Url::parse(&channel.stream_url).ok_or_else(|| {
        Error::new(Kind::Denied, "AWS returned a data channel whose URL cannot be used")
            .hint("check that no proxy changes the responses of AWS")
    })?;
    Ok(DataChannelGrant {
        addresses: Websocket::DataChannel.first_hop(url)?,
        session_id: channel.session_id,
        url: channel.stream_url,
        token: channel.token_value,
        headers,
        ca_bundle: profiles::ca_bundle(job.identity.profile.as_deref()).await,
    })
}

fn terminate_now(job: &Job, session_id: &str) {
    let terminated = client::run(async {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        let session = sign_in(job).await?;
        loop {
            match session_manager::terminate(&session, session_id, &job.name()).await {
                Ok(()) => return Ok(()),
                Err(failure) if failure.retry == Retry::Never || began.elapsed() > TERMINATE_TIMEOUT => {
                    return Err(failure.error);
                }
                Err(_) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    });
    if let Err(error) = terminated {
        ui::verbose(|| error.message);
    }
}
