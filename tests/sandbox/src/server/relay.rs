//! One open tunnel: bytes between the websocket and the instance's sshd, in one poll loop, with the switches applied.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

use super::World;
use super::connection::Socket;
use super::websocket::{Frame, close, decode, encode, opcode};
use crate::tunnel::TunnelSwitches;

/// Queued bytes above which the other side is not read.
const HIGH_WATER: usize = 256 * 1024;
/// The payload of a data frame; the service sends no larger ones.
const FRAME: usize = 65_000;
/// How often the loop looks at the switches and the clock. It delays no data.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
/// How long the client may take to answer a close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Relay<'a> {
    world: &'a World,
    connection: &'a mut Socket,
    target: TcpStream,
    switches: TunnelSwitches,
    index: usize,
    end: u64,
    opened: Instant,
    clock: u64,
    pings_seen: u64,
    /// The 101, if it has to go out with the first frame.
    held: Vec<u8>,
    to_target: Vec<u8>,
    from_target: Vec<u8>,
    target_ended: bool,
    pings: VecDeque<Vec<u8>>,
    ping_count: u64,
    data_sent: u64,
    received: u64,
    pongs: u64,
    ending: Option<(String, Instant)>,
}

impl<'a> Relay<'a> {
    pub(super) fn new(
        world: &'a World,
        connection: &'a mut Socket,
        target: TcpStream,
        switches: TunnelSwitches,
        index: usize,
        max_duration: u64,
        held: Vec<u8>,
    ) -> Self {
        let (clock, pings_seen) = {
            let state = world.lock();
            (state.tunnel_clock, state.tunnel_pings)
        };
        let from_target = vec![0; usize::try_from(switches.flood).unwrap_or_default()];
        Self {
            world,
            connection,
            target,
            switches,
            index,
            end: max_duration,
            opened: Instant::now(),
            clock,
            pings_seen,
            held,
            to_target: Vec::new(),
            from_target,
            target_ended: false,
            pings: VecDeque::new(),
            ping_count: 0,
            data_sent: 0,
            received: 0,
            pongs: 0,
            ending: None,
        }
    }

    /// Relays until either side ends, and returns the reason.
    pub(super) fn run(mut self) -> io::Result<String> {
        if self.held.is_empty() {
            self.ping();
        }
        if self.switches.text_frame {
            let text = [std::mem::take(&mut self.held), encode(true, opcode::TEXT, b"text")].concat();
            self.connection.queue(&text);
        }
        loop {
            if let Some(reason) = self.step()? {
                self.record();
                return Ok(reason);
            }
        }
    }

    fn step(&mut self) -> io::Result<Option<String>> {
        let reading = self.to_target.len() < HIGH_WATER && !self.stops_reading();
        let writable =
            self.connection.queued() < HIGH_WATER && self.from_target.len() < HIGH_WATER.max(self.frame_size());
        let flag = |on: bool, flag: PollFlags| if on { flag } else { PollFlags::empty() };
        let ended = self.ending.is_some();
        let mut fds = [
            PollFd::new(
                self.connection.stream(),
                flag(reading, PollFlags::IN) | flag(self.connection.wants_write(), PollFlags::OUT),
            ),
            PollFd::new(
                &self.target,
                flag(writable && !self.target_ended && !ended, PollFlags::IN)
                    | flag(!self.to_target.is_empty() && !ended, PollFlags::OUT),
            ),
        ];
        rustix::event::poll(&mut fds, Some(&TICK))?;
        if reading {
            let open = self.connection.receive()?;
            if let Some(reason) = self.frames()? {
                return Ok(Some(reason));
            }
            if !open {
                return Ok(Some("the client closed the connection".into()));
            }
        }
        if let Some((reason, since)) = &self.ending {
            self.connection.flush()?;
            if since.elapsed() > CLOSE_TIMEOUT {
                return Ok(Some(reason.clone()));
            }
            return Ok(None);
        }
        self.write_target();
        let more = writable && self.read_target()?;
        if let Some(reason) = self.send(more)? {
            return Ok(Some(reason));
        }
        self.tick();
        self.connection.flush()?;
        self.record();
        Ok(None)
    }

    fn stops_reading(&self) -> bool {
        let state = self.world.lock();
        let limit = state.switches.tunnels.as_ref().and_then(|tunnels| tunnels.stop_reading_after);
        limit.is_some_and(|limit| self.received >= limit)
    }

    /// Handles the frames that have arrived; a reason if the client closed.
    fn frames(&mut self) -> io::Result<Option<String>> {
        while let Some(Frame { opcode: kind, payload, .. }) = decode(&mut self.connection.input)? {
            match kind {
                opcode::BINARY | opcode::CONTINUATION => {
                    self.received += payload.len() as u64;
                    self.to_target.extend(payload);
                }
                opcode::PING => self.connection.queue(&encode(true, opcode::PONG, &payload)),
                opcode::PONG if self.pings.front() == Some(&payload) => {
                    self.pings.pop_front();
                    self.pongs += 1;
                }
                opcode::PONG => return Ok(Some("the client sent a pong for no ping".into())),
                opcode::CLOSE => {
                    if let Some((reason, _)) = self.ending.take() {
                        self.connection.finish();
                        return Ok(Some(reason));
                    }
                    self.connection.queue(&encode(true, opcode::CLOSE, &payload));
                    self.connection.finish();
                    return Ok(Some("the client closed the tunnel".into()));
                }
                _ => return Ok(Some(format!("the client sent a frame of kind {kind}"))),
            }
        }
        Ok(None)
    }

