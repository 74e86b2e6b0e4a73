//! Every instance's address: which listeners are open, who is played on a connection, and addresses that never answer.
//!
//! In namespaces one listener for each port has all addresses, and the connection's local address selects the instance;
//! in the loopback form each instance has a listener of its own.
//!
//! A black hole is a listener on exactly that address and port whose accept queue (length 0) is full with a connection
//! of our own: Linux then drops every SYN, as a firewall would, and answers again as soon as the listener is gone.

use std::collections::{BTreeMap, HashMap, btree_map, hash_map};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::net::{AddressFamily, SocketType, sockopt};

use super::{World, sshd};
use crate::model::{Instance, Network, State};
use crate::options::Form;

/// Connections that may wait to be accepted.
pub(super) const BACKLOG: i32 = 4096;

/// What a listener is for: a port for all addresses, or one instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Purpose {
    Port(u16),
    Instance(String),
}

type Listeners = BTreeMap<Purpose, Arc<TcpListener>>;

/// A full listener and the connection that fills it.
#[derive(Debug)]
struct BlackHole {
    _listener: TcpListener,
    _filler: TcpStream,
}

#[derive(Debug, Default)]
struct Inner {
    listeners: Listeners,
    black_holes: HashMap<SocketAddr, BlackHole>,
    /// Counts changes, and how many of them the acceptor has seen.
    wanted: u64,
    seen: u64,
    serving: bool,
}

/// The open sockets.
#[derive(Debug)]
pub(crate) struct Net {
    inner: Mutex<Inner>,
    swapped: Condvar,
    wake: UnixStream,
}

/// The thread-to-be that accepts connections.
#[derive(Debug)]
pub(super) struct Acceptor {
    wake: UnixStream,
}

impl Net {
    pub(super) fn new() -> io::Result<(Self, Acceptor)> {
        let (wake, woken) = UnixStream::pair()?;
        Ok((Self { inner: Mutex::default(), swapped: Condvar::new(), wake }, Acceptor { wake: woken }))
    }

    /// Binds a free port of 127.0.0.1 for an instance of the loopback form.
    pub(super) fn reserve(&self, id: &str) -> io::Result<u16> {
        let listener = listener(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), BACKLOG)?;
        let port = listener.local_addr()?.port();
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.listeners.insert(Purpose::Instance(id.to_owned()), Arc::new(listener));
        Ok(port)
    }

    /// Opens and closes sockets until they are what these instances need; returns when that is in effect.
    pub(super) fn reconcile(&self, form: Form, instances: &[Arc<Instance>]) -> io::Result<()> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let holes: Vec<SocketAddr> =
            instances.iter().filter(|i| i.network == Network::Blackhole).filter_map(|i| socket_address(i)).collect();
        let wanted = wanted_listeners(form, instances);
        inner.black_holes.retain(|address, _| holes.contains(address));
        let before = inner.listeners.len();
        inner.listeners.retain(|purpose, _| wanted.contains_key(purpose));
        if inner.listeners.len() != before {
            // A closed port must be closed before a black hole can take its place.
            inner = self.swap(inner);
        }
        for (purpose, address) in wanted {
            if let btree_map::Entry::Vacant(entry) = inner.listeners.entry(purpose) {
                let socket = listener(address, BACKLOG).or_else(|error| match address {
                    // No IPv6 in this kernel.
                    SocketAddr::V6(v6) => listener((Ipv4Addr::UNSPECIFIED, v6.port()).into(), BACKLOG),
                    SocketAddr::V4(_) => Err(error),
                })?;
                entry.insert(Arc::new(socket));
            }
        }
        for address in holes {
            if let hash_map::Entry::Vacant(entry) = inner.black_holes.entry(address) {
                entry.insert(BlackHole::dig(address)?);
            }
        }
        drop(self.swap(inner));
        Ok(())
    }

    /// Tells the acceptor about a change and waits until it has let go of the old listeners.
    fn swap<'a>(&'a self, mut inner: std::sync::MutexGuard<'a, Inner>) -> std::sync::MutexGuard<'a, Inner> {
        inner.wanted += 1;
        let wanted = inner.wanted;
        if inner.serving {
            let _ = (&self.wake).write_all(&[0]);
            while inner.seen < wanted {
                inner = self.swapped.wait(inner).unwrap_or_else(PoisonError::into_inner);
            }
        }
        inner
    }

    fn current(&self) -> Listeners {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.serving = true;
        inner.seen = inner.wanted;
        self.swapped.notify_all();
        inner.listeners.clone()
    }
}

impl BlackHole {
    fn dig(address: SocketAddr) -> io::Result<Self> {
        let listener = listener(address, 0)?;
        let filler = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        Ok(Self { _listener: listener, _filler: filler })
    }
}

