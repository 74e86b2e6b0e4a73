//! The agent of one session, as amazon-ssm-agent 3.3 behaves: it resends its oldest message only, every 100 ms; it
//! throws data away before the handshake is complete, and refuses data until it is connected to sshd.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::message::{ACKNOWLEDGE, CHANNEL_CLOSED, INPUT, OUTPUT, Received, build, uuid_text, without_payload_type};
use super::{SsmHandshake, SsmSwitches};

const PAYLOAD: usize = 1024;
const RESEND_INTERVAL: Duration = Duration::from_millis(100);
const RESEND_TIMEOUT: Duration = Duration::from_millis(200);
/// The real agent sleeps so long after each message.
const SEND_INTERVAL: Duration = Duration::from_millis(1);
/// How long the last acknowledgements are waited for when sshd has closed.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// The agent dials sshd after the handshake.
const CONNECT_TIME: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    New,
    Handshake,
    Connecting(Instant),
    Open,
    Closed,
}

/// The state of one agent; it survives connections.
#[derive(Debug)]
pub(crate) struct Agent {
    phase: Phase,
    target: Option<TcpStream>,
    to_target: Vec<u8>,
    is_target_closed: Option<Instant>,
    sequence: i64,
    data_sent: u64,
    unacknowledged: VecDeque<(i64, Vec<u8>, Instant)>,
    resend_at: Instant,
    send_at: Instant,
    expected: i64,
    ahead: BTreeMap<i64, Received>,
    /// Data messages that were refused or thrown away.
    pub(super) refused: u64,
    /// Why the session is over.
    pub(super) ended: Option<String>,
}

impl Default for Agent {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            phase: Phase::New,
            target: None,
            to_target: Vec::new(),
            is_target_closed: None,
            sequence: 0,
            data_sent: 0,
            unacknowledged: VecDeque::new(),
            resend_at: now,
            send_at: now,
            expected: 0,
            ahead: BTreeMap::new(),
            refused: 0,
            ended: None,
        }
    }
}

impl Agent {
    /// The connection to sshd, to be polled, and whether it should be read and written.
    pub(super) fn target(&self) -> Option<(&TcpStream, bool, bool)> {
        let wants_read = self.is_target_closed.is_none() && Instant::now() >= self.send_at;
        self.target.as_ref().map(|target| (target, wants_read, !self.to_target.is_empty()))
    }

    fn send(&mut self, payload_type: u32, payload: &[u8], out: &mut Vec<Vec<u8>>) {
        let frame = build(OUTPUT, self.sequence, u64::from(self.sequence == 0), payload_type, payload);
        self.unacknowledged.push_back((self.sequence, frame.clone(), Instant::now()));
        self.sequence += 1;
        out.push(frame);
    }

    /// A data channel was opened.
    pub(super) fn connected(&mut self, switches: &SsmSwitches, out: &mut Vec<Vec<u8>>) {
        if self.phase != Phase::New {
            return;
        }
        self.phase = Phase::Handshake;
        let parameters = json!({"SessionType": "Port", "Properties": {"portNumber": "22"}});
        let mut actions = vec![json!({"ActionType": "SessionType", "ActionParameters": parameters})];
        match switches.handshake {
            SsmHandshake::Port => {}
            SsmHandshake::Encryption => actions.push(json!({
                "ActionType": "KMSEncryption", "ActionParameters": {"KMSKeyId": "key", "Challenge": "challenge"},
            })),
            SsmHandshake::UnknownAction => actions.push(json!({"ActionType": "Unheard", "ActionParameters": {}})),
        }
        let request = json!({"AgentVersion": "3.3.3572.0", "RequestedClientActions": actions});
        self.send(5, request.to_string().as_bytes(), out);
    }

    /// Takes a message of the client. `connect` opens the connection to sshd.
    pub(super) fn receive(
        &mut self,
        message: Received,
        switches: &SsmSwitches,
        connect: &mut dyn FnMut() -> io::Result<TcpStream>,
        out: &mut Vec<Vec<u8>>,
    ) -> io::Result<()> {
        if message.kind == ACKNOWLEDGE {
            let content: Value = serde_json::from_slice(&message.payload)?;
            let sequence = content["AcknowledgedMessageSequenceNumber"].as_i64();
            self.unacknowledged.retain(|(number, ..)| Some(*number) != sequence);
            return Ok(());
        }
        if message.kind != INPUT || self.phase == Phase::Closed {
            return Ok(());
        }
        let is_refused = message.payload_type == 1 && matches!(self.phase, Phase::Connecting(_));
        if message.sequence >= self.expected && is_refused {
            self.refused += 1;
            return Ok(());
        }
        let content = json!({
            "AcknowledgedMessageType": INPUT, "AcknowledgedMessageId": uuid_text(message.id),
            "AcknowledgedMessageSequenceNumber": message.sequence, "IsSequentialMessage": true,
        });
        out.push(build(ACKNOWLEDGE, 0, 3, 0, content.to_string().as_bytes()));
        if message.sequence >= self.expected {
            self.ahead.insert(message.sequence, message);
        }
        while let Some(next) = self.ahead.remove(&self.expected) {
            self.expected += 1;
            self.process(&next, switches, connect, out)?;
        }
        Ok(())
    }

