//! The gateway: one TLS listener for all sessions, the upgrade or its refusal, and the messages between the websocket
//! and the session's agent.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustls::ServerConfig;
use serde_json::Value;

use super::agent::Agent;
use super::faults::Faults;
use super::message::{ACKNOWLEDGE, INPUT, OUTPUT, parse, publication};
use super::{SsmSession, SsmSwitches};
use crate::aws;
use crate::server::World;
use crate::server::connection::{Socket, serve_all};
use crate::server::sshd;
use crate::server::websocket::{Frame, close, decode, encode, opcode, upgrade};

/// Queued bytes above which nothing more is produced for the client.
const HIGH_WATER: usize = 256 * 1024;
const PAUSE: Duration = Duration::from_millis(300);
/// How long the client may take to leave when its session is over.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves all sessions from now on and returns the address.
pub(crate) fn listen(world: &Arc<World>, config: Arc<ServerConfig>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let world = Arc::clone(world);
    serve_all("gateway", listener, move |stream| serve(&world, Arc::clone(&config), stream));
    Ok(address)
}

fn serve(world: &Arc<World>, config: Arc<ServerConfig>, stream: TcpStream) -> io::Result<()> {
    let Some((mut socket, request)) = Socket::accept(Some(config), stream)? else { return Ok(()) };
    let accepted = aws::authorize_data_channel(world, &request);
    let (response, id) = match (accepted, upgrade(&request)) {
        (Ok(id), Some(response)) => (response, Some(id)),
        (Ok(_), None) => ("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n".to_owned(), None),
        (Err((status, text)), _) => {
            (format!("HTTP/1.1 {status} Refused\r\ncontent-length: {}\r\n\r\n{text}", text.len()), None)
        }
    };
    socket.send_record(response.as_bytes())?;
    let Some(id) = id else {
        socket.finish();
        return Ok(());
    };
    socket.unblock()?;
    let Some((agent, generation, is_first)) = register(world, &id) else { return Ok(()) };
    // An older connection of the session gives way within one round of its loop.
    let agent = agent.lock().unwrap_or_else(PoisonError::into_inner);
    let switches = world.lock().switches.ssm.clone().unwrap_or_default();
    let connection = Connection {
        world,
        socket: &mut socket,
        id,
        generation,
        is_first,
        switches,
        agent,
        up: Faults::default(),
        down: Faults::default(),
        fragments: Vec::new(),
        messages: 0,
        data: 0,
        paused_until: None,
        is_open: false,
        left: None,
    };
    connection.run()
}

fn register(world: &World, id: &str) -> Option<(Arc<std::sync::Mutex<Agent>>, u64, bool)> {
    let mut state = world.lock();
    let entry = state.ssm.all.get_mut(id)?;
    entry.generation += 1;
    entry.record.connections += 1;
    Some((Arc::clone(&entry.agent), entry.generation, entry.record.connections == 1))
}

/// What the loop does after a round.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Go,
    Leave,
}

struct Connection<'a> {
    world: &'a Arc<World>,
    socket: &'a mut Socket,
    id: String,
    generation: u64,
    is_first: bool,
    switches: SsmSwitches,
    agent: MutexGuard<'a, Agent>,
    up: Faults,
    down: Faults,
    fragments: Vec<u8>,
    /// Messages of this connection, both ways.
    messages: u64,
    /// Data messages of the client.
    data: u64,
    paused_until: Option<Instant>,
    is_open: bool,
    /// When the session was over.
    left: Option<Instant>,
}

