//! A model of the agent (amazon-ssm-agent 3.3, `datachannel.go`): it resends only its oldest message, every 100 ms,
//! throws data away before the handshake is complete and refuses data until it is connected to its port.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::session_manager::{Message, MessageType, Uuid};

/// See [`Agent::limit_download`]; OpenSSH grants more when the client has consumed three packets of 32 KiB.
pub(super) const CREDIT: usize = 96 * 1024;
const RESEND_INTERVAL: Duration = Duration::from_millis(100);
const RESEND_TIMEOUT: Duration = Duration::from_millis(200);

pub(super) const REQUEST: &str = concat!(
    r#"{"AgentVersion":"3.3.1","RequestedClientActions":[{"ActionType":"SessionType","#,
    r#""ActionParameters":{"SessionType":"Port","Properties":{"portNumber":"22"}}}]}"#
);

pub(super) fn frame(message_type: MessageType, sequence: i64, payload_type: u32, payload: &[u8]) -> Vec<u8> {
    let mut id = [9; 16];
    id[..8].copy_from_slice(&sequence.to_be_bytes());
    let flags = u64::from(sequence == 0);
    Message { message_type, created: 1, sequence, flags, id: Uuid(id), payload_type, payload }.encode()
}

/// `channel_closed` as the gateway sends it: no payload type in the header.
pub(super) fn closed(output: &str) -> Vec<u8> {
    let payload = serde_json::json!({"SessionId": "s", "SchemaVersion": 1, "Output": output}).to_string();
    let mut frame = frame(MessageType::ChannelClosed, 0, 0, payload.as_bytes());
    frame.drain(112..116);
    frame[..4].copy_from_slice(&112_u32.to_be_bytes());
    frame
}

#[derive(Debug)]
pub(super) struct Agent {
    connect_time: Duration,
    pub(super) received: Vec<u8>,
    pub(super) is_closed: bool,
    download: VecDeque<u8>,
    /// Bytes of the download that may be sent before the client's next byte.
    credit: usize,
    closes_after: Option<usize>,
    sequence: i64,
    unacknowledged: VecDeque<(i64, Vec<u8>, Duration)>,
    resend_at: Duration,
    expected: i64,
    ahead: BTreeMap<i64, (u32, Vec<u8>)>,
    connected_at: Option<Duration>,
    finish_at: Option<Duration>,
    pub(super) is_started: bool,
}

impl Agent {
    /// `closes_after`: sshd closes when it has this many bytes and everything was sent.
    pub(super) fn new(connect_time: Duration, download: &[u8], closes_after: Option<usize>) -> Self {
        Self {
            connect_time,
            received: Vec::new(),
            is_closed: false,
            download: download.iter().copied().collect(),
            credit: usize::MAX,
            closes_after,
            sequence: 0,
            unacknowledged: VecDeque::new(),
            resend_at: Duration::ZERO,
            expected: 0,
            ahead: BTreeMap::new(),
            connected_at: None,
            finish_at: None,
            is_started: false,
        }
    }

    /// Limits the download as the window of an SSH channel does: each byte of the client permits [`CREDIT`] more bytes.
    pub(super) fn limit_download(&mut self, window: usize) {
        self.credit = window;
    }

    fn send(&mut self, payload_type: u32, payload: &[u8], now: Duration, out: &mut Vec<Vec<u8>>) {
        let frame = frame(MessageType::OutputStreamData, self.sequence, payload_type, payload);
        self.unacknowledged.push_back((self.sequence, frame.clone(), now));
        self.sequence += 1;
        out.push(frame);
    }

    /// The data channel was opened by the first client.
    pub(super) fn start(&mut self, now: Duration, out: &mut Vec<Vec<u8>>) {
        if !std::mem::replace(&mut self.is_started, true) {
            self.send(5, REQUEST.as_bytes(), now, out);
        }
    }

    pub(super) fn receive(&mut self, frame: &[u8], now: Duration, out: &mut Vec<Vec<u8>>) {
        let message = Message::decode(frame).expect("the client's messages are well-formed");
        match message.message_type {
            MessageType::Acknowledge => {
                assert_eq!((message.sequence, message.flags, message.payload_type), (0, 3, 0));
                let content: serde_json::Value = serde_json::from_slice(message.payload).expect("JSON");
                assert_eq!(content["AcknowledgedMessageType"], "output_stream_data");
                let sequence = content["AcknowledgedMessageSequenceNumber"].as_i64().expect("a number");
                self.unacknowledged.retain(|(number, ..)| *number != sequence);
            }
            MessageType::InputStreamData => {
                assert!(message.payload.len() <= 1024 && message.flags == 0);
                if self.takes(&message, now) {
                    let id = message.id.to_string();
                    let content = serde_json::json!({
                        "AcknowledgedMessageType": "input_stream_data", "AcknowledgedMessageId": id,
                        "AcknowledgedMessageSequenceNumber": message.sequence, "IsSequentialMessage": true,
                    });
                    out.push(self::frame(MessageType::Acknowledge, 0, 0, content.to_string().as_bytes()));
                }
                while let Some((payload_type, payload)) = self.ahead.remove(&self.expected) {
                    self.expected += 1;
                    self.process(payload_type, &payload, now, out);
                }
            }
            other => panic!("the client sent {other:?}"),
        }
    }

    fn takes(&mut self, message: &Message<'_>, now: Duration) -> bool {
        if message.sequence < self.expected {
            return true;
        }
        let is_connected = self.connected_at.is_some_and(|at| now >= at);
        if message.payload_type == 1 && self.connected_at.is_some() && !is_connected {
            return false;
        }
        self.ahead.insert(message.sequence, (message.payload_type, message.payload.to_vec()));
        true
    }

    fn process(&mut self, payload_type: u32, payload: &[u8], now: Duration, out: &mut Vec<Vec<u8>>) {
        match payload_type {
            6 => {
                assert!(self.connected_at.is_none(), "one handshake only");
                self.connected_at = Some(now + self.connect_time);
                self.send(7, br#"{"HandshakeTimeToComplete":1000,"CustomerMessage":"welcome"}"#, now, out);
            }
            10 => {
                assert_eq!(payload, [0, 0, 0, 2]);
                self.finish_at = Some(now + Duration::from_secs(2));
            }
            // Thrown away: a test that loses bytes here fails.
            1 if self.connected_at.is_none() => {}
            1 => {
                self.credit = self.credit.saturating_add(payload.len() * CREDIT);
                self.received.extend_from_slice(payload);
            }
            other => panic!("payload type {other}"),
        }
    }

    pub(super) fn tick(&mut self, now: Duration, out: &mut Vec<Vec<u8>>) {
        if self.is_closed || !self.is_started {
            return;
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
        if self.connected_at.is_some_and(|at| now >= at) && !self.download.is_empty() {
            for _ in 0..3 {
                let count = self.download.len().min(1024).min(self.credit);
                self.credit -= count;
                let payload: Vec<u8> = self.download.drain(..count).collect();
                if !payload.is_empty() {
                    self.send(1, &payload, now, out);
                }
            }
        }
        let has_all = self.closes_after.is_some_and(|count| self.received.len() >= count) && self.download.is_empty();
        let is_flushed = self.unacknowledged.is_empty();
        if (has_all && is_flushed) || self.finish_at.is_some_and(|at| is_flushed || now >= at) {
            self.is_closed = true;
            out.push(closed(""));
        }
    }
}