    fn process(
        &mut self,
        message: &Received,
        switches: &SsmSwitches,
        connect: &mut dyn FnMut() -> io::Result<TcpStream>,
        out: &mut Vec<Vec<u8>>,
    ) -> io::Result<()> {
        match message.payload_type {
            6 if self.phase == Phase::Handshake => {
                let response: Value = serde_json::from_slice(&message.payload)?;
                let actions = response["ProcessedClientActions"].as_array().cloned().unwrap_or_default();
                if let Some(failed) = actions.iter().find(|action| action["ActionStatus"] != 1) {
                    let text = format!("\n----------ERROR-------\nHandshake failed: {}\n", failed["Error"]);
                    self.close(&text, switches, out);
                    return Ok(());
                }
                self.send(7, br#"{"HandshakeTimeToComplete":1000000,"CustomerMessage":""}"#, out);
                if switches.refuse_port {
                    let text =
                        "Unable to connect to specified port: dial tcp 127.0.0.1:22: connect: connection refused";
                    self.close(text, switches, out);
                    return Ok(());
                }
                let target = connect()?;
                target.set_nonblocking(true)?;
                self.target = Some(target);
                self.phase = Phase::Connecting(Instant::now() + CONNECT_TIME);
            }
            1 if self.phase == Phase::Open => self.to_target.extend(&message.payload),
            // Data before the handshake is complete is acknowledged and thrown away.
            1 => self.refused += 1,
            10 if message.payload == [0, 0, 0, 2] => {
                self.target = None;
                self.close("", switches, out);
            }
            _ => {}
        }
        Ok(())
    }

    /// Ends the session.
    pub(super) fn close(&mut self, text: &str, switches: &SsmSwitches, out: &mut Vec<Vec<u8>>) {
        if self.phase == Phase::Closed {
            return;
        }
        self.phase = Phase::Closed;
        self.target = None;
        self.ended = Some(text.trim().to_owned());
        let payload = json!({
            "MessageId": "0", "CreatedDate": "2026-11-25T01:00:00.000Z", "DestinationId": "client", "SessionId": "session",
            "MessageType": CHANNEL_CLOSED, "SchemaVersion": 1, "Output": text,
        });
        let frame = build(CHANNEL_CLOSED, 0, 0, 0, payload.to_string().as_bytes());
        out.push(if switches.long_close_header { frame } else { without_payload_type(frame) });
    }

    /// Moves bytes from and to sshd, and repairs losses.
    pub(super) fn work(&mut self, switches: &SsmSwitches, out: &mut Vec<Vec<u8>>) {
        let now = Instant::now();
        if let Phase::Connecting(at) = self.phase
            && now >= at
        {
            self.phase = Phase::Open;
        }
        if now >= self.resend_at {
            self.resend_at = now + RESEND_INTERVAL;
            if let Some((_, frame, sent)) = self.unacknowledged.front_mut()
                && now >= *sent + RESEND_TIMEOUT
            {
                *sent = now;
                out.push(frame.clone());
            }
        }
        if self.phase == Phase::Open {
            self.read_target(now, switches, out);
            self.write_target();
        }
        if self.is_target_closed.is_some_and(|at| self.unacknowledged.is_empty() || now >= at + FLUSH_TIMEOUT) {
            self.close("", switches, out);
        }
    }

    fn read_target(&mut self, now: Instant, switches: &SsmSwitches, out: &mut Vec<Vec<u8>>) {
        // Missed intervals are made up for, within limits: the machine may be slow.
        self.send_at = self.send_at.max(now.checked_sub(Duration::from_millis(20)).unwrap_or(now));
        let mut chunk = [0; PAYLOAD];
        while self.send_at <= now && self.is_target_closed.is_none() && self.phase == Phase::Open {
            let Some(target) = &mut self.target else { return };
            match target.read(&mut chunk) {
                Ok(count) if count > 0 => self.send_data(&chunk[..count], switches, out),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                _ => self.is_target_closed = Some(now),
            }
            self.send_at += SEND_INTERVAL;
        }
    }

    fn send_data(&mut self, bytes: &[u8], switches: &SsmSwitches, out: &mut Vec<Vec<u8>>) {
        self.data_sent += 1;
        if switches.flags && self.data_sent.is_multiple_of(3) {
            self.send(10, &[0, 0, 0, 1], out);
            self.send(11, b"not for stdout", out);
        }
        self.send(1, bytes, out);
        if self.data_sent == switches.malformed_after {
            let mut frame = build(OUTPUT, self.sequence, 0, 1, b"damaged");
            frame[80] ^= 0xff;
            out.push(frame);
        }
        if let Some(text) = switches.close_text.as_ref().filter(|_| self.data_sent >= switches.close_after) {
            self.close(text, switches, out);
        }
    }

    fn write_target(&mut self) {
        let Some(target) = &mut self.target else { return };
        while !self.to_target.is_empty() {
            match target.write(&self.to_target) {
                Ok(count) => drop(self.to_target.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.to_target.clear(),
            }
        }
    }

    /// Whether the session is over.
    pub(super) fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }
}