    fn write_target(&mut self) {
        while !self.to_target.is_empty() {
            match self.target.write(&self.to_target) {
                Ok(count) => drop(self.to_target.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    // sshd is gone; what it sent before is read to its end.
                    self.to_target.clear();
                }
            }
        }
    }

    /// Reads from sshd; whether more may come without waiting.
    fn read_target(&mut self) -> io::Result<bool> {
        let mut chunk = [0; 16 * 1024];
        while !self.target_ended && self.from_target.len() < self.frame_size() {
            match self.target.read(&mut chunk) {
                Ok(0) => self.target_ended = true,
                Ok(count) => self.from_target.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => self.target_ended = true,
                Err(error) => return Err(error),
            }
        }
        Ok(!self.target_ended)
    }

    fn frame_size(&self) -> usize {
        if self.switches.frame_size == 0 { FRAME } else { self.switches.frame_size }
    }

    /// Sends the output of sshd; a reason if a switch ends the tunnel without waiting for the client.
    fn send(&mut self, more: bool) -> io::Result<Option<String>> {
        let size = self.frame_size();
        while !self.from_target.is_empty() && self.connection.queued() < HIGH_WATER {
            if self.from_target.len() < size && more {
                break;
            }
            let limits = [self.switches.close_after, self.switches.cut_after];
            let left = limits.into_iter().flatten().map(|limit| limit.saturating_sub(self.data_sent)).min();
            let left = left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
            let length = self.from_target.len().min(size).min(left);
            if length > 0 {
                let message: Vec<u8> = self.from_target.drain(..length).collect();
                self.send_message(&message);
            }
            if length == left {
                return self.break_off();
            }
        }
        if self.target_ended && self.from_target.is_empty() {
            self.close(Some(1000), "", "the instance closed the connection");
        }
        Ok(None)
    }

    fn send_message(&mut self, message: &[u8]) {
        let mut bytes = std::mem::take(&mut self.held);
        let first = !bytes.is_empty();
        if self.switches.empty_frames {
            bytes.extend(encode(true, opcode::BINARY, b""));
        }
        let size = if self.switches.fragment == 0 { message.len() } else { self.switches.fragment };
        let count = message.len().div_ceil(size);
        for (i, part) in message.chunks(size).enumerate() {
            let kind = if i == 0 { opcode::BINARY } else { opcode::CONTINUATION };
            bytes.extend(encode(i + 1 == count, kind, part));
        }
        self.data_sent += message.len() as u64;
        self.connection.queue(&bytes);
        if first {
            self.ping();
        }
    }

    /// Applies `cut_after` or `close_after`, whichever is reached.
    fn break_off(&mut self) -> io::Result<Option<String>> {
        if self.switches.cut_after.is_some_and(|limit| self.data_sent >= limit) {
            while self.connection.wants_write() {
                self.connection.flush()?;
                let mut fds = [PollFd::new(self.connection.stream(), PollFlags::OUT)];
                rustix::event::poll(&mut fds, Some(&TICK))?;
            }
            self.connection.stream().shutdown(std::net::Shutdown::Both)?;
            return Ok(Some("cut by the switch".into()));
        }
        let (code, reason) = (self.switches.close_code, self.switches.close_reason.clone());
        self.close(code, &reason, "closed by the switch");
        Ok(None)
    }

    fn close(&mut self, code: Option<u16>, reason: &str, recorded: &str) {
        let held = std::mem::take(&mut self.held);
        self.connection.queue(&held);
        self.connection.queue(&close(code, reason));
        let _ = self.target.shutdown(std::net::Shutdown::Both);
        self.ending = Some((recorded.to_owned(), Instant::now()));
    }

    fn ping(&mut self) {
        self.ping_count += 1;
        let payload = format!("ping {}", self.ping_count).into_bytes();
        self.connection.queue(&encode(true, opcode::PING, &payload));
        self.pings.push_back(payload);
    }

    /// Sends requested pings, and ends the tunnel at its time.
    fn tick(&mut self) {
        let (clock, pings) = {
            let state = self.world.lock();
            (state.tunnel_clock, state.tunnel_pings)
        };
        while self.pings_seen < pings {
            self.pings_seen += 1;
            self.ping();
        }
        if self.ending.is_none() && self.opened.elapsed().as_secs() + (clock - self.clock) >= self.end {
            self.close(Some(1000), "", "maxTunnelDuration is over");
        }
    }

    fn record(&self) {
        if let Some(tunnel) = self.world.lock().tunnels.get_mut(self.index) {
            tunnel.received = self.received;
            tunnel.sent = self.data_sent;
            tunnel.pings = self.ping_count;
            tunnel.pongs = self.pongs;
        }
    }
}

/// Reads and drops what the client sends until it closes.
pub(super) fn wait_for_the_client(connection: &mut Socket) -> io::Result<()> {
    loop {
        let mut fds = [PollFd::new(connection.stream(), PollFlags::IN)];
        rustix::event::poll(&mut fds, None)?;
        if !connection.receive()? {
            return Ok(());
        }
        while decode(&mut connection.input)?.is_some() {}
    }
}
