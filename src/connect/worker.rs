//! What talks to AWS for the proxy, the hook and whoever else needs one answer: a child process that ends with its answer.
//!
//! A proxy lives as long as its session, hours and days, and there may be hundreds of them; the SDK's memory must not
//! stay with it. A hook must not take longer than 35 s; a child can be ended whatever it waits for. The child reads one
//! request from stdin, writes one answer to stdout, each a line, and ends at once when its stdin ends, that is when whoever started it
//! is gone, however that went.

use std::io::{self, BufRead, Read, Write};
use std::net::{IpAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use serde::{Deserialize, Serialize};

use crate::aws::client::{self, RequestLimits};
use crate::aws::{credentials, instances};
use crate::connect::console;
use crate::connect::push::{self, Job};
use crate::connect::relay::until;
use crate::connect::session_worker::{self, SessionRequest};
use crate::connect::tunnel::{self, TunnelAnswer, TunnelRequest};
use crate::discover::locate;
use crate::discover::sync::{self, Occasion};
use crate::domain::fleet::Instance;
use crate::domain::ids::InstanceId;
use crate::error::{Error, Kind, Result};
use crate::store::config;
use crate::store::host_keys::ConsoleRecord;
use crate::store::index::{Content, Index, Known};
use crate::store::paths::Paths;
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
        asked.map_err(|error| Error::new(Kind::Bug, "the process that asks AWS has ended").because(error))?;
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

    /// Asks a worker and waits for its answer; none if it takes too long, or if whoever reads our output has gone.
    ///
    /// # Errors
    ///
    /// The worker's own.
    pub fn ask(&self, request: &Request, patience: Duration) -> Result<Option<Answer>> {
        let mut worker = self.start(request)?;
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            let mut fds = [
                PollFd::from_borrowed_fd(worker.fd(), PollFlags::IN),
                // No events asked for: only the loss of the reader is told. A file or /dev/null never loses it.
                PollFd::from_borrowed_fd(rustix::stdio::stdout(), PollFlags::empty()),
            ];
            match poll(&mut fds, Some(&until(deadline))) {
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
        Ok(None)
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
                    Err(Error::new(Kind::Bug, "the process that asks AWS ended without an answer"))
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

/// The child's side: gets ready, reads the request, works, writes the answer, unless the parent is gone first.
///
/// # Errors
///
/// [`Kind::Usage`] for what is no request.
pub fn serve(paths: &Paths, program: Program) -> Result<()> {
    let (sender, receiver) = mpsc::channel();
    let paths = paths.clone();
    thread::spawn(move || {
        // What it cannot read now it will not be able to read later, and then it says so.
        let _ = panic::catch_unwind(|| client::http_client(None));
        let mut input = io::BufReader::new(io::stdin());
        let mut line = String::new();
        let request = input.read_line(&mut line).ok().and_then(|_| serde_json::from_str::<Request>(&line).ok());
        let Some(request) = request else {
            return sender
                .send((!line.is_empty()).then(|| Err(Error::new(Kind::Usage, "worker is for ssh-eic itself"))));
        };
        if let Request::Session(request) = request {
            // A panic closes stdout, which the caller sees.
            let _ = panic::catch_unwind(AssertUnwindSafe(|| session_worker::serve(request, input)));
            return sender.send(None);
        }
        let end = sender.clone();
        thread::spawn(move || {
            let _ = io::copy(&mut input, &mut io::sink());
            end.send(None)
        });
        // The watcher has a sender of its own, so that a panic would be waited for like an answer.
        let done = panic::catch_unwind(AssertUnwindSafe(|| answer(&paths, program, request)));
        sender.send(Some(done.unwrap_or_else(|_| {
            Err(Error::new(Kind::Bug, "the process that asks AWS has met a bug")
                .hint("run it with -v and report what it says"))
        })))
    });
    if let Ok(Some(answer)) = receiver.recv() {
        let mut bytes = serde_json::to_vec(&answer).unwrap_or_default();
        bytes.push(b'\n');
        let _ = io::stdout().lock().write_all(&bytes);
    }
    Ok(())
}

fn answer(paths: &Paths, program: Program, request: Request) -> Result<Answer> {
    match request {
        Request::Push(job, patience) => {
            push::ensure(paths, &job, Instant::now() + Duration::from_millis(patience)).map(Answer::Pushed)
        }
        Request::Describe(job) => client::run(async {
            let patience = RequestLimits { max_attempts: 2, ..RequestLimits::PUSH };
            let session =
                credentials::open(&job.identity, job.region.as_deref(), patience, job.cache.as_deref()).await?;
            match instances::by_id(&session, &job.id).await {
                Ok(instance) => Ok(Answer::Instance(instance.map(Box::new))),
                Err(failure) if failure.error.kind == Kind::NoHost => Ok(Answer::Instance(None)),
                Err(failure) => Err(failure.error),
            }
        }),
        Request::Session(_) => Err(Error::new(Kind::Bug, "a request of Session Manager has its own process")),
        Request::Console(job) => console::read(paths, &job).map(Box::new).map(Answer::Console),
        Request::Tunnel(request) => tunnel::prepare(paths, &request).map(Answer::Tunnel),
        Request::Locate(id) => locate(paths, &id),
        Request::Sync => {
            // The proxy tells what matters; the rest would stand between ssh's own lines.
            ui::set_level(true, 0, None);
            let config = config::load(&paths.config, &paths.machine_config)?;
            let run = sync::Run {
                paths,
                config: &config,
                binary: program.binary,
                flags: program.flags,
                only: None,
                if_older_than: None,
                occasion: Occasion::Connection,
                accept_moves: false,
            };
            sync::run(&run).map(|_| Answer::Synced)
        }
        Request::Resolve(name) => (name.as_str(), 0)
            .to_socket_addrs()
            .map(|found| Answer::Addresses(found.map(|address| address.ip()).collect()))
            .map_err(|error| {
                Error::new(Kind::Unreachable, format!("cannot resolve {name}: {}", crate::error::reason(&error)))
                    .hint("ssh-eic sync, or check the name")
            }),
    }
}

fn locate(paths: &Paths, id: &InstanceId) -> Result<Answer> {
    let config = config::load(&paths.config, &paths.machine_config)?;
    let index = Index::open(&paths.index())?;
    let content: Content<Known> = index.as_ref().map(Index::content).transpose()?.unwrap_or_default();
    let (found, failures) =
        locate::locate(&config.sources, &content.sources, id, config::credentials_folder(&config, paths))?;
    match (found, failures.into_iter().next()) {
        (Some((source, region)), _) => Ok(Answer::Located { source, region }),
        (None, Some(error)) => Err(error),
        (None, None) => Ok(Answer::Nowhere),
    }
}
