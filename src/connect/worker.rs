//! Requests to AWS for the proxy, the hook and other commands: a child process that exits with its response.
//!
//! A proxy lives as long as its session, hours and days, and there may be hundreds of them; the SDK's memory must not
//! stay with it. A hook must not take longer than 35 s; a child can be ended whatever it waits for. The child reads one
//! request from stdin, writes one response to stdout, each a line, and exits at once when its stdin ends, which is when the process
//! that started it has ended.

use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use serde::{Deserialize, Serialize};

use crate::connect::push::Job;
use crate::connect::relay::timespec;
use crate::connect::tunnel::{TunnelAnswer, TunnelRequest};
use crate::domain::fleet::Instance;
use crate::domain::ids::InstanceId;
use crate::error::{Error, Kind, Result};
use crate::store::host_keys::ConsoleRecord;
use crate::sys::running_time::{self, STEP, Turns};
use crate::ui;

/// What a worker is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Request {
    /// See to it that the key is on the instance, within so many milliseconds.
    Push(Box<Job>, u64),
    /// What AWS says of the instance now.
    Describe(Box<Job>),
    /// A request of Session Manager.
    Session(SessionRequest),
    /// Prepare a tunnel through an EC2 Instance Connect Endpoint.
    Tunnel(Box<TunnelRequest>),
    /// The addresses of a name.
    Resolve(String),
    /// The host keys in the console output of the instance, which are stored.
    Console(Box<Job>),
    /// Which source and region has an instance of this id.
    Locate(InstanceId),
    /// A sync, since what the index says has turned out wrong.
    Sync,
}

/// A request of Session Manager.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionRequest {
    /// A new session to a port of the instance.
    Start(Box<Job>, u16),
    /// A new data channel of this session.
    Resume(Box<Job>, String),
    /// The end of this session.
    Terminate(Box<Job>, String),
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// The key is there, since this moment (milliseconds since 1970).
    Pushed(u64),
    /// The instance, if there is one of that id.
    Instance(Option<Box<Instance>>),
    /// What the console output had.
    Console(Box<ConsoleRecord>),
    /// The tunnel, or why there can be none.
    Tunnel(TunnelAnswer),
    /// The addresses, in the resolver's order.
    Addresses(Vec<IpAddr>),
    /// Where the instance is.
    Located {
        /// The source's name.
        source: String,
        /// The region.
        region: String,
    },
    /// No source has it.
    Nowhere,
    /// The sync is done.
    Synced,
}

/// A running child.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    /// Held open: its end is the child's.
    stdin: ChildStdin,
    stdout: ChildStdout,
    answer: Vec<u8>,
}

/// Our own program, and the flags that lead another process of it to the same files.
#[derive(Debug, Clone)]
pub struct Program {
    /// Absolute.
    pub binary: PathBuf,
    /// Flags and their values.
    pub flags: Vec<(String, String)>,
}

/// A child that has no request yet, and gets ready meanwhile.
#[derive(Debug)]
pub struct Waiting(Worker);

impl Waiting {
    /// Gives it its request.
    ///
    /// # Errors
    ///
    /// [`Kind::Bug`] if it has ended before.
    pub fn ask(mut self, request: &Request) -> Result<Worker> {
        let mut line = serde_json::to_vec(request).unwrap_or_default();
        line.push(b'\n');
        let asked = self.0.stdin.write_all(&line);
        asked.map_err(|error| Error::new(Kind::Bug, "the process that queries AWS has ended").because(error))?;
        Ok(self.0)
    }
}

impl Program {
    /// Starts a child that answers one request.
    ///
    /// # Errors
    ///
    /// [`Kind::File`] if it cannot be started.
    pub fn start(&self, request: &Request) -> Result<Worker> {
        self.prepare()?.ask(request)
    }

    /// Starts a child for a request that will come.
    ///
    /// # Errors
    ///
    /// [`Kind::File`] if it cannot be started.
    pub fn prepare(&self) -> Result<Waiting> {
        let fail = |error: io::Error| Error::file("start", &self.binary, &error);
        let mut child = self.worker().spawn().map_err(fail)?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(stdin), Some(stdout)) => Ok(Waiting(Worker { child, stdin, stdout, answer: Vec::new() })),
            _ => Err(Error::new(Kind::Bug, "a child without pipes")),
        }
    }

    /// The command of a worker, with pipes to its stdin and stdout.
    pub(super) fn worker(&self) -> Command {
        let mut command = Command::new(&self.binary);
        for (flag, value) in &self.flags {
            command.arg(flag).arg(value);
        }
        // A process group of its own, so that Ctrl-C does not reach it.
        command.arg("worker").stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        if ui::is_silent() {
            command.stderr(Stdio::null());
        }
        command
    }

    /// Sends a request to a worker and waits for its response; `None` after `timeout`, by the clock of [`running_time`], or
    /// if the reader of stdout has gone.
    ///
    /// # Errors
    ///
    /// The worker's own.
    pub fn ask(&self, request: &Request, timeout: Duration) -> Result<Option<Answer>> {
        let mut worker = self.start(request)?;
        let deadline = running_time::now() + timeout;
        let mut turns = Turns::new();
        loop {
            let limit = deadline.saturating_duration_since(running_time::now()).min(STEP);
            if limit.is_zero() {
                return Ok(None);
            }
            let mut fds = [
                PollFd::from_borrowed_fd(worker.fd(), PollFlags::IN),
                // No events asked for: only the loss of the reader is told. A file or /dev/null never loses it.
                PollFd::from_borrowed_fd(rustix::stdio::stdout(), PollFlags::empty()),
            ];
            let ready = poll(&mut fds, Some(&timespec(limit)));
            turns.end(limit);
            match ready {
                Ok(_) if !fds[1].revents().is_empty() => return Ok(None),
                Ok(_) if !fds[0].revents().is_empty() => {
                    if let Some(answer) = worker.read() {
                        return answer.map(Some);
                    }
                }
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(Error::new(Kind::Bug, "cannot wait for a child").because(error)),
            }
        }
    }
}

impl Worker {
    /// Readable when there is more of the answer.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.stdout.as_fd()
    }

    /// Reads on; the whole answer once its line has ended. The child may still be there for a moment.
    pub fn read(&mut self) -> Option<Result<Answer>> {
        let mut block = [0; 4096];
        match self.stdout.read(&mut block) {
            Ok(count) => {
                self.answer.extend_from_slice(&block[..count]);
                if count > 0 && block[count - 1] != b'\n' {
                    return None;
                }
                let answer = serde_json::from_slice(&self.answer);
                Some(answer.unwrap_or_else(|_| {
                    Err(Error::new(Kind::Bug, "the process that queries AWS ended without a response"))
                }))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => None,
            Err(error) => Some(Err(Error::new(Kind::Bug, "cannot read the answer of a child").because(error))),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
