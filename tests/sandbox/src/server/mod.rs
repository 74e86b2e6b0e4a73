//! The server process: one per sandbox. It ends at the end of its stdin (its parent is gone) or by a signal, and takes
//! every sshd that it started with it.

pub(crate) mod connection;
mod control_socket;
mod endpoint;
mod fleet;
mod host_keys;
mod http;
mod keys;
mod namespace;
mod network;
mod proxy;
mod relay;
pub(crate) mod sshd;
mod tls;
pub(crate) mod websocket;
mod world;

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Resource, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

pub(crate) use http::{Reply, Request};
pub(crate) use sshd::{console_keys, stranger_id};
pub(crate) use tls::CA;
pub(crate) use world::{Counters, World};

use crate::inside::{READY, Ready};
use crate::options::Form;

/// Runs until the parent is gone or a signal comes; `remove` deletes the folder at the end.
pub(crate) fn serve(dir: &Path, form: Form, tls: bool, remove: bool) -> io::Result<()> {
    let (signals, wake) = UnixStream::pair()?;
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::low_level::pipe::register(signal, wake.try_clone()?)?;
    }
    raise_file_limit();
    if form == Form::Namespaces {
        namespace::furnish(dir)?;
    }
    let (world, acceptor) = World::new(dir.to_owned(), form)?;
    let world = Arc::new(world);
    world.set_own(&world);
    let tls = tls.then(|| world.tls()).transpose()?;
    let endpoint = http::listen(&world, tls.as_ref().map(|tls| Arc::clone(&tls.config)))?;
    control_socket::listen(Arc::clone(&world))?;
    acceptor.start(Arc::clone(&world))?;
    keys::expire_in_background(Arc::clone(&world));
    let ready = Ready {
        pid: rustix::process::getpid().as_raw_nonzero().get(),
        form,
        endpoint,
        ca: tls.map(|tls| tls.ca.clone()),
    };
    announce(dir, &ready)?;
    wait_for_the_end(&signals);
    world.children.kill_all();
    if form == Form::Namespaces {
        namespace::kill_everything_inside();
    }
    if remove {
        let _ = fs::remove_dir_all(dir);
    }
    Ok(())
}

/// Each instance of the loopback form holds a listener.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

fn announce(dir: &Path, ready: &Ready) -> io::Result<()> {
    let line = serde_json::to_string(ready)? + "\n";
    write_whole(&dir.join(READY), line.as_bytes())?;
    io::stdout().write_all(line.as_bytes())?;
    io::stdout().flush()
}

/// Blocks until a signal's byte arrives or stdin ends.
fn wait_for_the_end(signals: &UnixStream) {
    let stdin = io::stdin();
    loop {
        let mut fds = [PollFd::new(signals, PollFlags::IN), PollFd::new(&stdin, PollFlags::IN)];
        if rustix::event::poll(&mut fds, None).is_err() {
            continue;
        }
        let [signal, input] = fds.map(|fd| !fd.revents().is_empty());
        if signal || (input && stdin.lock().read(&mut [0; 64]).unwrap_or(0) == 0) {
            return;
        }
    }
}

/// Replaces a file as a whole: a reader sees the old contents or the new ones.
fn write_whole(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary: PathBuf = path.with_file_name(name);
    fs::write(&temporary, contents)?;
    fs::rename(temporary, path)
}