impl Connection<'_> {
    fn run(mut self) -> io::Result<()> {
        loop {
            self.wait()?;
            if self.is_dead() {
                // Nothing is read or sent; the client has to find out.
                std::thread::sleep(Duration::from_millis(20));
                if self.is_replaced() {
                    return Ok(());
                }
                continue;
            }
            let is_connected = self.socket.receive()?;
            while let Some(frame) = decode(&mut self.socket.input)? {
                if self.receive(&frame)? == Next::Leave {
                    self.socket.finish();
                    return Ok(());
                }
            }
            if self.is_open && !self.switches.no_agent && self.socket.queued() < HIGH_WATER {
                let mut out = Vec::new();
                self.agent.work(&self.switches, &mut out);
                if self.is_terminated() {
                    self.agent.close("", &self.switches, &mut out);
                }
                self.deliver(out);
            }
            self.end_pause();
            self.socket.flush()?;
            if self.is_over(is_connected)? {
                return Ok(());
            }
        }
    }

    /// Waits until there is something to do, at most some milliseconds.
    fn wait(&self) -> io::Result<()> {
        let mut flags = PollFlags::IN;
        flags.set(PollFlags::OUT, self.socket.wants_write());
        let mut fds = vec![PollFd::new(self.socket.stream(), flags)];
        let mut timeout = 10_000_000;
        if let Some((target, wants_read, wants_write)) = self.agent.target() {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, wants_read && self.socket.queued() < HIGH_WATER);
            flags.set(PollFlags::OUT, wants_write);
            if flags.is_empty() {
                timeout = 1_000_000;
            } else {
                fds.push(PollFd::new(target, flags));
            }
        }
        match rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: timeout })) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn is_dead(&self) -> bool {
        // The first message is the client's part of the handshake.
        self.switches.no_pongs && self.is_first && self.agent.target().is_some() && self.data > 1
    }

    fn record<T>(&self, change: impl FnOnce(&mut SsmSession) -> T) -> Option<T> {
        self.world.lock().ssm.all.get_mut(&self.id).map(|entry| change(&mut entry.record))
    }

    fn is_replaced(&self) -> bool {
        self.world.lock().ssm.all.get(&self.id).is_none_or(|entry| entry.generation != self.generation)
    }

    fn is_terminated(&self) -> bool {
        self.record(|record| record.is_terminated).unwrap_or(true)
    }

    fn receive(&mut self, frame: &Frame) -> io::Result<Next> {
        match frame.opcode {
            opcode::PING => {
                self.record(|record| record.pings += 1);
                self.socket.queue(&encode(true, opcode::PONG, &frame.payload));
            }
            opcode::CLOSE => {
                self.socket.queue(&close(Some(1000), ""));
                return Ok(Next::Leave);
            }
            opcode::TEXT => return Ok(self.open(&frame.payload)),
            opcode::BINARY | opcode::CONTINUATION => {
                self.fragments.extend(&frame.payload);
                if frame.last {
                    let message = std::mem::take(&mut self.fragments);
                    self.receive_message(message)?;
                }
            }
            _ => {}
        }
        Ok(Next::Go)
    }

    /// `OpenDataChannel`.
    fn open(&mut self, text: &[u8]) -> Next {
        let open: Value = serde_json::from_slice(text).unwrap_or_default();
        let field = |name: &str| open[name].as_str().unwrap_or_default();
        let token = self.world.lock().ssm.all.get(&self.id).map(|entry| entry.token.clone()).unwrap_or_default();
        let is_valid = field("MessageSchemaVersion") == "1.0"
            && field("RequestId").len() >= 16
            && !field("ClientId").is_empty()
            && !field("ClientVersion").is_empty()
            && field("TokenValue") == token;
        if !is_valid || self.switches.reject_token {
            self.socket.queue(&close(Some(1008), ""));
            return Next::Leave;
        }
        let client = field("ClientId").to_owned();
        self.record(|record| {
            if !record.client_ids.contains(&client) {
                record.client_ids.push(client);
            }
        });
        self.is_open = true;
        if self.switches.no_agent {
            return Next::Go;
        }
        let mut out = Vec::new();
        if self.switches.start_publication {
            out.push(publication("start_publication"));
        }
        self.agent.connected(&self.switches, &mut out);
        self.deliver(out);
        Next::Go
    }

    fn receive_message(&mut self, frame: Vec<u8>) -> io::Result<()> {
        self.messages += 1;
        if !self.is_open || self.switches.no_agent {
            return Ok(());
        }
        let kind = parse(&frame).map_err(io::Error::other)?.kind;
        let frames = match kind.as_str() {
            INPUT => {
                self.count_data();
                self.up.pass(&self.switches, frame, true, false)
            }
            ACKNOWLEDGE => self.up.pass(&self.switches, frame, false, false),
            other => return Err(io::Error::other(format!("the client sent {other:?}"))),
        };
        let mut out = Vec::new();
        for frame in frames {
            let message = parse(&frame).map_err(io::Error::other)?;
            let (world, id) = (self.world, &self.id);
            self.agent.receive(message, &self.switches, &mut || connect(world, id), &mut out)?;
        }
        self.deliver(out);
        Ok(())
    }

    fn count_data(&mut self) {
        self.data += 1;
        let is_paused = self.paused_until.is_some();
        let refused = self.agent.refused;
        self.record(|record| {
            record.received += 1;
            record.received_while_paused += u64::from(is_paused);
            record.refused = refused;
        });
        if self.switches.pause_after > 0 && self.data == self.switches.pause_after {
            self.paused_until = Some(Instant::now() + PAUSE);
            self.send(&publication("pause_publication"));
        }
    }

    fn end_pause(&mut self) {
        if self.paused_until.is_some_and(|until| Instant::now() >= until) {
            self.paused_until = None;
            self.send(&publication("start_publication"));
        }
    }

    /// Sends the agent's messages through the faults.
    fn deliver(&mut self, frames: Vec<Vec<u8>>) {
        for frame in frames {
            let is_kind = |kind: &str| frame[4..].starts_with(kind.as_bytes());
            let passed = match (is_kind(OUTPUT), is_kind(ACKNOWLEDGE)) {
                (false, false) => vec![frame],
                (is_data, _) => self.down.pass(&self.switches, frame, is_data, true),
            };
            for frame in passed {
                self.messages += 1;
                self.send(&frame);
            }
        }
    }

    fn send(&mut self, message: &[u8]) {
        let size = match self.switches.fragment {
            0 => message.len(),
            size => size,
        };
        let count = message.chunks(size).count();
        for (at, chunk) in message.chunks(size).enumerate() {
            let opcode = if at == 0 { opcode::BINARY } else { opcode::CONTINUATION };
            self.socket.queue(&encode(at + 1 == count, opcode, chunk));
        }
    }

    /// Whether this connection is over, for any reason.
    fn is_over(&mut self, is_connected: bool) -> io::Result<bool> {
        if !is_connected || self.is_replaced() {
            return Ok(true);
        }
        if self.agent.is_closed() {
            let ended = self.agent.ended.clone();
            self.record(|record| record.ended = ended);
            let left = *self.left.get_or_insert_with(Instant::now);
            return Ok(left.elapsed() >= LEAVE_TIMEOUT);
        }
        let connections = self.record(|record| record.connections).unwrap_or_default();
        let SsmSwitches { bye_after, bye_times, cut_after, .. } = self.switches;
        if bye_after > 0 && self.messages >= bye_after && connections <= bye_times {
            self.socket.queue(&close(Some(1000), "Bye"));
            self.socket.flush()?;
            self.socket.finish();
            return Ok(true);
        }
        if cut_after > 0 && self.messages >= cut_after && self.is_first {
            self.socket.stream().shutdown(std::net::Shutdown::Both)?;
            return Ok(true);
        }
        Ok(false)
    }
}

/// Connects to the session's instance as its agent does, over its own loopback, independent of its network.
fn connect(world: &Arc<World>, id: &str) -> io::Result<TcpStream> {
    let instance = {
        let state = world.lock();
        let instance = state.ssm.all.get(id).and_then(|entry| state.fleet.get(&entry.record.instance));
        instance.cloned().ok_or_else(|| io::Error::other("no such instance"))?
    };
    sshd::connect(world, instance)
}
