//! The worker process: reads one request, makes it, writes one response and ends.
//!
//! Not here: starting such a process and the types of requests and responses (`worker`).

use std::io::{self, BufRead, Write};
use std::net::ToSocketAddrs;
use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::aws::client::{self, RequestLimits};
use crate::aws::{credentials, instances};
use crate::connect::worker::{Answer, Program, Request};
use crate::connect::{console, push, session_worker, tunnel};
use crate::discover::locate;
use crate::discover::sync::{self, Occasion};
use crate::domain::ids::InstanceId;
use crate::error::{Error, Kind, Result};
use crate::store::config;
use crate::store::index::{Content, Index, Known};
use crate::store::paths::Paths;
use crate::ui;

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
            Err(Error::new(Kind::Bug, "internal error in the process that queries AWS, a bug in ssh-eic")
                .hint("run it again with -v and report what it prints"))
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