fn socket_address(instance: &Instance) -> Option<SocketAddr> {
    Some((instance.address.parse::<IpAddr>().ok()?, instance.listen).into())
}

fn wanted_listeners(form: Form, instances: &[Arc<Instance>]) -> BTreeMap<Purpose, SocketAddr> {
    let answering = instances
        .iter()
        .filter(|i| matches!(i.network, Network::Ok | Network::Silent | Network::Deaf | Network::Stranger));
    match form {
        Form::Loopback => {
            answering.filter_map(|i| Some((Purpose::Instance(i.id.clone()), socket_address(i)?))).collect()
        }
        Form::Namespaces => answering
            .map(|i| i.listen)
            .chain([22])
            .map(|port| (Purpose::Port(port), (Ipv6Addr::UNSPECIFIED, port).into()))
            .collect(),
    }
}

/// A listening socket that shares its port with more and less specific ones.
pub(super) fn listener(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.port() != 0 {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    if family == AddressFamily::INET6 {
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, backlog)?;
    Ok(socket.into())
}

impl Acceptor {
    /// Accepts connections from now on, each in its own thread.
    pub(super) fn start(self, world: Arc<World>) -> io::Result<()> {
        self.wake.set_nonblocking(true)?;
        std::thread::Builder::new().name("acceptor".into()).spawn(move || self.run(&world))?;
        Ok(())
    }

    fn run(self, world: &Arc<World>) {
        let mut listeners = world.net.current();
        loop {
            let mut fds = vec![PollFd::new(&self.wake, PollFlags::IN)];
            fds.extend(listeners.values().map(|listener| PollFd::new(listener, PollFlags::IN)));
            if rustix::event::poll(&mut fds, None).is_err() {
                continue;
            }
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            for ((purpose, listener), _) in listeners.iter().zip(&ready[1..]).filter(|(_, ready)| **ready) {
                if let Ok((stream, _)) = listener.accept() {
                    let (world, purpose) = (Arc::clone(world), purpose.clone());
                    std::thread::spawn(move || play(&world, &purpose, stream));
                }
            }
            if ready[0] {
                while (&self.wake).read(&mut [0; 256]).is_ok_and(|count| count > 0) {}
                drop(std::mem::take(&mut listeners));
                listeners = world.net.current();
            }
        }
    }
}

/// Plays the instance at the connection's local address.
fn play(world: &World, purpose: &Purpose, stream: TcpStream) {
    let instance = {
        let mut state = world.lock();
        let found = match (purpose, stream.local_addr()) {
            (Purpose::Instance(id), _) => state.fleet.get(id),
            (Purpose::Port(port), Ok(local)) => state.at(local.ip().to_canonical(), *port),
            (Purpose::Port(_), Err(_)) => None,
        };
        let found = found.filter(|i| i.state == State::Running || i.network != Network::Ok).cloned();
        found.filter(|instance| !state.refuses_connection(instance))
    };
    let result = match instance {
        Some(instance) if instance.network == Network::Stranger => sshd::play_stranger(world, &instance, stream),
        Some(instance) if instance.network == Network::Deaf => keep_open(&stream, &instance.greeting),
        Some(instance) if !instance.greeting.is_empty() => greet(&stream, &instance),
        Some(instance) if instance.network == Network::Ok => sshd::play(world, &instance, stream),
        Some(instance) if matches!(instance.network, Network::Silent | Network::Blackhole) => hold(&stream),
        _ => sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).map_err(io::Error::from),
    };
    if let Err(error) = result {
        eprintln!("connection: {error}");
    }
}

/// The longest version line (RFC 4253 section 4.2), in bytes.
const VERSION_LINE: usize = 255;

/// Sends the greeting and closes, or the greeting and the reply.
fn greet(mut stream: &TcpStream, instance: &Instance) -> io::Result<()> {
    stream.write_all(&instance.greeting)?;
    if instance.reply.is_empty() {
        stream.shutdown(std::net::Shutdown::Write)?;
    } else {
        stream.read_exact(&mut [0; VERSION_LINE + 1])?;
        stream.write_all(&instance.reply)?;
    }
    // Closed with bytes unread it would be reset.
    hold(stream)
}

/// Sends the greeting and reads nothing, for longer than any test runs.
fn keep_open(mut stream: &TcpStream, greeting: &[u8]) -> io::Result<()> {
    stream.write_all(greeting)?;
    std::thread::sleep(Duration::from_mins(10));
    Ok(())
}

/// Reads to the end and sends nothing.
fn hold(mut stream: &TcpStream) -> io::Result<()> {
    while stream.read(&mut [0; 4096])? > 0 {}
    Ok(())
}
