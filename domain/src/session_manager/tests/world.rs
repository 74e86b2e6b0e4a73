//! Runs a client and an agent over a network until both are done.

use std::time::Duration;

use super::MemoryOverflow;
use super::agent::{Agent, CREDIT};
use super::network::{Faults, Path, Random};
use crate::session_manager::{Action, Channel, End};

const TICK: Duration = Duration::from_millis(5);
/// More simulated time than any case needs.
pub(super) const LIMIT: Duration = Duration::from_mins(20);

#[derive(Debug)]
pub(super) struct Case {
    pub(super) faults: Faults,
    pub(super) seed: u64,
    pub(super) upload: Vec<u8>,
    pub(super) download: Vec<u8>,
    pub(super) connect_time: Duration,
    /// When the gateway closes the connection.
    pub(super) breaks: Vec<Duration>,
    /// Attempts to resume that fail after each break.
    pub(super) failed_resumes: u32,
    /// Whether sshd closes, else stdin ends.
    pub(super) server_closes: bool,
    /// Bytes that the reader takes per tick.
    pub(super) reader: usize,
    /// The window of SSH that limits the download; the upload consists of the bytes that grant more.
    pub(super) window: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) uploaded: Vec<u8>,
    pub(super) downloaded: Vec<u8>,
    pub(super) end: End,
    pub(super) notices: Vec<String>,
    pub(super) most_held: usize,
    pub(super) time: Duration,
}

pub(super) struct World {
    client: Channel,
    agent: Agent,
    up: Path,
    down: Path,
    is_connected: bool,
    failures_left: u32,
    outcome: Outcome,
    end: Option<End>,
}

impl World {
    pub(super) fn run(case: &Case) -> Outcome {
        let closes_after = case.server_closes.then_some(case.upload.len());
        let mut world = Self {
            client: Channel::new([3; 32], 1_700_000_000_000, Duration::ZERO, Box::new(MemoryOverflow::default())),
            agent: Agent::new(case.connect_time, &case.download, closes_after),
            up: Path::new(case.faults, case.seed),
            down: Path::new(case.faults, case.seed ^ 0xffff),
            is_connected: true,
            failures_left: 0,
            outcome: Outcome {
                uploaded: Vec::new(),
                downloaded: Vec::new(),
                end: End::InputEnded,
                notices: Vec::new(),
                most_held: 0,
                time: Duration::ZERO,
            },
            end: None,
        };
        if let Some(window) = case.window {
            world.agent.limit_download(window);
        }
        world.client.connected("token", Duration::ZERO);
        world.drive(case);
        world.outcome.uploaded = std::mem::take(&mut world.agent.received);
        world.outcome.end = world.end.expect("ended");
        world.outcome
    }

    fn drive(&mut self, case: &Case) {
        let (mut now, mut sent, mut breaks) = (Duration::ZERO, 0, case.breaks.iter().peekable());
        let mut random = Random::new(case.seed);
        while self.end.is_none() {
            assert!(now < LIMIT, "the session does not end: {:?}", self.client);
            let mut is_touched = false;
            if breaks.next_if(|at| **at <= now).is_some() && self.is_connected {
                self.disconnect(now);
                self.failures_left = case.failed_resumes;
                is_touched = true;
            }
            is_touched |= self.deliver(now);
            let count = self.client.can_take().min(1 + usize::try_from(random.below(9000)).expect("small"));
            let granted = case.window.map_or(usize::MAX, |_| self.outcome.downloaded.len() / CREDIT);
            let count = count.min(case.upload.len().min(granted).saturating_sub(sent));
            if count > 0 {
                assert_eq!(self.client.send(&case.upload[sent..sent + count]), count);
                sent += count;
                is_touched = true;
            } else if sent == case.upload.len()
                && !case.server_closes
                && self.outcome.downloaded.len() == case.download.len()
                && self.agent.received.len() == sent
            {
                self.client.end_input(now);
                is_touched = true;
            }
            is_touched |= self.read_output(case.reader, now);
            // A deadline that is missing or late shows as a session that does not end.
            if is_touched || self.client.next_deadline(now).is_some_and(|at| at <= now) {
                self.act(now);
            }
            self.outcome.most_held = self.outcome.most_held.max(self.client.held());
            self.outcome.time = now;
            now += TICK;
        }
    }

    fn deliver(&mut self, now: Duration) -> bool {
        let mut out = Vec::new();
        for frame in self.up.arrived(now) {
            self.agent.receive(&frame, now, &mut out);
        }
        self.agent.tick(now, &mut out);
        for frame in out {
            // `channel_closed` comes from the gateway and is not lost.
            if frame[..4] == 112_u32.to_be_bytes() {
                if self.is_connected {
                    self.client.receive(&frame, now);
                } else {
                    self.agent.is_closed = false;
                }
            } else if self.is_connected {
                self.down.send(&frame, now);
            }
        }
        let mut is_touched = false;
        if self.client.wants_input() {
            for frame in self.down.arrived(now) {
                self.client.receive(&frame, now);
                is_touched = true;
            }
        }
        is_touched || self.agent.is_closed
    }

    fn disconnect(&mut self, now: Duration) {
        self.is_connected = false;
        self.up.lose_everything();
        self.down.lose_everything();
        self.client.disconnected(now);
    }

    fn read_output(&mut self, limit: usize, now: Duration) -> bool {
        let mut left = limit;
        while left > 0 && !self.client.output().is_empty() {
            let count = self.client.output().len().min(left);
            self.outcome.downloaded.extend_from_slice(&self.client.output()[..count]);
            self.client.consume(count, now);
            left -= count;
        }
        left < limit
    }

    fn act(&mut self, now: Duration) {
        let mut actions = 0;
        while let Some(action) = self.client.next_action(now) {
            actions += 1;
            assert!(actions < 10_000, "actions without end: {action:?}");
            match action {
                Action::SendText(text) => {
                    assert!(self.is_connected && text.contains(r#""TokenValue":"token""#), "{text}");
                    let mut out = Vec::new();
                    self.agent.start(now, &mut out);
                    for frame in &out {
                        self.down.send(frame, now);
                    }
                }
                Action::SendBinary(frame) => {
                    assert!(self.is_connected, "sent without a connection");
                    self.up.send(&frame, now);
                }
                Action::Resume if self.failures_left > 0 => {
                    self.failures_left -= 1;
                    self.client.disconnected(now);
                }
                Action::Resume => {
                    self.is_connected = true;
                    self.client.connected("token", now);
                }
                Action::Ping => self.client.frame_received(now),
                Action::Notice(text) => self.outcome.notices.push(text),
                Action::Opened => {}
                Action::End(end) => {
                    self.end = Some(end);
                    return;
                }
            }
        }
        assert!(self.client.next_deadline(now).is_none_or(|at| at > now), "a deadline has passed and nothing is done");
    }
}
